"""Energy read through pyRAPL, the study's own tool; chosen by name, never on its own.

pyRAPL (0.2.3.1, the last release) does not know where a counter wraps: it then gives nothing, or a plausible wrong
number. Each window is therefore followed by our own reader too, and is invalid where the two disagree.
"""

from __future__ import annotations

import logging
from pathlib import Path
from types import ModuleType
from typing import Any

from tsc_lib.energy.powercap import Mark, Powercap
from tsc_lib.energy.source import Energy, InvalidWindowError, Source

TOLERANCE = 0.01
"""Share by which pyRAPL may differ from our reader, beside what either misses at the ends of a window."""


class PyRapl(Source):
    """pyRAPL; it reads ``/sys`` and nothing else."""

    backend = "pyrapl"
    shortest_window_s = Powercap.shortest_window_s

    def __init__(self) -> None:
        self._reader = Powercap(Path("/sys"))
        self._pyrapl: ModuleType | None = None

    def unavailable(self) -> str | None:
        """Why pyRAPL cannot be used."""
        if reason := self._reader.unavailable():
            return reason
        self.shortest_window_s, self.warnings = self._reader.shortest_window_s, self._reader.warnings
        try:
            self._pyrapl = _import()
            self._pyrapl.setup()
        except ImportError:
            return "pyRAPL is not installed: pip install 'tsc_lib[counters]'"
        except Exception as error:  # whatever it raises, it must not end a study
            return f"pyRAPL cannot use these counters ({type(error).__name__}): {error}".rstrip(": ")
        self.parameters = {**self._reader.parameters, "version": "0.2.3.1"}
        return None

    def resolution_s(self) -> float:
        """That of the counters."""
        return self._reader.resolution_s()

    def start(self) -> tuple[Mark, Any]:
        """Begin a measurement of pyRAPL, and one of our own."""
        if self._pyrapl is None and (reason := self.unavailable()):
            raise InvalidWindowError(reason)
        assert self._pyrapl is not None
        measurement = self._pyrapl.Measurement("window")
        mark = self._reader.start()
        measurement.begin()
        return mark, measurement

    def stop(self, mark: tuple[Mark, Any], seconds: float, cpu_seconds: float) -> Energy:
        """pyRAPL's energy, if our own reader confirms it."""
        measurement = mark[1]
        measurement.end()
        own = self._reader.stop(mark[0], seconds, cpu_seconds)
        result = measurement.result
        if result.pkg is None:
            raise InvalidWindowError(
                f"pyRAPL gave no energy, as it does when a counter wraps; it was {own.joules:.3f} J"
            )
        domains = {f"package-{i}": uj / 1e6 for i, uj in enumerate(result.pkg) if uj >= 0}
        domains |= {f"package-{i}/dram": uj / 1e6 for i, uj in enumerate(result.dram or []) if uj >= 0}
        joules = sum(domains.values())
        if abs(joules - own.joules) > TOLERANCE * own.joules + (own.high - own.low):
            raise InvalidWindowError(
                f"pyRAPL read {joules:.3f} J where the counters gained {own.joules:.3f} J: it follows neither a "
                "counter that wraps nor every zone"
            )
        return Energy(joules, own.low - own.joules + joules, own.high - own.joules + joules, domains=domains)


def _import() -> ModuleType:
    """pyRAPL, without what importing it does to the root logger: it warns there, which adds a handler."""
    root = logging.getLogger()
    handlers, disabled = list(root.handlers), root.disabled
    root.disabled = True
    try:
        import pyRAPL
    finally:
        root.disabled = disabled
        root.handlers[:] = handlers
    return pyRAPL
