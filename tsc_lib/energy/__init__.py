"""Energy of a piece of work, always with the class of source that it comes from; `EnergyMeter` measures it."""

from __future__ import annotations

from tsc_lib.energy.meter import EnergyMeter, Window
from tsc_lib.energy.reading import MEANING, Meaning, Reading, SourceMismatchError, idle_drift, same_source, total
from tsc_lib.energy.source import Energy, InvalidWindowError, Source

__all__ = [
    "MEANING",
    "Energy",
    "EnergyMeter",
    "InvalidWindowError",
    "Meaning",
    "Reading",
    "Source",
    "SourceMismatchError",
    "Window",
    "idle_drift",
    "same_source",
    "total",
]
