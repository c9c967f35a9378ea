"""The public door to energy: choose a source once, then measure windows of work."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from tsc_lib.core.errors import UserError
from tsc_lib.energy.cputime import CpuTime
from tsc_lib.energy.nvml import NvmlCounter, NvmlPower
from tsc_lib.energy.perf import Perf
from tsc_lib.energy.powercap import Powercap
from tsc_lib.energy.pyrapl import PyRapl
from tsc_lib.energy.reading import Reading
from tsc_lib.energy.source import Device, Energy, InvalidWindowError, Source, UnusableError

P = ParamSpec("P")
R = TypeVar("R")


SOURCES: tuple[type[Source], ...] = (Powercap, Perf, CpuTime, NvmlCounter, NvmlPower)
"""Every source that is chosen by itself, best first for each device."""

BY_NAME: dict[str, type[Source]] = {
    source.backend: source for source in (Powercap, PyRapl, Perf, CpuTime, NvmlCounter, NvmlPower)
}
"""Every source that can be asked for."""

VARIABLE = "TSC_ENERGY"

ASLEEP_S = 0.5
"""A machine that was suspended for longer may have reset its counters; less is the time between reading two clocks."""


class EnergyMeter:
    """Measures windows of work, with one source for each device.

    Parameters
    ----------
    *sources : Source
        Where the energy comes from; the first is what `Window.reading` reads. `auto` chooses the best.
    passed_over : dict, optional
        For each device the better sources that cannot be used here, each with its reason.

    Examples
    --------
    >>> from tsc_lib.energy import EnergyMeter
    >>> meter = EnergyMeter.auto()
    >>> with meter.measure("sum", inferences=10) as window:
    ...     total = sum(range(100_000))
    >>> window.reading.source in ("measured", "estimated")
    True

    A decorated function returns what it always did, and collects its readings:

    >>> @meter.measure_calls("sum")
    ... def add(n):
    ...     return sum(range(n))
    >>> add(5)
    10
    >>> len(add.readings)
    1
    """

    def __init__(self, *sources: Source, passed_over: dict[str, dict[str, str]] | None = None) -> None:
        if not sources or len({source.device for source in sources}) < len(sources):
            raise ValueError("a meter takes one source for each device")
        self.sources = sources
        self.passed_over = passed_over or {}
        self._idle: dict[str, Reading] = {}

    @property
    def source(self) -> Source:
        """The source of the first device."""
        return self.sources[0]

    @classmethod
    def auto(cls, devices: Iterable[Device] = ("cpu",), sources: Iterable[type[Source]] | None = None) -> EnergyMeter:
        """A meter with the best source of each device that works on this machine.

        Parameters
        ----------
        devices : iterable of {"cpu", "gpu"}
            What to measure.
        sources : iterable of type, optional
            Candidates, best first; by default all, or for its device the one that ``TSC_ENERGY`` names in the
            environment.

        Raises
        ------
        UserError
            If a device has no source that works, or a setting in the environment is malformed.
        """
        if sources is None:
            sources = SOURCES
            if name := os.environ.get(VARIABLE, "").strip():
                named = _find(name)
                sources = [named, *(source for source in SOURCES if source.device != named.device)]
        sources = list(sources)
        usable: list[Source] = []
        passed_over: dict[str, dict[str, str]] = {}
        for device in devices:
            reasons = passed_over[device] = {}
            for source in (candidate() for candidate in sources if candidate.device == device):
                reason = source.unavailable()
                if reason is None:
                    usable.append(source)
                    break
                reasons[source.backend] = reason
            else:
                why = "; ".join(f"{backend}: {reason}" for backend, reason in reasons.items())
                raise UserError(f"the energy of the {device} cannot be measured here: {why}")
        return cls(*usable, passed_over=passed_over)

    @classmethod
    def named(cls, name: str) -> EnergyMeter:
        """A meter with the source of this name.

        Raises
        ------
        UserError
            If there is none, or it does not work here.
        """
        source = _find(name)
        return cls.auto([source.device], [source])

    def measure(self, label: str, inferences: int = 1) -> Window:
        """A context whose `reading` tells, once it was left, what its body cost."""
        if inferences < 1:
            raise ValueError(f"a window holds at least one inference, not {inferences}")
        return Window(self, label, inferences)

    def measure_calls(
        self, label: str | None = None, inferences: int = 1
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """A decorator: the function returns what it always did, and its list `readings` gains one for each call."""

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            @functools.wraps(function)
            def watched(*args: P.args, **kwargs: P.kwargs) -> R:
                with self.measure(label or function.__name__, inferences) as window:
                    value = function(*args, **kwargs)
                readings.append(window.reading)
                return value

            readings: list[Reading] = []
            watched.readings = readings  # type: ignore[attr-defined]
            return watched

        return decorate

    def measure_idle(self, seconds: float = 1.0) -> Reading:
        """Measure the machine while this process sleeps; the windows after that tell energy net of it too.

        Raises
        ------
        UserError
            If no source is a counter: an estimate from CPU time sees no idle power.
        """
        if not any(source.kind == "measured" for source in self.sources):
            raise UserError(f"idle power takes a counter, and this machine's energy is {self.source.kind}")
        with Window(self, "idle", 1) as window:
            time.sleep(max(seconds, self.shortest_window_s))
        self._idle = {device: idle for device, idle in window.readings.items() if idle.source == "measured"}
        return window.reading

    @property
    def shortest_window_s(self) -> float:
        """Wall time that a window must last for all of its sources."""
        return max(source.shortest_window_s for source in self.sources)

    def describe(self) -> dict[str, object]:
        """Source, backend and parameters of the first device, as plain values: what energies must share."""
        return {"source": self.source.kind, "backend": self.source.backend, "parameters": self.source.parameters}


def _find(name: str) -> type[Source]:
    if name not in BY_NAME:
        raise UserError(f"unknown energy source {name!r} (from {VARIABLE} or by call); there are {', '.join(BY_NAME)}")
    return BY_NAME[name]


class Window:
    """One measured stretch of work; made by `EnergyMeter.measure`.

    Whatever happens to a source, the work goes on: the reading then says why it is invalid.
    """

    def __init__(self, meter: EnergyMeter, label: str, inferences: int) -> None:
        self._meter, self._label, self._inferences = meter, label, inferences
        self._readings: dict[str, Reading] = {}

    def __enter__(self) -> Window:
        self._marks = [_attempt(source.start) for source in self._meter.sources]
        self._asleep = asleep_s()
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        cpu_seconds, seconds = time.process_time() - self._cpu, time.perf_counter() - self._wall
        asleep = asleep_s() - self._asleep
        for source, (mark, failure) in zip(self._meter.sources, self._marks, strict=True):
            energy = _UNKNOWN
            if failure is None:
                result, failure = _attempt(source.stop, mark, seconds, cpu_seconds)
                if seconds < 0 or cpu_seconds < 0:
                    failure = f"a clock went back: {seconds:.4f} s passed, {cpu_seconds:.4f} s of CPU time"
                elif asleep > ASLEEP_S and source.kind == "measured":
                    failure = f"the machine was suspended for {asleep:.1f} s"
                elif seconds < source.shortest_window_s:
                    failure = (
                        f"it lasted {seconds:.4f} s, and {source.backend} resolves {source.shortest_window_s} s or "
                        "more: repeat the work within the window"
                    )
                energy = result if failure is None else _UNKNOWN
            if error is None:  # else the work was not finished, so it has no reading
                self._readings[source.device] = self._read(source, energy, failure, seconds, cpu_seconds)

    def _read(self, source: Source, energy: Energy, failure: str | None, seconds: float, cpu_seconds: float) -> Reading:
        reading = Reading(
            label=self._label,
            joules=energy.joules,
            joules_low=energy.low,
            joules_high=energy.high,
            seconds=seconds,
            cpu_seconds=cpu_seconds,
            source=source.kind,
            backend=source.backend,
            device=source.device,
            inferences=self._inferences,
            domains=energy.domains,
            parameters=source.parameters,
            warnings=(*source.warnings, *energy.warnings),
            invalid=failure,
            passed_over=self._meter.passed_over.get(source.device, {}),
        )
        idle = self._meter._idle.get(source.device)
        return reading if idle is None else reading.above_idle(idle)

    @property
    def readings(self) -> dict[str, Reading]:
        """What the window cost, by device.

        Raises
        ------
        RuntimeError
            Inside the window, or if its body raised.
        """
        if not self._readings:
            raise RuntimeError(f"the window {self._label!r} has no reading: it is still open, or its body raised")
        return self._readings

    @property
    def reading(self) -> Reading:
        """What the window cost the meter's first device; raises as `readings` does."""
        return next(iter(self.readings.values()))


_UNKNOWN = Energy(float("nan"), float("nan"), float("nan"))


def asleep_s() -> float:
    """Seconds that this machine was suspended since it started, where the system tells."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()


def _attempt(action: Callable[..., Any], *arguments: Any) -> tuple[Any, str | None]:
    """The action's result, or the reason why it has none: a source's failure must never end the work it watches."""
    try:
        return action(*arguments), None
    except (InvalidWindowError, UnusableError) as reason:
        return None, str(reason)
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"
