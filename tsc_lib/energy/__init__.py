"""Energy of a piece of work, always with the class of source that it comes from; `EnergyMeter` measures it."""

from __future__ import annotations

from tsc_lib.energy.meter import EnergyMeter, Window
from tsc_lib.energy.reading import (
    MEANING,
    Meaning,
    Reading,
    SourceMismatchError,
    describe_idle_drift,
    require_same_source,
    sum_joules,
)
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
    "describe_idle_drift",
    "require_same_source",
    "sum_joules",
]
