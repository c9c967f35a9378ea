"""What int8 costs in accuracy and saves in size and time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from tsc_lib.analysis.findings.wording import bullets, interval, listed, number, span
from tsc_lib.analysis.quantities import UNIT, pooled
from tsc_lib.analysis.strategies import BASELINE, DYNAMIC, STATIC, annotate
from tsc_lib.analysis.tables import at_batch, batch_name, batches, failures, learned, strategy_table, succeeded

NOTHING = "This profile quantizes nothing."


def _by_runtime(rows: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """The rows of dynamic and of static int8, runtime by runtime, with both names."""
    for family in (DYNAMIC, STATIC):
        for runtime, part in rows[rows.family == family].groupby("runtime", sort=False):
            yield family, str(runtime), part


def int8_accuracy(results: pd.DataFrame) -> str:
    """Points lost, mean over pairs of data set and model, with interval."""
    rows = annotate(succeeded(at_batch(learned(results))))
    lines = []
    columns = {"accuracy_drop": "value", "accuracy_drop_low": "low", "accuracy_drop_high": "high"}
    for family, runtime, part in _by_runtime(rows):
        mean, repeats = pooled(part.rename(columns=columns)[[*UNIT, "value", "low", "high"]])
        lines.append(f"**{family} in {runtime}**: {interval(*mean)} points lost. {repeats}")
    return bullets(lines) or NOTHING


def int8_size(results: pd.DataFrame) -> str:
    """Bytes of the quantized models relative to fp32."""
    table = strategy_table(results)
    keys = ["dataset", "model"]
    full = table[table.family == BASELINE].set_index(keys).model_bytes
    lines = []
    for family, runtime, part in _by_runtime(table):
        size = part.set_index(keys).model_bytes
        share = 100 * size / full.reindex(size.index)
        lines.append(f"**{family} in {runtime}**: {span(share, 0)} % of the bytes of fp32.")
    return bullets(lines) or NOTHING


def int8_time(results: pd.DataFrame) -> str:
    """CPU time of int8 over fp32 on the same runtime, at the smallest and the largest batch."""
    lines = []
    for which in batches(results):
        rows = annotate(succeeded(at_batch(results, which)))
        fp32 = rows[rows.recipe == BASELINE]
        for family, runtime, part in _by_runtime(rows):
            both = part.merge(fp32[fp32.runtime == runtime], on=UNIT, suffixes=("", "_fp32"))
            if len(both):
                logs = both.assign(log=np.log(both.cpu_ratio / both.cpu_ratio_fp32))
                ratio = np.exp(logs.groupby(["dataset", "model"]).log.mean())
                lines.append(
                    f"**{family} in {runtime}, {batch_name(rows)}**: {ratio.mean():.2f} of the CPU time of fp32 there "
                    f"({span(ratio, 2)}), so int8 {'saves' if ratio.mean() < 1 else 'costs'} time on average."
                )
    return bullets(lines) or NOTHING


def int8_operators(results: pd.DataFrame) -> str:
    """How many linear layers run in int8."""
    rows = succeeded(at_batch(results))
    rows = rows[rows.int8_ops > 0]
    if rows.empty:
        return NOTHING
    lines = []
    for recipe, part in rows.groupby("recipe", sort=False):
        whole = part.int8_ops + part.fp32_ops
        share = 100 * part.int8_ops / whole
        lines.append(f"`{recipe}`: {span(part.int8_ops, 0)} linear layers in int8, {span(share, 0)} % of all.")
    return bullets(lines)


def layer_errors(table: pd.DataFrame) -> str:
    """Where the graphs that run in static int8 are noisiest, and which runtimes do not tell."""
    lines = []
    for (dataset, model, recipe, runtime), part in succeeded(table).groupby(
        ["dataset", "model", "recipe", "runtime"], sort=False
    ):
        worst, median = part.loc[part.sqnr_db.idxmin()], part.sqnr_db.median()
        lines.append(
            f"**{model} on {dataset}**, `{recipe}` in {runtime}: the signal is {number(median)} dB above the noise in "
            f"the median of {len(part)} layers, and {number(worst.sqnr_db)} dB in `{worst.layer}`."
        )
    for status, part in failures(table).groupby("status", sort=False):
        lines.append(f"{listed(part.runtime.unique())}: {status.removeprefix('failed: ')}.")
    return bullets(lines) or NOTHING


def sensitivity(table: pd.DataFrame) -> str:
    """Which layers of the uncompressed models bear int8 least, and how unequal layers are."""
    lines = []
    for (dataset, model), part in table.groupby(["dataset", "model"], sort=False):
        ranked = part.sort_values("divergence", ascending=False)
        share = 100 * ranked.divergence.head(3).sum() / ranked.divergence.sum()
        worst = listed(f"`{name}`" for name in ranked.layer.head(3))
        lines.append(f"**{model} on {dataset}**: {worst} make {number(share, 0)} % of the divergence of all layers.")
    return bullets(lines) or NOTHING
