"""Energy of a piece of work, always with the class of source that it comes from; `EnergyMeter` measures it."""

from __future__ import annotations

from tsc_lib.energy.meter import EnergyMeter
from tsc_lib.energy.reading import MEANING, Reading, SourceMismatchError, describe_idle_drift, require_same_source
from tsc_lib.energy.source import Source

__all__ = [
    "MEANING",
    "EnergyMeter",
    "Reading",
    "Source",
    "SourceMismatchError",
    "describe_idle_drift",
    "require_same_source",
]
