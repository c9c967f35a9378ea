"""CodeCarbon beside our meter on the same work: a second opinion that is asked for, never a fallback.

CodeCarbon reads RAPL too, where it can; else it multiplies a rated power by the load, which is an estimate of its own.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable
from typing import Any

from tsc_lib.core.errors import UserError
from tsc_lib.energy.meter import EnergyMeter
from tsc_lib.energy.reading import Reading

JOULES_PER_KWH = 3.6e6


def measure_with_codecarbon(meter: EnergyMeter, work: Callable[[], Any]) -> tuple[Reading, float]:
    """Run some work once, watched by both.

    Parameters
    ----------
    meter : EnergyMeter
        Ours.
    work : callable
        What to measure; it should take several seconds, as CodeCarbon starts slowly.

    Returns
    -------
    tuple
        Our reading, and CodeCarbon's joules of the CPU.

    Raises
    ------
    UserError
        If CodeCarbon is not installed, or cannot measure here.
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
            work()
        tracker.stop()
    result = getattr(tracker, "final_emissions_data", None)
    if result is None:
        raise UserError("CodeCarbon gave no result on this machine; codecarbon.OfflineEmissionsTracker says why")
    return window.reading, JOULES_PER_KWH * result.cpu_energy
