"""How good and how expensive the uncompressed models are."""

from __future__ import annotations

import pandas as pd

from tsc_lib.analysis.findings.wording import bullets, counted, interval, listed, span
from tsc_lib.analysis.quantities import named
from tsc_lib.analysis.references import class_name
from tsc_lib.analysis.tables import CELL, accuracy_table, at_batch, batch_name, batches, collapsed, reference_rows


def learning(histories: pd.DataFrame, results: pd.DataFrame) -> str:
    """Which epochs were chosen, and how far validation flatters the test set."""
    best = histories[histories.best]
    rows = reference_rows(at_batch(results))[[*CELL, "seed", "accuracy"]]
    joined = best.merge(rows, on=[*CELL, "seed"])
    joined["gap"] = 100 * (joined.valid_accuracy - joined.accuracy)
    last = histories.groupby("dataset").epoch.max()
    lines = [
        f"**{dataset}**: chosen at epoch {span(part.epoch, 0)} of {last[dataset]}; accuracy at that epoch "
        f"{span(100 * part.valid_accuracy)} % on validation and {span(100 * part.accuracy)} % on test, "
        f"{part.gap.mean():.1f} points apart on average."
        for dataset, part in joined.groupby("dataset", sort=False)
    ]
    return bullets(lines)


def accuracy(results: pd.DataFrame, references: pd.DataFrame) -> str:
    """Accuracy with intervals, its place among published ones, and the models that collapsed."""
    table = accuracy_table(results)
    lines = []
    for dataset, part in table.groupby("dataset", sort=False):
        text = listed(
            f"{row.model} {interval(row.accuracy, row.accuracy_low, row.accuracy_high)} %" for row in part.itertuples()
        )
        published = references[references.dataset == dataset].sort_values("accuracy")
        if len(published):
            beaten = published[100 * published.accuracy < part.accuracy.max()]
            top = published.iloc[-1]
            text += f"; the better of them is above {len(beaten)} of {len(published)} published references"
            text += f", the best of which is {top.method} with {100 * top.accuracy:.1f} %"
            text += f" (on the {top.version} version)" if top.version else ""
        lines.append(f"**{dataset}**: {text}.")
    lost = collapsed(results)
    if len(lost):
        lines.append(
            f"**Collapsed**: {named(lost)} answer (nearly) one class for every series. A deep post-norm transformer "
            "trained without warm-up can do that; such models stay in every table, and are left out where accuracy "
            "lost to compression is judged."
        )
    return bullets(lines)


def confusion(predictions: pd.DataFrame) -> str:
    """The pair of classes that is confused most, and the class that is recognised best, in each data set."""
    lines = []
    for dataset, part in predictions.groupby("dataset", sort=False):
        part = part.assign(
            **{side: [class_name(str(dataset), c) for c in part[side]] for side in ("true", "predicted")}
        )
        counts = pd.crosstab(part.true, part.predicted, normalize="index")
        right = (part.true == part.predicted).groupby(part.true).mean()
        shares = counts.reset_index().melt("true", value_name="share")
        worst = shares[shares.true != shares.predicted].nlargest(1, "share").iloc[0]
        share = 100 * worst.share
        lines.append(
            f"**{dataset}**: best recognised is {right.idxmax()} ({100 * right.max():.0f} %); most often mistaken is "
            f"{worst.true} for {worst.predicted} ({share:.0f} % of its series), all models and seeds together."
        )
    return bullets(lines)


def cost(results: pd.DataFrame) -> str:
    """What T2 costs more than T1, and what batching saves."""
    rows = reference_rows(at_batch(results))
    large = rows.groupby(CELL, as_index=False)[["params", "macs", "cpu_ms_per_sample"]].mean()
    lines = []
    if {"T1", "T2"} <= set(large.model):
        first, second = (large[large.model == model].set_index("dataset") for model in ("T1", "T2"))
        times = {name: second[name] / first[name] for name in ("params", "macs", "cpu_ms_per_sample")}
        lines.append(
            f"T2 has {span(times['params'], 2)} times the parameters of T1, does {span(times['macs'], 2)} times the "
            f"multiply-adds and takes {span(times['cpu_ms_per_sample'], 2)} times the CPU time."
        )
    if len(batches(results)) > 1:
        single = reference_rows(at_batch(results, "small"))
        ratio = single.groupby(CELL).cpu_ms_per_sample.mean() / large.set_index(CELL).cpu_ms_per_sample
        lines.append(
            f"In {batch_name(single)} a series takes {span(ratio)} times the CPU time that it takes in "
            f"{batch_name(rows)}: part of every call is overhead, which a larger batch shares out."
        )
    seeds = rows.seed.nunique()
    lines.append(f"Means over {counted(seeds, 'seed')}; the energy is CPU time times stated watts, not a measurement.")
    return bullets(lines)
