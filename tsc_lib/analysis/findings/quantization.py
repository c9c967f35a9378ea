"""What int8 costs in accuracy and saves in size and time."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from tsc_lib.analysis.quantities import average_ratio, int8_share, over_seeds, pair_with_fp32, pool
from tsc_lib.analysis.rows import (
    CASE_KEYS,
    annotate,
    batch_kinds,
    drop_collapsed,
    drop_failures,
    list_failures,
    name_batches,
    select_batch,
)
from tsc_lib.analysis.tables import strategy_table
from tsc_lib.analysis.wording import bullet_list, format_interval, format_number, format_range, join_items
from tsc_lib.compress import Family

NOTHING = "This profile quantizes nothing."


def _by_runtime(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of dynamic and of static int8, runtime by runtime, with the name of both."""
    for family in (Family.DYNAMIC, Family.STATIC):
        for runtime, part in rows[rows.family == family].groupby("runtime", sort=False):
            yield f"{family} in {runtime}", part


def int8_accuracy(results: pd.DataFrame) -> str:
    """Points lost, mean over pairs of data set and model, with interval."""
    lines = []
    for name, part in _by_runtime(annotate(drop_failures(select_batch(drop_collapsed(results))))):
        lost = pool(part, "accuracy_drop", geometric=False)
        lines.append(f"**{name}**: {format_interval(*lost.interval)} points lost. {lost.repeats}.")
    return bullet_list(lines) or NOTHING


def int8_size(results: pd.DataFrame) -> str:
    """Bytes of the quantized models relative to fp32."""
    table = strategy_table(results)
    fp32 = table[table.family == Family.BASELINE].set_index(CASE_KEYS).model_bytes
    lines = []
    for name, part in _by_runtime(table):
        share = 100 * (part.set_index(CASE_KEYS).model_bytes / fp32).dropna()
        lines.append(f"**{name}**: {format_range(share, 0)} % of the bytes of fp32.")
    return bullet_list(lines) or NOTHING


def int8_time(results: pd.DataFrame) -> str:
    """CPU time of int8 over fp32 on the same runtime, at the smallest and the largest batch: geometric means."""
    lines = []
    for which in batch_kinds(results):
        batches = name_batches(drop_failures(select_batch(results, which)))
        for name, part in _by_runtime(pair_with_fp32(results, which)):
            ratio = average_ratio(part, "cpu_ratio_to_fp32")
            each = over_seeds(part, CASE_KEYS, ratios=["cpu_ratio_to_fp32"]).cpu_ratio_to_fp32
            lines.append(
                f"**{name}, {batches}**: {ratio:.2f} of the CPU time of fp32 there in the geometric mean "
                f"({format_range(each, 2)}), so int8 {'saves' if ratio < 1 else 'costs'} time on average."
            )
    return bullet_list(lines) or NOTHING


def int8_operators(results: pd.DataFrame) -> str:
    """How many linear layers run in int8."""
    rows = drop_failures(select_batch(results))
    lines = []
    for recipe, part in rows[rows.int8_ops > 0].groupby("recipe", sort=False):
        layers, share = format_range(part.int8_ops, 0), format_range(int8_share(part), 0)
        lines.append(f"`{recipe}`: {layers} linear layers in int8, {share} % of all.")
    return bullet_list(lines) or NOTHING


def layer_errors(table: pd.DataFrame) -> str:
    """Where the graphs that run in static int8 are noisiest, and which runtimes do not tell."""
    lines = []
    for (dataset, model, recipe, runtime), part in drop_failures(table).groupby(
        ["dataset", "model", "recipe", "runtime"], sort=False
    ):
        worst, median = part.loc[part.sqnr_db.idxmin()], part.sqnr_db.median()
        lines.append(
            f"**{model} on {dataset}**, `{recipe}` in {runtime}: the signal is {format_number(median)} dB above the "
            f"noise in the median of {len(part)} layers, and {format_number(worst.sqnr_db)} dB in `{worst.layer}`."
        )
    for status, part in list_failures(table).groupby("status", sort=False):
        lines.append(f"{join_items(part.runtime.unique())}: {status.removeprefix('failed: ')}.")
    return bullet_list(lines) or NOTHING


def sensitivity(table: pd.DataFrame) -> str:
    """Which layers of the uncompressed models bear int8 least, and how unequal layers are."""
    lines = []
    for (dataset, model), part in table.groupby(["dataset", "model"], sort=False):
        ranked = part.sort_values("divergence", ascending=False)
        share = 100 * ranked.divergence.head(3).sum() / ranked.divergence.sum()
        worst = join_items(f"`{name}`" for name in ranked.layer.head(3))
        lines.append(
            f"**{model} on {dataset}**: {worst} make {format_number(share, 0)} % of the divergence of all layers."
        )
    return bullet_list(lines) or NOTHING
