"""The tables of the notebooks: from the results table to what a reader compares."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from tsc_lib.analysis.quantities import POINTS_LOST, STUDY_PRUNING, over_seeds, pair_with_fp32
from tsc_lib.analysis.rows import (
    CASE_KEYS,
    RUN_KEYS,
    VARIANT_KEYS,
    batch_kinds,
    nearest_ratio,
    select_batch,
    select_reference,
)
from tsc_lib.analysis.wording import format_interval
from tsc_lib.compress import REFERENCE, Family
from tsc_lib.energy import require_same_source

BANDS = ["energy_low_mj_per_sample", "energy_high_mj_per_sample", "energy_net_mj_per_sample"]
"""What a source of energy is itself unsure of, and the energy net of idle power."""

COUNTS = ["model_bytes", "macs", "int8_ops", "fp32_ops"]


def accuracy_table(results: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy and macro-F1 (%) of the uncompressed models, means over the seeds with 95 % intervals."""
    table = over_seeds(select_reference(select_batch(results)), CASE_KEYS, means=["accuracy", "f1_macro"])
    shares = [name for name in table if name not in (*CASE_KEYS, "seeds")]
    table[shares] = (100 * table[shares]).round(1)
    return table


def cost_table(results: pd.DataFrame) -> pd.DataFrame:
    """What one inference with the uncompressed models costs, mean over the seeds, one row for each batch size.

    CPU time and energy have 95 % intervals over the seeds (`..._low`, `..._high`).
    """
    sizes, means = ["params", "macs", "model_bytes"], ["cpu_ms_per_sample", "energy_mj_per_sample"]
    plain = [*sizes, "latency_p50_ms"]
    table = over_seeds(select_reference(results), [*CASE_KEYS, "batch_size"], means=means, plain=plain)
    table = table.round(3).astype(dict.fromkeys(sizes, "int64"))
    return table.assign(energy_source=require_same_source(results.energy_source))


def strategy_table(results: pd.DataFrame, which: str = "large") -> pd.DataFrame:
    """Every variant's accuracy, size, time and energy over the seeds, at one batch size.

    Ratios to the uncompressed model in eager, and in the variant's own runtime (`..._to_fp32`), are geometric means,
    everything else arithmetic ones.

    Returns
    -------
    DataFrame
        Columns `dataset`, `model`, `family`, `label`, `norm`, `ratio`, `tuned`, `recipe`, `runtime`, `seeds`;
        `accuracy` (%), `points_lost`, `cpu_ms_per_sample`, `energy_mj_per_sample`, `cpu_ratio`, `energy_ratio`,
        `modelled_ratio`, `cpu_ratio_to_fp32` and `energy_ratio_to_fp32`, each with 95 % interval (`..._low`,
        `..._high`); `f1_macro` (%), `model_bytes`, `macs`, `int8_ops`, `fp32_ops`, `energy_modelled_mj_per_sample`, the
        source's own band `energy_low_mj_per_sample` to `energy_high_mj_per_sample`, `energy_net_mj_per_sample`,
        `batch_size` and `energy_source`, which the modelled energy is not of.
    """
    rows = pair_with_fp32(results, which, keep_all=True)
    rows[BANDS] = rows[BANDS].astype(float)
    fp32 = rows[rows.family == Family.BASELINE].set_index(RUN_KEYS).energy_modelled_mj_per_sample
    runs = pd.MultiIndex.from_frame(rows[RUN_KEYS])
    rows["modelled_ratio"] = rows.energy_modelled_mj_per_sample / fp32.reindex(runs).to_numpy()
    means = ["accuracy", "accuracy_drop", "cpu_ms_per_sample", "energy_mj_per_sample"]
    ratios = ["cpu_ratio", "energy_ratio", "modelled_ratio", "cpu_ratio_to_fp32", "energy_ratio_to_fp32"]
    plain = ["f1_macro", *COUNTS, "energy_modelled_mj_per_sample", *BANDS, "batch_size"]
    table = over_seeds(rows, VARIANT_KEYS, means=means, ratios=ratios, plain=plain).rename(columns=POINTS_LOST)
    table[[*COUNTS, "batch_size"]] = table[[*COUNTS, "batch_size"]].astype(float).round().astype("Int64")
    percent = ["accuracy", "accuracy_low", "accuracy_high", "f1_macro"]
    table[percent] = 100 * table[percent]
    table = results[CASE_KEYS].drop_duplicates().merge(table, on=CASE_KEYS)  # in the results' order
    family = pd.Categorical(table.family, list(Family), ordered=True)
    return table.assign(family=family, energy_source=require_same_source(results.energy_source))


def strategy_tables(results: pd.DataFrame) -> pd.DataFrame:
    """`strategy_table` at every kind of batch size, one below the other."""
    return pd.concat([strategy_table(results, which) for which in batch_kinds(results)], ignore_index=True)


