"""How good and how expensive the uncompressed models are."""

from __future__ import annotations

import pandas as pd

from tsc_lib.analysis.quantities import over_seeds, pair_models
from tsc_lib.analysis.references import class_name
from tsc_lib.analysis.rows import (
    CASE_KEYS,
    RUN_KEYS,
    batch_kinds,
    find_collapsed,
    name_batches,
    select_batch,
    select_reference,
)
from tsc_lib.analysis.tables import accuracy_table
from tsc_lib.analysis.wording import bullet_list, format_estimate, format_range, join_items, name_runs, pluralize
from tsc_lib.energy import MEANING, require_same_source


def learning(histories: pd.DataFrame, results: pd.DataFrame) -> str:
    """Which epochs were chosen, and how far validation flatters the test set."""
    best = histories[histories.best]
    rows = select_reference(select_batch(results))[[*CASE_KEYS, "seed", "accuracy"]]
    joined = best.merge(rows, on=[*CASE_KEYS, "seed"])
    joined["gap"] = 100 * (joined.valid_accuracy - joined.accuracy)
    last = histories.groupby("dataset").epoch.max()
    lines = [
        f"**{dataset}**: no validation series, so the last epoch, {last[dataset]}, is kept; accuracy "
        f"{format_range(100 * part.accuracy)} % on test."
        if part.valid_accuracy.isna().all()
        else f"**{dataset}**: chosen at epoch {format_range(part.epoch, 0)} of {last[dataset]}; accuracy at that epoch "
        f"{format_range(100 * part.valid_accuracy)} % on validation and {format_range(100 * part.accuracy)} % on test, "
        f"{part.gap.mean():.1f} points apart on average."
        for dataset, part in joined.groupby("dataset", sort=False)
    ]
    return bullet_list(lines)


def collapse(row: pd.Series) -> str:
    """What is wrong with a model that does no better than one label for all, by its row of the results; else empty."""
    if row.classes_predicted == 1:
        return "gives every test series the same label"
    if row.accuracy <= row.largest_class_share:
        return (
            f"is right for {100 * row.accuracy:.1f} % of the test series, no more than the "
            f"{100 * row.largest_class_share:.1f} % of always giving the most frequent label"
        )
    return ""


def accuracy(results: pd.DataFrame, references: pd.DataFrame) -> str:
    """Accuracy with intervals, its place among published ones, and the models that collapsed."""
    table = accuracy_table(results)
    lines = []
    for dataset, part in table.groupby("dataset", sort=False):
        text = join_items(f"{row.model} {format_estimate(row, 'accuracy')} %" for row in part.itertuples())
        published = references[references.dataset == dataset].sort_values("accuracy")
        if len(published):
            beaten = published[100 * published.accuracy < part.accuracy.max()]
            top = published.iloc[-1]
            text += f"; the better of them is above {len(beaten)} of {len(published)} published references"
            text += f", the best of which is {top.method} with {100 * top.accuracy:.1f} %"
            text += f" (on the {top.version} version)" if top.version else ""
        lines.append(f"**{dataset}**: {text}.")
    rows = select_reference(results).drop_duplicates(RUN_KEYS)
    for dataset, part in rows[rows.test_in_train > 0].groupby("dataset", sort=False):
        models = part.groupby("model", sort=False)[["accuracy_unseen", "accuracy"]].mean()
        texts = (
            f"{one.Index} {100 * one.accuracy_unseen:.1f} % and not {100 * one.accuracy:.1f} %"
            for one in models.itertuples()
        )
        lines.append(
            f"**Copies in {dataset}**: {part.test_in_train.iloc[0]:.0f} test series are also in its training file; "
            f"without them the accuracy is {join_items(texts)}."
        )
    below = rows[(rows.accuracy <= rows.largest_class_share) & (rows.classes_predicted > 1)]
    if len(below):
        lines.append(f"**No better than the most frequent label for all**: {name_runs(below)}.")
    lost = find_collapsed(results)
    if len(lost):
        lines.append(
            f"**Collapsed**: {name_runs(lost)} answer (nearly) one class for every series. A deep post-norm "
            "transformer trained without warm-up can do that; such models stay in every table, and are left out where "
            "accuracy lost to compression is judged."
        )
    return bullet_list(lines)


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
    return bullet_list(lines)


def cost(results: pd.DataFrame) -> str:
    """What T2 costs more than T1, and what batching saves."""
    rows, lines = select_reference(select_batch(results)), []
    pairs = pair_models(results)
    if len(pairs):
        costs = over_seeds(pairs, ["dataset"], ratios=["params", "macs", "cpu_ms_per_sample"])
        lines.append(
            f"T2 has {format_range(costs.params, 2)} times the parameters of T1, does {format_range(costs.macs, 2)} "
            f"times the multiply-adds and takes {format_range(costs.cpu_ms_per_sample, 2)} times the CPU time "
            "(geometric means over the seeds, by data set)."
        )
    if len(batch_kinds(results)) > 1:
        single = select_reference(select_batch(results, "small"))
        keys = [*CASE_KEYS, "seed"]
        both = single.merge(rows, on=keys, suffixes=("", "_large"))
        both["times"] = both.cpu_ms_per_sample / both.cpu_ms_per_sample_large
        times = format_range(over_seeds(both, CASE_KEYS, ratios=["times"]).times)
        lines.append(
            f"In {name_batches(single)} a series takes {times} times the CPU time that it takes in "
            f"{name_batches(rows)}: part of every call is overhead, which a larger batch shares out."
        )
    seeds = pluralize(rows.seed.nunique(), "seed")
    if source := require_same_source(rows.energy_source.dropna()):
        lines.append(f"Means over {seeds}; the energy is *{source}*: {MEANING[source].origin}.")
    return bullet_list(lines)
