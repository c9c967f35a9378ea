"""The public door to energy: choose a source once, then measure windows of work."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, ParamSpec, Protocol, TypeVar

from tsc_lib.core.errors import UserError
from tsc_lib.energy.cputime import CpuTime
from tsc_lib.energy.nvml import NvmlCounter, NvmlPower
from tsc_lib.energy.perf import Perf
from tsc_lib.energy.powercap import Powercap
from tsc_lib.energy.pyrapl import PyRapl
from tsc_lib.energy.reading import Device, Energy, InvalidWindowError, Reading, SourceClass
from tsc_lib.energy.zones import UnusableError

P = ParamSpec("P")
R = TypeVar("R")


class Source(Protocol):
    """A way to know the energy of a window.

    Attributes
    ----------
    device : {"cpu", "gpu"}
        Whose energy it is.
    source : {"measured", "estimated", "modelled"}
    backend : str
        Short name that goes into records.
    parameters : dict
        JSON-able constants that the energy depends on.
    shortest_window_s : float
        Wall time below which a window is not resolved; 0 if any can be.
    """

    @property
    def device(self) -> Device: ...
    @property
    def source(self) -> SourceClass: ...
    @property
    def backend(self) -> str: ...
    @property
    def parameters(self) -> dict[str, Any]: ...
    @property
    def shortest_window_s(self) -> float: ...

    def unavailable(self) -> str | None:
        """Why this machine cannot use the source and how to mend that; None if it can."""

    def resolution_s(self) -> float | None:
        """Seconds between two values of this source, as seen here; None if it was not seen to change."""

    def start(self) -> Any:
        """Open a window; what is returned is handed to `stop`."""

    def stop(self, mark: Any, seconds: float, cpu_seconds: float) -> Energy:
        """Close the window that `start` opened and that lasted this wall and CPU time.

        Raises
        ------
        InvalidWindowError
            If the energy cannot be vouched for.
        """


SOURCES: tuple[type[Source], ...] = (Powercap, Perf, CpuTime, NvmlCounter, NvmlPower)
"""Every source that is chosen by itself, best first for each device."""

BY_NAME: dict[str, type[Source]] = {
    Powercap.backend: Powercap,
    PyRapl.backend: PyRapl,
    Perf.backend: Perf,
    CpuTime.backend: CpuTime,
    NvmlCounter.backend: NvmlCounter,
    NvmlPower.backend: NvmlPower,
}
"""Every source that can be asked for."""

VARIABLE = "TSC_ENERGY"


class EnergyMeter:
    """Measures windows of work, with one source for each device.

    Parameters
    ----------
    *sources : Source
        Where the energy comes from; the first is what `Window.reading` reads. `auto` chooses the best.
    passed_over : dict, optional
        For each device the better sources that cannot be used here, each with its reason.
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
                named = _by_name(name)
                sources = [named, *(source for source in SOURCES if source.device != named.device)]
        sources = list(sources)
        chosen: list[Source] = []
        passed_over: dict[str, dict[str, str]] = {}
        for device in devices:
            reasons: dict[str, str] = {}
            for candidate in (candidate for candidate in sources if candidate.device == device):
                source = candidate()
                reason = source.unavailable()
                if reason is None:
                    chosen.append(source)
                    break
                reasons[source.backend] = reason
            else:
                raise UserError(
                    f"the energy of the {device} cannot be measured here: "
                    + "; ".join(f"{backend}: {reason}" for backend, reason in reasons.items())
                )
            passed_over[device] = reasons
        return cls(*chosen, passed_over=passed_over)

    @classmethod
    def named(cls, name: str) -> EnergyMeter:
        """A meter with the source of this name.

        Raises
        ------
        UserError
            If there is none, or it does not work here.
        """
        named = _by_name(name)
        return cls.auto([named.device], [named])  # type: ignore[list-item]

    def measure(self, label: str, inferences: int = 1) -> Window:
        """A context whose `reading` tells, once it was left, what its body cost."""
        if inferences < 1:
            raise ValueError(f"a window holds at least one inference, not {inferences}")
        return Window(self, label, inferences)

    def measured(self, label: str | None = None, inferences: int = 1) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """A decorator: the function returns what it always did, and its list `readings` gains one for each call."""

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            @functools.wraps(function)
            def measured(*args: P.args, **kwargs: P.kwargs) -> R:
                with self.measure(label or function.__name__, inferences) as window:
                    value = function(*args, **kwargs)
                readings.append(window.reading)
                return value

            readings: list[Reading] = []
            measured.readings = readings  # type: ignore[attr-defined]
            return measured

        return decorate

    def measure_idle(self, seconds: float = 1.0) -> Reading:
        """Measure the machine while this process sleeps; the windows after that tell energy net of it too.

        Raises
        ------
        UserError
            If no source is a counter: an estimate from CPU time sees no idle power.
        """
        if not any(source.source == "measured" for source in self.sources):
            raise UserError(f"idle power takes a counter, and this machine's energy is {self.source.source}")
        with Window(self, "idle", 1) as window:
            time.sleep(max(seconds, self.shortest_window_s))
        self._idle = {d: r for d, r in window.readings.items() if r.source == "measured"}
        return window.reading

    @property
    def shortest_window_s(self) -> float:
        """Wall time that a window must last for all of its sources."""
        return max(source.shortest_window_s for source in self.sources)

    def describe(self) -> dict[str, Any]:
        """Source, backend and parameters of the first device, as plain values: what energies must share."""
        source = self.source
        return {"source": source.source, "backend": source.backend, "parameters": source.parameters}


def _by_name(name: str) -> type[Source]:
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
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        cpu_seconds, seconds = time.process_time() - self._cpu, time.perf_counter() - self._wall
        for source, (mark, failure) in zip(self._meter.sources, self._marks, strict=True):
            energy = None
            if failure is None:
                energy, failure = _attempt(source.stop, mark, seconds, cpu_seconds)
                if seconds < source.shortest_window_s:
                    energy = None
                    failure = (
                        f"it lasted {seconds:.4f} s, and {source.backend} resolves {source.shortest_window_s} s or "
                        "more: repeat the work within the window"
                    )
            if error is None:  # else the work was not finished, so it has no reading
                self._readings[source.device] = self._read(source, energy, failure, seconds, cpu_seconds)

    def _read(
        self, source: Source, energy: Energy | None, failure: str | None, seconds: float, cpu_seconds: float
    ) -> Reading:
        energy = energy or _NONE
        reading = Reading(
            label=self._label,
            joules=energy.joules,
            joules_low=energy.low,
            joules_high=energy.high,
            seconds=seconds,
            cpu_seconds=cpu_seconds,
            source=source.source,
            backend=source.backend,
            device=source.device,
            inferences=self._inferences,
            domains=energy.domains,
            parameters=source.parameters,
            warnings=energy.warnings,
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


_NONE = Energy(float("nan"), float("nan"), float("nan"))


def _attempt(action: Callable[..., Any], *arguments: Any) -> tuple[Any, str | None]:
    """The action's result, or the reason why it has none: a source's failure must never end the work it watches."""
    try:
        return action(*arguments), None
    except (InvalidWindowError, UnusableError) as reason:
        return None, str(reason)
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"
