"""The tables of the notebooks: from the results table to what a reader compares."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from tsc_lib.analysis.strategies import (
    BASELINE,
    DYNAMIC,
    EARLY,
    FAMILIES,
    FEWER,
    MASKS,
    REFERENCE_RUNTIME,
    REMOVAL,
    RUNTIME,
    SMALLER,
    STATIC,
    STUDENT,
    annotate,
    nearest_ratio,
)
from tsc_lib.core.stats import geometric_mean_interval, mean_interval
from tsc_lib.energy import same_source

STUDY_PRUNING = 0.2
"""Share that the study's authors pruned (their earlier report on UniMiB SHAR)."""

SHARES = ("accuracy", "f1_macro")
PERMITTED_LOSS = 1.0
"""Percentage points of accuracy that may be lost before a saving is no longer "without losing accuracy"."""

CELL = ["dataset", "model"]
VARIANT = [*CELL, "family", "label", "norm", "ratio", "tuned", "recipe", "runtime"]


def succeeded(results: pd.DataFrame) -> pd.DataFrame:
    """The rows of runs that did not fail."""
    return results[results.status == "ok"]


def failures(results: pd.DataFrame) -> pd.DataFrame:
    """The runs that failed, one row for each, with the reason."""
    failed = results[results.status != "ok"]
    return failed[[*CELL, "recipe", "runtime", "seed", "status"]].drop_duplicates(ignore_index=True)


def at_batch(results: pd.DataFrame, which: str = "large") -> pd.DataFrame:
    """The rows at each data set's largest (or, with `which` "small", smallest) batch size."""
    sizes = results.groupby("dataset").batch_size
    return results[results.batch_size == sizes.transform("max" if which == "large" else "min")]


def batches(results: pd.DataFrame) -> list[str]:
    """The kinds of batch sizes in the results: "small" and "large", or "large" alone."""
    return (
        ["small", "large"] if len(at_batch(results, "small").index.difference(at_batch(results).index)) else ["large"]
    )


def batch_name(rows: pd.DataFrame) -> str:
    """What to call the batch sizes of some rows: "batches of 1", "batches of 64 to 256"."""
    least, most = rows.batch_size.min(), rows.batch_size.max()
    return f"batches of {least:g}" if least == most else f"batches of {least:g} to {most:g}"


def over_seeds(table: pd.DataFrame, value: str, by: Sequence[str], *, geometric: bool = False) -> pd.DataFrame:
    """Mean of a column over the seeds, with a 95 % interval.

    Parameters
    ----------
    table : DataFrame
        One row for each seed in every group.
    value : str
        The column to average; ``<value>_low`` and ``<value>_high``, where there are any, are one row's own interval.
    by : sequence of str
        Columns that name a group.
    geometric : bool
        For ratios: average their logarithms.

    Returns
    -------
    DataFrame
        Columns `by`, `value`, `low`, `high` and `seeds`. The interval is Student's over the seeds; a group of one seed
        has the interval of its row, or none (NaN).
    """
    rows = []
    for group, part in table.groupby(list(by), sort=False, observed=True, dropna=False):
        values = part[value].dropna()
        if values.empty:
            continue
        if len(values) > 1:
            mean, low, high = (geometric_mean_interval if geometric else mean_interval)(values.to_numpy())
            if value in SHARES:  # Student's interval knows no bounds, a share has two
                low, high = max(low, 0.0), min(high, 1.0)
        else:
            row = part.loc[values.index[0]]
            mean, low, high = row[value], row.get(f"{value}_low", np.nan), row.get(f"{value}_high", np.nan)
        rows.append((*group, mean, low, high, len(values)))
    return pd.DataFrame(rows, columns=[*by, value, "low", "high", "seeds"])


def collapsed(results: pd.DataFrame) -> pd.DataFrame:
    """The trained models that give every test series the same class.

    Such a model has nothing to lose, so it proves nothing about a compression.

    Returns
    -------
    DataFrame
        Columns `dataset`, `model`, `seed` and `accuracy`.
    """
    baseline = reference_rows(results).drop_duplicates([*CELL, "seed"])
    return baseline.loc[baseline.classes_predicted == 1, [*CELL, "seed", "accuracy"]].reset_index(drop=True)


