"""How often a counter changes, as seen on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from statistics import median

CHANGES = 6


def interval_of_changes(read: Callable[[], int], patience_s: float) -> float | None:
    """Median seconds between changes of what `read` returns; None if fewer than two are seen in the time given."""
    end, before, changes = time.monotonic() + patience_s, read(), list[float]()
    while len(changes) < CHANGES and (now := time.monotonic()) < end:
        if (value := read()) != before:
            before = value
            changes.append(now)
        time.sleep(1e-4)
    return median(b - a for a, b in pairwise(changes)) if len(changes) > 1 else None
