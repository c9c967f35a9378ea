"""What the comparison of runtimes shows."""

from __future__ import annotations

import pandas as pd

from tsc_lib.analysis.quantities import int8_share
from tsc_lib.analysis.rows import CASE_KEYS, drop_failures, list_failures
from tsc_lib.analysis.runtime_tables import (
    EXECUTION_KEYS,
    beside_fp32,
    effective_rates,
    one_thread,
    speed_up_by_threads,
)
from tsc_lib.analysis.wording import bullet_list, format_estimate, format_number, format_range, join_items
from tsc_lib.benchmark.operator_times import ATTENTION, LINEAR

NOTHING = "This profile compares no runtimes."


def runtime_saving(table: pd.DataFrame) -> str:
    """The cheapest runtime at every batch size, without any compression and with it."""
    rows = one_thread(table)
    lines = []
    for size, part in rows.groupby("batch_size"):
        best = part.loc[part.groupby(CASE_KEYS).cpu_ratio.idxmin()]
        plain = part[part.number_format == "fp32"]
        uncompressed = plain.loc[plain.groupby(CASE_KEYS).cpu_ratio.idxmin()]
        lines.append(
            f"**{size} series a call**: fp32 takes {format_range(uncompressed.cpu_ratio, 2)} of the CPU time of eager "
            f"fp32 in its best runtime ({_names(uncompressed.runtime)}); any format {format_range(best.cpu_ratio, 2)} "
            f"({_names(best.runtime + ' ' + best.number_format)})."
        )
    return bullet_list(lines) or NOTHING


def tail(table: pd.DataFrame) -> str:
    """How far the slowest calls are from the median one, at the smallest batch."""
    rows = one_thread(table)
    rows = rows[rows.batch_size == rows.batch_size.min()]
    if rows.empty:
        return NOTHING
    ratio = (rows.latency_p99_ms / rows.latency_p50_ms).groupby(rows.runtime, sort=False)
    lines = [
        f"**{runtime}**: the 99th percentile is {format_range(part, 1)} times the median." for runtime, part in ratio
    ]
    return bullet_list(lines)


def threads(table: pd.DataFrame) -> str:
    """What more threads shorten."""
    rows = speed_up_by_threads(table)
    lines = [
        f"**{size} series a call**: {rows.threads.max():g} threads make a call "
        f"{format_range(part.speed_up, 2)} times as fast."
        for size, part in rows.groupby("batch_size")
    ]
    return bullet_list(lines) or "This profile measures one number of threads."


def rate(table: pd.DataFrame, peaks: pd.DataFrame) -> str:
    """How far the best runtime is from what the core computes at most."""
    rows = effective_rates(table)
    measured = peaks.dropna(subset="gflops").set_index("number_format").gflops
    lines = [
        f"Measured peak of one core, {name}: {format_number(value, 0)} GFLOP/s." for name, value in measured.items()
    ]
    for row in peaks[peaks.gflops.isna()].itertuples():
        lines.append(f"No peak for {row.number_format}: {row.status.removeprefix('failed: ')}.")
    for (dataset, model), part in rows.groupby(CASE_KEYS, sort=False):
        best = part.loc[part.gflops.idxmax()]
        line = f"**{model} on {dataset}**: {format_number(best.gflops, 1)} GFLOP/s at best "
        line += f"({best.runtime}, {best.number_format})"
        if pd.notna(best.peak_share):
            line += f", {format_estimate(best, 'peak_share', 2)} of the fp32 peak"
        lines.append(f"{line}.")
    return bullet_list(lines)


def rate_bound(table: pd.DataFrame, peaks: pd.DataFrame) -> str:
    """What keeps the runtime that tells its operators' times from the core's peak."""
    rows = drop_failures(table)
    peak = peaks.set_index("number_format").gflops["fp32"]
    lines = []
    for (dataset, model), part in rows.groupby(CASE_KEYS, sort=False):
        by = part.set_index("kind")
        linear, attention = by.loc[LINEAR], by.loc[ATTENTION]
        rest = by.share[by.macs == 0]
        lines.append(
            f"**{model} on {dataset}**: products with weights run at {format_number(linear.gflops / peak, 2)} of the "
            f"fp32 peak and take {format_number(linear.share, 0)} % of the time, those of attention at "
            f"{format_number(attention.gflops / peak, 2)} and take {format_number(attention.share, 0)} %. The other "
            f"{format_number(rest.sum(), 0)} % hold none of the operations that the rate counts; the most of it goes "
            f"to {rest.idxmax()} ({format_number(rest.max(), 0)} %)."
        )
    return bullet_list(lines) or "No runtime of this profile tells the time of its operators."


def int8_losses(table: pd.DataFrame, peaks: pd.DataFrame) -> str:
    """Where int8 takes more time than fp32 in the same runtime, and what int8 could save at most."""
    rows = beside_fp32(table)
    rows = rows[rows.number_format.isin(["int8 dynamic", "int8 static"])]
    lines = []
    for kind, part in rows.groupby(EXECUTION_KEYS, sort=False):
        losing = sorted(part[part.fp32_ratio_low > 1].batch_size.unique())
        sizes = f"loses for certain at {join_items(losing)} series a call" if losing else "never loses for certain"
        lines.append(
            f"**{kind[0]}, {kind[1]}**: {format_range(part.fp32_ratio, 2)} of the CPU time of its fp32; {sizes}. In "
            f"int8 are {format_range(int8_share(part), 0)} % of the linear layers."
        )
    measured = peaks.dropna(subset="gflops").set_index("number_format").gflops
    if lines and "int8" in measured:
        lines.append(
            f"On large matrices int8 is {format_number(measured['int8'] / measured['fp32'], 1)} times as fast as fp32 "
            "here. The models' matrices are small: what scales and rounds their inputs, and what stays in fp32 "
            "(attention's scores, softmax, norms), is not shortened by it."
        )
    return bullet_list(lines) or "This profile compares no int8."


def availability(table: pd.DataFrame) -> str:
    """Which variants could not be had, and why; how far the others agree with the reference."""
    missing = list_failures(table)
    lines = [f"`{row.recipe}` in {row.runtime}: {row.status}" for row in missing.itertuples()]
    rows = drop_failures(table)
    if rows.empty:
        return bullet_list(lines) or NOTHING
    for number_format, part in rows.groupby("number_format", sort=False):
        lines.append(
            f"**{number_format}** gives {format_range(100 * part.agreement, 2)} % of the test series eager's class."
        )
    return bullet_list(lines)


def _names(values: pd.Series) -> str:
    return ", ".join(dict.fromkeys(values))