def learned(results: pd.DataFrame) -> pd.DataFrame:
    """The rows of models that have not collapsed: only they have accuracy to lose."""
    units = [*CELL, "seed"]
    lost = set(collapsed(results)[units].itertuples(index=False, name=None))
    return results[[unit not in lost for unit in results[units].itertuples(index=False, name=None)]]


def reference_rows(results: pd.DataFrame) -> pd.DataFrame:
    """The uncompressed models in the reference runtime."""
    rows = succeeded(results)
    return rows[(rows.recipe == "baseline") & (rows.runtime == REFERENCE_RUNTIME)]


def accuracy_table(results: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy and macro-F1 (%) of the uncompressed models, with 95 % intervals over the seeds."""
    rows = reference_rows(at_batch(results))
    accuracy = over_seeds(rows, "accuracy", CELL)
    f1 = over_seeds(rows, "f1_macro", CELL)
    table = accuracy.merge(f1, on=CELL, suffixes=("", "_f1"))
    table = table.rename(columns={"low": "accuracy_low", "high": "accuracy_high", "low_f1": "f1_low"})
    table = table.rename(columns={"high_f1": "f1_high"}).drop(columns="seeds_f1")
    percent = ["accuracy", "accuracy_low", "accuracy_high", "f1_macro", "f1_low", "f1_high"]
    table[percent] = (100 * table[percent]).round(1)
    return table[[*CELL, "seeds", *percent]]


def cost_table(results: pd.DataFrame) -> pd.DataFrame:
    """What one inference with the uncompressed models costs, mean over the seeds, one row for each batch size.

    CPU time and energy have 95 % intervals over the seeds (`..._low`, `..._high`).
    """
    rows, by = reference_rows(results), [*CELL, "batch_size"]
    costs = ["params", "macs", "model_bytes", "latency_p50_ms"]
    table = rows.groupby(by, sort=False, as_index=False)[costs].mean()
    for value in ("cpu_ms_per_sample", "energy_mj_per_sample"):
        ends = {"low": f"{value}_low", "high": f"{value}_high"}
        table = table.merge(over_seeds(rows, value, by).rename(columns=ends).drop(columns="seeds"), on=by)
    whole = ["params", "macs", "model_bytes"]
    return table.round(3).astype(dict.fromkeys(whole, "int64")).assign(energy_source=same_source(results.energy_source))


def strategy_table(results: pd.DataFrame, which: str = "large") -> pd.DataFrame:
    """Every variant's accuracy, size, time and energy, mean over the seeds, at one batch size.

    Returns
    -------
    DataFrame
        Columns `dataset`, `model`, `family`, `label`, `norm`, `ratio`, `tuned`, `recipe`, `runtime`, `seeds`,
        `f1_macro` (%), `accuracy` (%), `points_lost` and `cpu_ratio`, these three each with interval (`..._low`,
        `..._high`), `model_bytes`, `macs`, `int8_ops`, `fp32_ops`, `cpu_ms_per_sample`, `energy_mj_per_sample`,
        `energy_modelled_mj_per_sample`, `batch_size` and `energy_source`, which the modelled energy is not of.
    """
    rows = annotate(succeeded(at_batch(results, which)))
    accuracy = over_seeds(rows, "accuracy", VARIANT).rename(columns={"low": "accuracy_low", "high": "accuracy_high"})
    drop = over_seeds(rows, "accuracy_drop", VARIANT)
    ratio = over_seeds(rows, "cpu_ratio", VARIANT, geometric=True)
    means = ["f1_macro", "model_bytes", "macs", "int8_ops", "fp32_ops"]
    means += ["cpu_ms_per_sample", "energy_mj_per_sample", "energy_modelled_mj_per_sample"]
    table = rows.groupby(VARIANT, sort=False, observed=True, dropna=False, as_index=False)[means].mean()
    table = (
        table.merge(accuracy.drop(columns="seeds"), on=VARIANT)
        .merge(drop, on=VARIANT, how="left")
        .merge(ratio, on=VARIANT, how="left", suffixes=("", "_ratio"))
    )
    counts = ["model_bytes", "macs", "int8_ops", "fp32_ops"]
    table[counts] = table[counts].round().astype("Int64")
    percent = ["accuracy", "accuracy_low", "accuracy_high", "f1_macro"]
    table[percent] = 100 * table[percent]
    table = table.rename(columns={"accuracy_drop": "points_lost", "low": "points_lost_low", "high": "points_lost_high"})
    table = table.rename(columns={"low_ratio": "cpu_ratio_low", "high_ratio": "cpu_ratio_high"})
    order = [*results.groupby(CELL, sort=False).groups]
    position = pd.Series([order.index(cell) for cell in zip(table.dataset, table.model, strict=True)])
    table = table.iloc[position.argsort(kind="stable")].reset_index(drop=True)
    sizes = table.dataset.map(rows.groupby("dataset").batch_size.first())
    return table.drop(columns="seeds_ratio").assign(batch_size=sizes, energy_source=same_source(results.energy_source))


def strategy_tables(results: pd.DataFrame) -> pd.DataFrame:
    """`strategy_table` at every kind of batch size, one below the other."""
    return pd.concat([strategy_table(results, which) for which in batches(results)], ignore_index=True)


def quantized(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a `strategy_table` whose models execute int8, and the uncompressed models in every runtime."""
    return table[(table.int8_ops > 0) | (table.recipe == "baseline")].reset_index(drop=True)


def pruned(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a `strategy_table` that mask or remove one share."""
    return table[table.ratio.notna()].reset_index(drop=True)


def main_table(results: pd.DataFrame) -> pd.DataFrame:
    """The study's table: each model as trained, quantized two ways and pruned by L1 and L2, as masks and by removal.

    The pruning ratio is the one nearest to the study's own 0.2, and nothing is fine-tuned, as in the study.
    """
    table = strategy_table(results)
    ratio = nearest_ratio(table, STUDY_PRUNING)
    pruned = table.family.isin([MASKS, REMOVAL]) & (table.ratio == ratio) & ~table.tuned
    pruned &= table.runtime == REFERENCE_RUNTIME
    return table[table.family.isin([BASELINE, RUNTIME, STATIC, DYNAMIC]) | pruned].reset_index(drop=True)


def representatives(results: pd.DataFrame, ratio: float = 0.5) -> pd.DataFrame:
    """The annotated rows at the large batch of one recipe of each family, in every runtime that executes it.

    Pruning is L1 at about `ratio`, of smaller shapes, students, fewer tokens and early exits it is the one with the
    fewest multiply-accumulates; either is the one trained further where there is such a model.
    """
    table = annotate(succeeded(at_batch(results)))
    nearest = nearest_ratio(table, ratio)
    pruned = table.family.isin([MASKS, REMOVAL])
    chosen = table[~pruned | ((table.ratio == nearest) & (table.norm == "l1") & (table.runtime == REFERENCE_RUNTIME))]
    by = [*CELL, "family"]
    chosen = chosen[chosen.tuned == chosen.groupby(by, observed=True).tuned.transform("max")]
    macs = chosen.groupby([*CELL, "recipe"]).macs.transform("mean")
    least = macs.groupby([chosen[name] for name in by], observed=True).transform("min")
    return chosen[(macs == least) | ~chosen.family.isin([SMALLER, STUDENT, FEWER, EARLY])].reset_index(drop=True)


def energy_table(results: pd.DataFrame) -> pd.DataFrame:
    """Energy of one inference by the `representatives` of each family at the large batch.

    Returns
    -------
    DataFrame
        Columns `dataset`, `model`, `family`, `label`, `energy_mj_per_sample` with its 95 % interval over the seeds
        (`low`, `high`), `seeds`, what the source itself is unsure of (`source_low`, `source_high`) and the energy net
        of idle power (`net`), all in mJ, `energy_ratio` (÷ eager fp32, paired within each session) and `energy_source`.
    """
    rows = representatives(results)
    by = [*CELL, "family", "label"]
    means = {"source_low": "energy_low_mj_per_sample", "source_high": "energy_high_mj_per_sample"}
    means |= {"net": "energy_net_mj_per_sample"}
    sure = rows.astype(dict.fromkeys(means.values(), float)).groupby(by, sort=False, observed=True, as_index=False)
    table = over_seeds(rows, "energy_mj_per_sample", by)
    table = table.merge(sure.agg(**{name: (column, "mean") for name, column in means.items()}), on=by)
    ratio = over_seeds(rows, "energy_ratio", by, geometric=True)[[*by, "energy_ratio"]]
    table = table.merge(ratio, on=by, how="left").assign(energy_source=same_source(rows.energy_source))
    return table.assign(family=pd.Categorical(table.family, FAMILIES, ordered=True))  # a merge forgets the order


def pruning_steps(evidence: pd.DataFrame) -> pd.DataFrame:
    """What each mask and removal changed in the models of the first data set and seed."""
    steps = first_unit(evidence[evidence.step.str.contains("mask|prune")]).drop_duplicates(["model", "step"])
    return steps.drop(columns=["dataset", "seed", "recipe", "runtime", "int8_ops", "fp32_ops"]).reset_index(drop=True)


def half_removed(recipes: Iterable[str]) -> str:
    """The first of some recipes that removes half by the L1 norm, or, if none does, that step alone."""
    half = "prune(l1, 0.5)"
    return next((recipe for recipe in recipes if recipe.startswith(half)), half)


def confusion_counts(predictions: pd.DataFrame) -> pd.DataFrame:
    """How many series of each true class were given each class: with columns `dataset`, `model` and `count`."""
    return predictions.value_counts([*CELL, "true", "predicted"], sort=False).reset_index()


def first_unit(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the first data set and seed, for a table that is much alike for the others."""
    first = table.head(1)
    return table[table.dataset.isin(first.dataset) & table.seed.isin(first.seed)]


def kept_structure(removed: pd.DataFrame, recipe: str) -> pd.DataFrame:
    """What a recipe kept in each layer of the first seed's models.

    Returns
    -------
    DataFrame
        Columns `dataset`, `model`, `seed`, `layer`, `part`, `kept` (how many), `of` and `indices` (which, counted from
        0 and separated by spaces).
    """
    columns = [*CELL, "seed", "layer", "part", "kept", "of", "indices"]
    rows = []
    chosen = removed[(removed.recipe == recipe) & (removed.seed == removed.seed.min())] if len(removed) else removed
    for group, part in chosen.groupby(columns[:5], sort=False) if len(chosen) else ():
        kept = part.loc[part.kept, "index"]
        rows.append((*group, len(kept), len(part), " ".join(map(str, kept))))
    return pd.DataFrame(rows, columns=columns)


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """A `strategy_table` or `main_table` rounded, with intervals in brackets and plain column titles."""
    shown = pd.DataFrame({"Data set": table.dataset, "Model": table.model, "Strategy": table.label})
    shown["Accuracy, %"] = table.accuracy.round(1)
    shown["Points lost"] = _bracketed(table, "points_lost", 1)
    shown["Size, kB"] = (table.model_bytes / 1000).round(0).astype("Int64")
    shown["CPU, ms/sample"] = table.cpu_ms_per_sample.round(3)
    shown["CPU time ÷ fp32"] = _bracketed(table, "cpu_ratio", 2)
    shown[f"Energy, mJ/sample ({same_source(table.energy_source)})"] = table.energy_mj_per_sample.round(2)
    return shown


def _bracketed(table: pd.DataFrame, value: str, digits: int) -> list[str]:
    columns = table[[value, f"{value}_low", f"{value}_high"]].itertuples(index=False)
    return [
        f"{mean:.{digits}f}" if np.isnan(low) else f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
        for mean, low, high in columns
    ]
