"""Energy of NVIDIA GPUs through NVML: the driver's energy counter, or power polled where there is none.

Work on a GPU runs on after the call that started it: end a window only when the results are there, e.g. after
``torch.cuda.synchronize()``, or with the logits copied to the CPU.
"""

from __future__ import annotations

import os
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from types import ModuleType
from typing import Any, ClassVar

from tsc_lib.energy.cuda_devices import find_gpus
from tsc_lib.energy.source import Energy, InvalidWindowError, Source, UnusableError, change_interval, sum_domains

MAX_WATTS = 3000.0
"""More than any single GPU draws."""

POLL_S = 0.02
COUNTER_UPDATE_S = 0.1
"""At least so often drivers update the counter (20 to 100 ms have been seen, by generation)."""

STALL_S = 0.5
"""A counter that rests for so long has stopped: even an idle GPU draws power."""

FEWEST_SAMPLES = 5

TIMEOUT_S = 1.0
"""How long to wait for a counter to change."""


class _Nvml(Source):
    """What both ways share: finding the GPUs, and following them."""

    device = "gpu"
    poll_s: ClassVar[float]
    _nvml: ModuleType

    def __init__(self) -> None:
        self._gpus: dict[str, Any] = {}  # domain -> handle; none before they are found

    def unavailable(self) -> str | None:
        """Why the GPU's energy cannot be told."""
        try:
            import pynvml
        except ImportError:
            return "nvidia-ml-py is not installed: pip install 'tsc_lib[gpu]'"
        try:
            pynvml.nvmlInit()
            self._gpus = find_gpus(pynvml)
            self._nvml = pynvml
            for gpu in self._gpus.values():
                self._read(gpu)
            self.parameters = {"gpus": [pynvml.nvmlDeviceGetName(gpu) for gpu in self._gpus.values()]}
        except UnusableError as reason:
            return str(reason)
        except pynvml.NVMLError as error:
            return f"NVML says: {error}; where there is an NVIDIA GPU, install its driver, which brings NVML along"
        return None

    def resolution_s(self) -> float | None:
        """Seconds between two values of the first GPU."""
        gpus = list(self._found().values())
        return change_interval(lambda: self._read(gpus[0]), TIMEOUT_S)

    def start(self) -> Polling:
        """Begin to read all GPUs again and again."""
        gpus = self._found()
        self._require_alone()
        return Polling(lambda: {name: self._read(gpu) for name, gpu in gpus.items()}, self.poll_s)

    @abstractmethod
    def _read(self, gpu: Any) -> float:
        """What windows read of a GPU, once: millijoules so far, or watts."""

    def _found(self) -> dict[str, Any]:
        if not self._gpus and (reason := self.unavailable()):
            raise InvalidWindowError(reason)
        return self._gpus

    def _require_alone(self) -> None:
        """Raise an `InvalidWindowError` if a program that is not of this job computes on one of the GPUs."""
        for name, gpu in self._found().items():
            with suppress(self._nvml.NVMLError):  # where the driver does not tell, it is not known
                for process in self._nvml.nvmlDeviceGetComputeRunningProcesses(gpu):
                    if is_foreign(process.pid):
                        raise InvalidWindowError(
                            f"process {process.pid} computes on {name} too, whose energy is that of both"
                        )


class NvmlCounter(_Nvml):
    """The driver's counter of energy since it was loaded (Volta and later), in millijoules."""

    backend = "nvml"
    shortest_window_s = 10 * COUNTER_UPDATE_S
    poll_s = 0.1

    def _read(self, gpu: Any) -> float:
        return self._nvml.nvmlDeviceGetTotalEnergyConsumption(gpu)

    def stop(self, mark: Polling, seconds: float, cpu_seconds: float) -> Energy:
        """What the counters gained.

        Raises
        ------
        InvalidWindowError
            If a counter went back or rested, which happens when the driver is loaded anew, or rose beyond reason, or
            another program used the GPU too.
        """
        times, samples = mark.end()
        if mark.failure is not None:
            raise InvalidWindowError(f"the GPU's energy could not be read: {mark.failure}")
        self._require_alone()
        for name in samples[0]:
            judge_counter(name, times, [sample[name] for sample in samples])
            self._require_motion(name, samples[-1][name])
        domains = {name: (samples[-1][name] - first) / 1000 for name, first in samples[0].items()}
        return sum_domains(domains, seconds, COUNTER_UPDATE_S)

    def _require_motion(self, name: str, last: float) -> None:
        """Wait until a counter moves once more: one that stopped within the window would be noticed too late."""
        end = time.monotonic() + STALL_S
        while self._read(self._gpus[name]) == last:
            if time.monotonic() > end:
                raise InvalidWindowError(f"{name} has stood still for {STALL_S} s")
            time.sleep(POLL_S)


