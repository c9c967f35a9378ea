"""CodeCarbon beside our meter on the same work: a second opinion that is asked for, never a fallback.

CodeCarbon reads RAPL too, where it can; else it multiplies a rated power by the load, which is an estimate of its own.
"""

from __future__ import annotations

import contextlib
import io
import logging
import time

from tsc_lib.core.errors import UserError
from tsc_lib.energy.meter import EnergyMeter
from tsc_lib.energy.reading import Reading

JOULES_PER_KWH = 3.6e6

WORK_S = 10.0
"""Long enough for CodeCarbon, which starts slowly."""


def measure_with_codecarbon(meter: EnergyMeter) -> tuple[Reading, float]:
    """Keep a thread busy for `WORK_S`, watched by both; our reading, and CodeCarbon's joules of the CPU.

    Raises
    ------
    UserError
        If CodeCarbon is not installed or cannot measure here, or our window is invalid.
    """
    try:
        from codecarbon import OfflineEmissionsTracker
    except ImportError:
        raise UserError("CodeCarbon is not installed: pip install 'tsc_lib[crosscheck]'") from None
    logging.getLogger("codecarbon").setLevel(logging.CRITICAL)
    with contextlib.redirect_stdout(io.StringIO()):
        tracker = OfflineEmissionsTracker(
            country_iso_code="FRA",
            save_to_file=False,
            measure_power_secs=1,
            log_level="critical",
            allow_multiple_runs=True,
        )
        tracker.start()
        with meter.measure("crosscheck") as window:
            end = time.monotonic() + WORK_S
            while time.monotonic() < end:
                pass
        tracker.stop()
    result = getattr(tracker, "final_emissions_data", None)
    if result is None:
        raise UserError("CodeCarbon gave no result on this machine; codecarbon.OfflineEmissionsTracker says why")
    if not window.reading.valid:
        raise UserError(f"the crosscheck's window is invalid: {window.reading.invalid}")
    return window.reading, JOULES_PER_KWH * result.cpu_energy
