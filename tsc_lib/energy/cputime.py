"""Energy estimated as CPU time × stated watts per busy core, for machines whose counters cannot be read.

Such an energy is CPU time in another unit: it ranks programs on one machine as CPU time does, its ratios *are* ratios
of CPU time, and it sees nothing of memory, idle power or the clock's frequency.
"""

from __future__ import annotations

import math
import os
import time

from tsc_lib.core.errors import UserError
from tsc_lib.energy.source import Energy, Source

VARIABLE = "TSC_WATTS_PER_CORE"

WATTS_PER_CORE = (2.0, 5.0, 10.0)
"""Low, default, high. Rated power per core of server parts: AMD EPYC 7763 has 280 W on 64 cores (4.4 W, or 2.2 W per
hardware thread), EPYC 7313 has 155 W on 16 cores (9.7 W)."""


def watts_per_core() -> tuple[float, float, float]:
    """Low, stated and high watts of one busy core, from the environment or the default band.

    ``TSC_WATTS_PER_CORE`` holds either one number, which is then taken as exact, or ``low:stated:high``.

    Raises
    ------
    UserError
        If the variable is set to anything else.
    """
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return WATTS_PER_CORE
    try:
        watts = [float(part) for part in text.split(":")]
    except ValueError:
        watts = []
    if len(watts) == 1:
        watts *= 3
    if len(watts) != 3 or not 0 < watts[0] <= watts[1] <= watts[2] < math.inf:
        raise UserError(
            f"{VARIABLE} is {text!r}; give the watts of one busy core as a positive number, e.g. 5, "
            "or as low:stated:high, e.g. 2:5:10"
        )
    return watts[0], watts[1], watts[2]


class CpuTime(Source):
    """CPU time × watts; works everywhere, and is the last resort."""

    kind = "estimated"
    backend = "cputime"

    def __init__(self) -> None:
        low, stated, high = self._watts = watts_per_core()
        self.parameters = {"watts_per_core": stated, "watts_per_core_low": low, "watts_per_core_high": high}

    def unavailable(self) -> str | None:
        """Never: every process has a CPU clock."""
        return None

    def resolution_s(self) -> float:
        """That of the process's clock."""
        return time.get_clock_info("process_time").resolution

    def start(self) -> None:
        """Nothing to open: the meter reads the clocks itself."""

    def stop(self, mark: None, seconds: float, cpu_seconds: float) -> Energy:
        """Energy of the CPU time spent, with the bounds of the watts."""
        low, stated, high = self._watts
        return Energy(stated * cpu_seconds, low * cpu_seconds, high * cpu_seconds)