class NvmlPower(_Nvml):
    """Power, polled by a thread and integrated by the trapezoidal rule, for GPUs without an energy counter."""

    backend = "nvml-power"
    shortest_window_s = 25 * POLL_S
    poll_s = POLL_S

    def _read(self, gpu: Any) -> float:
        return self._nvml.nvmlDeviceGetPowerUsage(gpu) / 1000

    def stop(self, mark: Polling, seconds: float, cpu_seconds: float) -> Energy:
        """The integral of the power; its bounds are those of the lowest and the highest sum between polls.

        Raises
        ------
        InvalidWindowError
            If power could not be read throughout, or another program used the GPU too.
        """
        times, samples = mark.end()
        if mark.failure is not None:
            raise InvalidWindowError(f"the GPU's power could not be read: {mark.failure}")
        self._require_alone()
        if wrong := [watts for watts in samples if not all(0 <= value <= MAX_WATTS for value in watts.values())]:
            raise InvalidWindowError(f"the GPU's power could not be read: it says {wrong[0]} W")
        if len(times) < FEWEST_SAMPLES or max(b - a for a, b in pairwise(times)) > seconds / 4:
            raise InvalidWindowError(f"the GPU's power was read {len(times)} times only, or with long pauses")
        domains, low, high = {}, 0.0, 0.0
        inside = seconds / (times[-1] - times[0])  # the first and the last reading are a little outside of the window
        for name in samples[0]:
            pairs = [
                (t - s, a[name], b[name]) for (s, t), (a, b) in zip(pairwise(times), pairwise(samples), strict=True)
            ]
            domains[name] = inside * sum(step * (a + b) / 2 for step, a, b in pairs)
            low += inside * sum(step * min(a, b) for step, a, b in pairs)
            high += inside * sum(step * max(a, b) for step, a, b in pairs)
        return Energy(sum(domains.values()), low, high, domains=domains)


class Polling:
    """A thread that reads something of every GPU until it is told to end."""

    def __init__(self, read: Callable[[], dict[str, float]], interval_s: float) -> None:
        self._read, self._interval_s = read, interval_s
        self._times: list[float] = []
        self._samples: list[dict[str, float]] = []
        self.failure: str | None = None
        self._ended, self._lock = threading.Event(), threading.Lock()
        self._sample()
        threading.Thread(target=self._poll, daemon=True).start()

    def end(self) -> tuple[list[float], list[dict[str, float]]]:
        """Stop, and return times in seconds and what was read by GPU at each."""
        with self._lock:  # and not after the thread was waited for: that would lengthen the window
            self._ended.set()
            self._sample()
        return self._times, self._samples

    def _poll(self) -> None:
        while not self._ended.wait(self._interval_s):
            with self._lock:
                if not self._ended.is_set():
                    self._sample()

    def _sample(self) -> None:
        try:
            values = self._read()
        except Exception as error:  # NVML's, which cannot be named before it is imported
            self.failure = str(error)
            return
        self._times.append(time.perf_counter())
        self._samples.append(values)


def judge_counter(name: str, times: Sequence[float], millijoules: Sequence[float]) -> None:
    """Raise an `InvalidWindowError` if a counter went back, stood still, or rose faster than a GPU draws."""
    changed = times[0]
    for now, (before, value) in zip(times[1:], pairwise(millijoules), strict=True):
        rested = now - changed
        if not 0 <= value - before <= 1000 * MAX_WATTS * (rested + COUNTER_UPDATE_S):
            raise InvalidWindowError(f"{name} went from {before} to {value} millijoules within {rested:.2f} s")
        if value != before:
            changed = now
        elif rested > STALL_S:
            raise InvalidWindowError(f"{name} has stood still for {rested:.2f} s")


def is_foreign(pid: int) -> bool:
    """Whether a process is of another job than this one; one that cannot be seen, as outside of a container, is not."""
    try:
        return os.getpgid(pid) != os.getpgrp()
    except OSError:
        return False
