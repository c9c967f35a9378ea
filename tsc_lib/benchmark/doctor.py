"""What this machine can measure: every source of energy, tried."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from tsc_lib.core.errors import UserError
from tsc_lib.core.stats import Interval, ratio_interval
from tsc_lib.energy import EnergyMeter, Reading, Source
from tsc_lib.energy.meter import BY_NAME, SOURCES

OVERHEAD_WINDOWS = 200
OVERHEAD_S = 2.0
"""Time that the overhead of one source may take to find: perf starts a process for every window."""

AA_BLOCKS = 12
AA_BLOCKS_LEAST = 5
AA_WINDOW_S = 0.1
AA_S = 60.0
"""Time that the noise floor may take to find: a counter that is updated seldom takes long windows, so fewer blocks."""


def examine() -> pd.DataFrame:
    """One row per source: ``device``, ``source``, ``backend``, ``usable``, ``chosen``, ``shortest_window_s``,
    ``resolution_s`` (how often its energy changes), ``overhead_us`` (CPU time of a window's two ends), and ``why`` it
    cannot be used, with the fix, or what may be doubted about it."""
    rows, chosen = [], set()
    for backend, kind in BY_NAME.items():
        source = kind()
        reason = source.unavailable()
        row: dict[str, object] = {
            "device": source.device,
            "source": source.kind,
            "backend": backend,
            "usable": reason is None,
            "chosen": reason is None and kind in SOURCES and source.device not in chosen,
            "shortest_window_s": source.shortest_window_s,
            "why": reason or "; ".join(source.warnings),
        }
        if row["chosen"]:
            chosen.add(source.device)
        if reason is None:
            row |= {"resolution_s": source.resolution_s(), "overhead_us": measure_overhead(source)}
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


COLUMNS = [
    "device", "source", "backend", "usable", "chosen", "shortest_window_s", "resolution_s", "overhead_us", "why"
]  # fmt: skip


def measure_overhead(source: Source) -> float:
    """Median CPU time, in microseconds, that entering and leaving a window takes this process."""
    meter = EnergyMeter(source)
    spent: list[float] = []
    end = time.monotonic() + OVERHEAD_S
    while len(spent) < OVERHEAD_WINDOWS and (time.monotonic() < end or len(spent) < 2):
        start = time.thread_time()
        with meter.measure("nothing"):
            pass
        spent.append(1e6 * (time.thread_time() - start))
    return float(np.median(spent))


def measure_noise_floor(meter: EnergyMeter, work: Callable[[], Any] | None = None) -> tuple[Interval, Interval]:
    """The ratio of some work to the same work, in energy and in CPU time: what no comparison here can be finer than.

    Parameters
    ----------
    meter : EnergyMeter
        What to measure with.
    work : callable, optional
        By default a matrix product.

    Returns
    -------
    tuple of Interval
        Of energy and of CPU time, over pairs of windows in alternating order; both would be 1 without noise.

    Raises
    ------
    UserError
        If too few windows were valid.
    """
    if work is None:
        matrix = np.random.default_rng(0).standard_normal((192, 192), dtype=np.float32)
        work = lambda: matrix @ matrix  # noqa: E731
    length = max(AA_WINDOW_S, 2 * meter.shortest_window_s)  # with room for a machine that becomes faster
    readings: tuple[list[Reading], list[Reading]] = ([], [])
    calls = _calls(work, length)
    blocks = max(AA_BLOCKS_LEAST, min(AA_BLOCKS, int(AA_S / (2 * length))))
    for block in range(blocks):
        for side in (0, 1) if block % 2 else (1, 0):
            with meter.measure("A/A") as window:
                for _ in range(calls):
                    work()
            readings[side].append(window.reading)
    pairs = [(a, b) for a, b in zip(*readings, strict=True) if a.valid and b.valid]
    if 2 * len(pairs) < blocks:
        reason = next(reading.invalid for side in readings for reading in side if not reading.valid)
        raise UserError(f"the noise floor cannot be told, for want of valid windows: {reason}")
    energy = ratio_interval([a.joules for a, _ in pairs], [b.joules for _, b in pairs])
    return energy, ratio_interval([a.cpu_seconds for a, _ in pairs], [b.cpu_seconds for _, b in pairs])


def _calls(work: Callable[[], Any], seconds: float) -> int:
    """How often to do some work so that it lasts this long."""
    work()
    calls, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        work()
        calls += 1
    return max(1, calls)
