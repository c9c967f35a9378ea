"""Tables made from the comparison of runtimes: on one thread, beside fp32, as rates, by threads."""

from __future__ import annotations

import pandas as pd

from tsc_lib.analysis.rows import CASE_KEYS, drop_failures

EXECUTION_KEYS = ["runtime", "number_format"]
"""What a line or bar of the comparison stands for."""


def one_thread(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that were measured on the fewest threads, without those that failed."""
    rows = drop_failures(table) if "status" in table else table
    return rows[rows.threads == rows.threads.min()]


def beside_fp32(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of narrower formats, on one thread, where fp32 was measured in the same runtime."""
    rows = one_thread(table)
    return rows[(rows.number_format != "fp32") & rows.fp32_ratio.notna()]


def speed_up_by_threads(table: pd.DataFrame) -> pd.DataFrame:
    """Median latency on one thread ÷ that on the most threads: columns `speed_up` and `threads`.

    Empty if only one number of threads was measured.
    """
    rows = drop_failures(table)
    fewest, most = rows.threads.min(), rows.threads.max()
    keys = [*CASE_KEYS, *EXECUTION_KEYS, "recipe", "batch_size"]
    if not fewest < most:
        return rows.iloc[:0].assign(speed_up=[])
    alone = rows[rows.threads == fewest][[*keys, "latency_p50_ms"]]
    both = rows[rows.threads == most].merge(alone, on=keys, suffixes=("", "_one"))
    return both.assign(speed_up=both.latency_p50_ms_one / both.latency_p50_ms)


def effective_rates(table: pd.DataFrame) -> pd.DataFrame:
    """How fast the uncompressed model's arithmetic is done: columns `gflops`, `gflops_low` and `gflops_high`.

    Two operations for every multiply-accumulate that the uncompressed model makes, over the CPU time, at the largest
    batch on one thread. What a runtime need not compute counts as done. The interval is that of the paired ratio.
    """
    rows = one_thread(table)
    rows = rows[rows.batch_size == rows.batch_size.max()]
    gflops = 2 * rows.reference_macs / rows.cpu_ms_per_sample / 1e6
    return rows.assign(
        gflops=gflops,
        gflops_low=gflops * rows.cpu_ratio / rows.cpu_ratio_high,
        gflops_high=gflops * rows.cpu_ratio / rows.cpu_ratio_low,
    )


def preparation(table: pd.DataFrame) -> pd.DataFrame:
    """What it takes to make the models ready: one row per data set, model, runtime and number format.

    Returns
    -------
    DataFrame
        Columns `dataset`, `model`, `recipe`, `runtime`, `number_format`, `prepare_seconds`, `prepare_peak_mb`,
        `model_bytes`, `int8_ops`, `fp32_ops`, `accuracy` and `agreement` (%).
    """
    columns = [*CASE_KEYS, "recipe", *EXECUTION_KEYS, "prepare_seconds", "prepare_peak_mb"]
    columns += ["model_bytes", "int8_ops", "fp32_ops", "accuracy", "agreement"]
    rows = drop_failures(table)[columns].drop_duplicates([*CASE_KEYS, "recipe", "runtime"], ignore_index=True)
    rows[["accuracy", "agreement"]] *= 100
    return rows.round({"accuracy": 2, "agreement": 2, "prepare_seconds": 1, "prepare_peak_mb": 0})
