"""A model's C code compiled for a microcontroller and executed on an imitated one.

>>> from tsc_lib.microcontroller import PROCESSORS, emulate, find_missing
>>> PROCESSORS["cortex-m4"].device.clock_mhz
120
"""

from __future__ import annotations

from tsc_lib.microcontroller.boards import PROCESSORS, PUBLISHED_MJ, Device, Processor
from tsc_lib.microcontroller.emulation import Emulation, Footprint, emulate, find_missing, find_processor, run_test

__all__ = [
    "PROCESSORS",
    "PUBLISHED_MJ",
    "Device",
    "Emulation",
    "Footprint",
    "Processor",
    "emulate",
    "find_missing",
    "find_processor",
    "run_test",
]
