"""Energy of a piece of work, always with the class of source that it comes from.

Examples
--------
>>> from tsc_lib.energy import EnergyMeter
>>> meter = EnergyMeter.auto()
>>> with meter.measure("sum", inferences=10) as window:
...     total = sum(range(100_000))
>>> window.reading.source in ("measured", "estimated")
True

A decorated function returns what it always did, and collects its readings:

>>> @meter.measured("sum")
... def add(n):
...     return sum(range(n))
>>> add(5)
10
>>> len(add.readings)
1
"""

from __future__ import annotations

from tsc_lib.energy.meter import EnergyMeter, Source, Window
from tsc_lib.energy.reading import (
    MEANING,
    Energy,
    InvalidWindowError,
    Meaning,
    Reading,
    SourceMismatchError,
    idle_drift,
    same_source,
    total,
)

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
