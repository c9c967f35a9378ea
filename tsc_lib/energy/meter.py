"""The public door to energy: choose a source once, then measure windows of work."""

from __future__ import annotations

import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Protocol

from tsc_lib.energy.cputime import CpuTime
from tsc_lib.energy.reading import Energy, Reading, SourceClass
from tsc_lib.errors import UserError


class Source(Protocol):
    """A way to know the energy of a window.

    Attributes
    ----------
    source : {"measured", "estimated", "modelled"}
    backend : str
        Short name that goes into records.
    parameters : dict
        JSON-able constants that the energy depends on.
    """

    @property
    def source(self) -> SourceClass: ...
    @property
    def backend(self) -> str: ...
    @property
    def parameters(self) -> dict[str, Any]: ...

    def unavailable(self) -> str | None:
        """Why this machine cannot use the source and how to mend that; None if it can."""

    def start(self) -> Any:
        """Open a window; what is returned is handed to `stop`."""

    def stop(self, mark: Any, seconds: float, cpu_seconds: float) -> Energy:
        """Close the window that `start` opened and that lasted this wall and CPU time."""


SOURCES: tuple[type[Source], ...] = (CpuTime,)
"""Every source, best first."""


class EnergyMeter:
    """Measures windows of work with one source.

    Parameters
    ----------
    source : Source
        Where the energy comes from; `auto` chooses the best.
    passed_over : dict, optional
        Better sources that cannot be used here, each with its reason.
    """

    def __init__(self, source: Source, passed_over: dict[str, str] | None = None) -> None:
        self.source = source
        self.passed_over = passed_over or {}

    @classmethod
    def auto(cls, sources: Iterable[type[Source]] = SOURCES) -> EnergyMeter:
        """A meter with the first of `sources` that works on this machine.

        Raises
        ------
        UserError
            If none does, or a source's setting in the environment is malformed.
        """
        passed_over: dict[str, str] = {}
        for candidate in sources:
            source = candidate()
            reason = source.unavailable()
            if reason is None:
                return cls(source, passed_over)
            passed_over[source.backend] = reason
        raise UserError("no energy source works here: " + "; ".join(f"{k}: {v}" for k, v in passed_over.items()))

    def measure(self, label: str, inferences: int = 1) -> Window:
        """A context whose `reading` tells, once it was left, what its body cost."""
        if inferences < 1:
            raise ValueError(f"a window holds at least one inference, not {inferences}")
        return Window(self, label, inferences)

    def describe(self) -> dict[str, Any]:
        """Source, backend, parameters and what was passed over, as plain values."""
        return {
            "source": self.source.source,
            "backend": self.source.backend,
            "parameters": self.source.parameters,
            "passed_over": dict(self.passed_over),
        }


class Window:
    """One measured stretch of work; made by `EnergyMeter.measure`."""

    def __init__(self, meter: EnergyMeter, label: str, inferences: int) -> None:
        self._meter, self._label, self._inferences = meter, label, inferences
        self._reading: Reading | None = None

    def __enter__(self) -> Window:
        self._mark = self._meter.source.start()
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        cpu_seconds, seconds = time.process_time() - self._cpu, time.perf_counter() - self._wall
        source = self._meter.source
        energy = source.stop(self._mark, seconds, cpu_seconds)
        if error is not None:
            return  # the work was not finished, so it has no reading
        self._reading = Reading(
            label=self._label,
            joules=energy.joules,
            joules_low=energy.low,
            joules_high=energy.high,
            seconds=seconds,
            cpu_seconds=cpu_seconds,
            source=source.source,
            backend=source.backend,
            inferences=self._inferences,
            parameters=source.parameters,
            warnings=energy.warnings,
            passed_over=self._meter.passed_over,
        )

    @property
    def reading(self) -> Reading:
        """What the window cost.

        Raises
        ------
        RuntimeError
            Inside the window, or if its body raised.
        """
        if self._reading is None:
            raise RuntimeError(f"the window {self._label!r} has no reading: it is still open, or its body raised")
        return self._reading
