"""Energy of NVIDIA GPUs through NVML: the driver's energy counter, or power polled where there is none.

Work on a GPU runs on after the call that started it: end a window only when the results are there, e.g. after
``torch.cuda.synchronize()``, or with the logits copied to the CPU.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from types import ModuleType
from typing import Any

from tsc_lib.energy.source import Energy, InvalidWindowError, Source, change_interval, sum_domains

MAX_WATTS = 3000.0
"""More than any single GPU draws."""

POLL_S = 0.02
COUNTER_UPDATE_S = 0.1
"""At least so often drivers update the counter (20 to 100 ms have been seen, by generation)."""

FEWEST_SAMPLES = 5

TIMEOUT_S = 1.0
"""How long to wait for a counter to change."""


class _Nvml(Source):
    """What both ways share: finding the GPUs."""

    device = "gpu"

    def __init__(self) -> None:
        super().__init__()
        self._nvml: ModuleType | None = None
        self._gpus: dict[str, Any] = {}  # domain -> handle

    def unavailable(self) -> str | None:
        """Why the GPU's energy cannot be told."""
        try:
            import pynvml
        except ImportError:
            return "nvidia-ml-py is not installed: pip install 'tsc_lib[gpu]'"
        try:
            pynvml.nvmlInit()
            count = pynvml.nvmlDeviceGetCount()
            handles = {f"gpu-{i}": pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(count)}
            self._nvml, self._gpus = pynvml, visible_gpus(handles, pynvml)
            if not self._gpus:
                return "NVML shows no GPU that this process may use"
            for gpu in self._gpus.values():
                self._read(gpu)
            self.parameters = {"gpus": [decode(pynvml.nvmlDeviceGetName(gpu)) for gpu in self._gpus.values()]}
        except pynvml.NVMLError as error:
            return f"NVML says: {error}; where there is an NVIDIA GPU, install its driver, which brings NVML along"
        return None

    def resolution_s(self) -> float | None:
        """Seconds between two values of the first GPU."""
        gpus = list(self._found().values())
        return change_interval(lambda: self._read(gpus[0]), TIMEOUT_S)

    def _read(self, gpu: Any) -> int:
        """Read once what windows read."""
        raise NotImplementedError

    def _found(self) -> dict[str, Any]:
        if self._nvml is None and (reason := self.unavailable()):
            raise InvalidWindowError(reason)
        return self._gpus


class NvmlCounter(_Nvml):
    """The driver's counter of energy since it was loaded (Volta and later), in millijoules."""

    backend = "nvml"
    shortest_window_s = 10 * COUNTER_UPDATE_S

    def _read(self, gpu: Any) -> int:
        assert self._nvml is not None
        return self._nvml.nvmlDeviceGetTotalEnergyConsumption(gpu)

    def start(self) -> dict[str, int]:
        """The counters by GPU."""
        return {name: self._read(gpu) for name, gpu in self._found().items()}

    def stop(self, mark: dict[str, int], seconds: float, cpu_seconds: float) -> Energy:
        """What the counters gained.

        Raises
        ------
        InvalidWindowError
            If a counter went back or rested, which happens when the driver is loaded anew, or rose beyond reason.
        """
        now = self.start()
        domains = {name: (now[name] - mark[name]) / 1000 for name in now}
        for name, joules in domains.items():
            if not 0 < joules <= MAX_WATTS * (seconds + COUNTER_UPDATE_S):
                raise InvalidWindowError(f"{name} went from {mark[name]} to {now[name]} millijoules in {seconds:.2f} s")
        return sum_domains(domains, seconds, COUNTER_UPDATE_S)


class NvmlPower(_Nvml):
    """Power, polled by a thread and integrated by the trapezoidal rule, for GPUs without an energy counter."""

    backend = "nvml-power"
    shortest_window_s = 25 * POLL_S

    def _read(self, gpu: Any) -> int:
        assert self._nvml is not None
        return self._nvml.nvmlDeviceGetPowerUsage(gpu)

    def start(self) -> Polling:
        """Begin to poll."""
        gpus = self._found()
        return Polling(lambda: {name: self._read(gpu) / 1000 for name, gpu in gpus.items()})

    def stop(self, mark: Polling, seconds: float, cpu_seconds: float) -> Energy:
        """The integral of the power; its bounds are those of the lowest and the highest sum between polls.

        Raises
        ------
        InvalidWindowError
            If power could not be read throughout.
        """
        times, samples = mark.end()
        if mark.failure is not None:
            raise InvalidWindowError(f"the GPU's power could not be read: {mark.failure}")
        if len(times) < FEWEST_SAMPLES or max(b - a for a, b in pairwise(times)) > seconds / 4:
            raise InvalidWindowError(f"the GPU's power was read {len(times)} times only, or with long pauses")
        domains, low, high = {}, 0.0, 0.0
        for name in samples[0]:
            pairs = [
                (t - s, a[name], b[name]) for (s, t), (a, b) in zip(pairwise(times), pairwise(samples), strict=True)
            ]
            domains[name] = sum(step * (a + b) / 2 for step, a, b in pairs)
            low += sum(step * min(a, b) for step, a, b in pairs)
            high += sum(step * max(a, b) for step, a, b in pairs)
        return Energy(sum(domains.values()), low, high, domains=domains)


class Polling:
    """A thread that reads watts by GPU until it is told to end."""

    def __init__(self, read: Callable[[], dict[str, float]]) -> None:
        self._read = read
        self._times: list[float] = []
        self._samples: list[dict[str, float]] = []
        self.failure: str | None = None
        self._ended, self._lock = threading.Event(), threading.Lock()
        self._sample()
        threading.Thread(target=self._poll, daemon=True).start()

    def end(self) -> tuple[list[float], list[dict[str, float]]]:
        """Stop, and return times in seconds and the watts by GPU at each."""
        with self._lock:  # and not after the thread was waited for: that would lengthen the window
            self._ended.set()
            self._sample()
        return self._times, self._samples

    def _poll(self) -> None:
        while not self._ended.wait(POLL_S):
            with self._lock:
                if not self._ended.is_set():
                    self._sample()

    def _sample(self) -> None:
        try:
            watts = self._read()
        except Exception as error:  # NVML's, which cannot be named before it is imported
            self.failure = str(error)
            return
        if not all(0 <= value <= MAX_WATTS for value in watts.values()):
            self.failure = f"{watts} W"
            return
        self._times.append(time.perf_counter())
        self._samples.append(watts)


def visible_gpus(gpus: dict[str, Any], nvml: ModuleType) -> dict[str, Any]:
    """Those GPUs that ``CUDA_VISIBLE_DEVICES`` leaves to this process; NVML itself shows all of the machine's."""
    names = os.environ.get("CUDA_VISIBLE_DEVICES")
    if names is None:
        return gpus
    visible = {}
    for item in filter(None, (part.strip() for part in names.split(","))):
        if item.isdigit():
            if f"gpu-{item}" not in gpus:
                break  # as CUDA does: what follows an unknown device is hidden
            visible[f"gpu-{item}"] = gpus[f"gpu-{item}"]
        else:
            visible |= {name: gpu for name, gpu in gpus.items() if decode(nvml.nvmlDeviceGetUUID(gpu)).startswith(item)}
    return visible


def decode(text: str | bytes) -> str:
    """A string of NVML, which older versions give as bytes."""
    return text.decode() if isinstance(text, bytes) else text
