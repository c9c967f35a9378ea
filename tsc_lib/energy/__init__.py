"""Energy of a piece of work, always with the class of source that it comes from.

Examples
--------
>>> from tsc_lib.energy import EnergyMeter
>>> meter = EnergyMeter.auto()
>>> with meter.measure("sum", inferences=10) as window:
...     total = sum(range(100_000))
>>> window.reading.source
'estimated'
"""

from __future__ import annotations

from tsc_lib.energy.meter import EnergyMeter, Source, Window
from tsc_lib.energy.reading import Energy, Reading, SourceMismatchError, same_source

__all__ = ["Energy", "EnergyMeter", "Reading", "Source", "SourceMismatchError", "Window", "same_source"]