def select_quantized(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a `strategy_table` whose models execute int8, and the uncompressed models in every runtime."""
    return table[(table.int8_ops > 0) | (table.recipe == "baseline")].reset_index(drop=True)


def select_pruned(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a `strategy_table` that mask or remove one share."""
    return table[table.ratio.notna()].reset_index(drop=True)


def keep_pruned(rows: pd.DataFrame) -> pd.DataFrame:
    """Of annotated rows those that are masked or removed and nothing else, in the reference runtime."""
    return rows[rows.family.isin([Family.MASKS, Family.REMOVAL]) & (rows.runtime == REFERENCE.runtime)]


def main_table(results: pd.DataFrame) -> pd.DataFrame:
    """The study's table: each model as trained, quantized two ways and pruned by L1 and L2, as masks and by removal.

    The pruning ratio is the one nearest to the study's own 0.2, and nothing is fine-tuned, as in the study.
    """
    table = strategy_table(results)
    pruned = keep_pruned(table)
    pruned = pruned[(pruned.ratio == nearest_ratio(table, STUDY_PRUNING)) & ~pruned.tuned]
    others = table.family.isin([Family.BASELINE, Family.RUNTIME, Family.STATIC, Family.DYNAMIC])
    return table[others | table.index.isin(pruned.index)].reset_index(drop=True)


def representatives(results: pd.DataFrame) -> pd.DataFrame:
    """The rows of the `strategy_table` of one recipe of each family, in every runtime that executes it.

    Pruning is L1 at about half; of smaller shapes, students, fewer tokens and early exits it is the one with the
    fewest multiply-accumulates; either is the one trained further where there is such a model.
    """
    table, by = strategy_table(results), [*CASE_KEYS, "family"]
    l1 = (table.ratio == nearest_ratio(table, 0.5)) & (table.norm == "l1") & (table.runtime == REFERENCE.runtime)
    table = table[l1 | ~table.family.isin([Family.MASKS, Family.REMOVAL])]
    table = table[table.tuned == table.groupby(by, observed=True).tuned.transform("max")]
    macs = table.groupby([*CASE_KEYS, "recipe"]).macs.transform("mean")
    least = macs.groupby([table[name] for name in by], observed=True).transform("min")
    many = table.family.isin([Family.SMALLER, Family.STUDENT, Family.FEWER, Family.EARLY])
    table = table[(macs == least) | ~many]
    return table.sort_values(["family", "ratio", "norm", "tuned"], kind="stable", ignore_index=True)


def pruning_steps(evidence: pd.DataFrame) -> pd.DataFrame:
    """What each mask and removal changed in the models of the first data set and seed; the others are much alike."""
    steps = evidence[evidence.step.str.contains("mask|prune")]
    first = steps.head(1)
    steps = steps[steps.dataset.isin(first.dataset) & steps.seed.isin(first.seed)].drop_duplicates(["model", "step"])
    return steps.drop(columns=["dataset", "seed", "recipe", "runtime", "int8_ops", "fp32_ops"]).reset_index(drop=True)


def half_removed(recipes: Iterable[str]) -> str:
    """The first of some recipes that removes half by the L1 norm, or, if none does, that step alone."""
    half = "prune(l1, 0.5)"
    return next((recipe for recipe in recipes if recipe.startswith(half)), half)


def confusion_counts(predictions: pd.DataFrame) -> pd.DataFrame:
    """How many series of each true class were given each class: with columns `dataset`, `model` and `count`."""
    return predictions.value_counts([*CASE_KEYS, "true", "predicted"], sort=False).reset_index()


def kept_structure(removed: pd.DataFrame, recipe: str) -> pd.DataFrame:
    """What a recipe kept in each layer of the first seed's models.

    Returns
    -------
    DataFrame
        Columns `dataset`, `model`, `seed`, `layer`, `part`, `kept` (how many), `of` and `indices` (which, counted from
        0 and separated by spaces).
    """
    columns = [*CASE_KEYS, "seed", "layer", "part", "kept", "of", "indices"]
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
    shown["Points lost"] = _bracket(table, "points_lost", 1)
    shown["Size, kB"] = (table.model_bytes / 1000).round(0).astype("Int64")
    shown["CPU, ms/sample"] = table.cpu_ms_per_sample.round(3)
    shown["CPU time ÷ fp32 in eager"] = _bracket(table, "cpu_ratio", 2)
    shown["÷ fp32 in the same runtime"] = _bracket(table, "cpu_ratio_to_fp32", 2)
    shown[f"Energy, mJ/sample ({require_same_source(table.energy_source)})"] = table.energy_mj_per_sample.round(2)
    return shown


def readable_results(results: pd.DataFrame) -> pd.DataFrame:
    """What a reader looks for first in a results table, with plain column titles, intervals in brackets."""
    shown = pd.DataFrame({"Recipe": results.recipe, "Runtime": results.runtime, "Seed": results.seed})
    shown["Series a call"] = results.batch_size
    shown["Accuracy, %"] = (100 * results.accuracy).round(1)
    shown["Points lost"] = _bracket(results, "accuracy_drop", 1)
    shown["Parameters"] = [f"{count:,.0f}" if count == count else "" for count in results.params]
    shown["Multiply-adds"] = [f"{count:,.0f}" if count == count else "" for count in results.macs]
    shown["CPU, ms a series"] = results.cpu_ms_per_sample
    shown["CPU time ÷ eager fp32"] = _bracket(results, "cpu_ratio", 2)
    shown["Energy, mJ a series"] = results.energy_mj_per_sample
    shown["Source of energy"] = results.energy_source
    shown["Status"] = results.status
    return shown


def _bracket(table: pd.DataFrame, value: str, digits: int) -> list[str]:
    columns = table[[value, f"{value}_low", f"{value}_high"]].itertuples(index=False)
    return ["" if pd.isna(mean) else format_interval(mean, low, high, digits) for mean, low, high in columns]
