"""What a claim is judged by: one number for every data set, model and seed, computed from the results table.

A sample table has the columns `dataset`, `model`, `seed`, `value`, `low` and `high` (NaN where a single run has no
interval of its own).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from tsc_lib.analysis.strategies import REFERENCE_RUNTIME, annotate, nearest_ratio
from tsc_lib.analysis.tables import CELL, STUDY_PRUNING, at_batch, batch_name, collapsed, reference_rows, succeeded
from tsc_lib.core.stats import Interval, mean_interval

UNIT = [*CELL, "seed"]
Samples = tuple[pd.DataFrame, str]
Change = Callable[[pd.Series], pd.Series]


def pooled(samples: pd.DataFrame) -> tuple[Interval, str]:
    """The mean over the data sets, its interval, and a sentence on what that is over.

    Models of one data set share its series and its seeds, so they are averaged first and count as one repeat.
    """
    units = samples.groupby(UNIT, as_index=False)[["value", "low", "high"]].mean()
    pairs = units.groupby(CELL).value.mean()
    datasets = pairs.groupby("dataset").mean()
    seeds = units.groupby("seed").value.mean()
    if len(datasets) > 1:
        above = f"{int((pairs > 0).sum())} of {len(pairs)} pairs of data set and model are above 0"
        return mean_interval(datasets), f"Interval over {len(datasets)} data sets; {above}."
    if len(seeds) > 1:
        return mean_interval(seeds), f"One data set; interval over {len(seeds)} seeds."
    only = units[["value", "low", "high"]].mean()
    return Interval(only.value, only.low, only.high), "One data set and seed; interval of that run alone."


def chosen(results: pd.DataFrame, families: tuple[str, ...], norm: str | None, which: str = "large") -> pd.DataFrame:
    """The successful rows of some strategies, each beside the uncompressed model on the same runtime.

    Of several pruning ratios the one nearest to the study's is taken, and of a model pruned alone the one that was not
    fine-tuned; a combination of steps is taken as it is. The columns of the uncompressed model end in "_reference".
    """
    rows = annotate(succeeded(at_batch(results, which)))
    wanted = rows[rows.family.isin(families)]
    if norm:
        alone = wanted[(wanted.norm == norm) & ~wanted.tuned]
        wanted = alone[alone.ratio == nearest_ratio(alone, STUDY_PRUNING)]
    reference = rows[rows.recipe == "baseline"]
    return wanted.merge(reference, on=[*UNIT, "runtime"], suffixes=("", "_reference"))


def time_saved(results: pd.DataFrame, families: tuple[str, ...], norm: str | None) -> Samples:
    """CPU time saved, in % of the uncompressed model's."""
    return _cost(results, families, norm, _saved)


def speed_up(results: pd.DataFrame, families: tuple[str, ...], norm: str | None) -> Samples:
    """Series classified in a second of CPU time, in % more than by the uncompressed model."""
    return _cost(results, families, norm, lambda ratio: 100 * (1 / ratio - 1))


def energy_saved(results: pd.DataFrame, families: tuple[str, ...], norm: str | None) -> Samples:
    """Energy saved, in % of the uncompressed model's; nothing unless energy was measured by a counter."""
    if set(succeeded(results).energy_source.dropna()) != {"measured"}:
        return pd.DataFrame(), ""
    return _cost(results, families, norm, _saved, "energy")


def points_lost(results: pd.DataFrame, families: tuple[str, ...], norm: str | None) -> Samples:
    """Percentage points of accuracy lost; models that had collapsed to one class are left out."""
    rows = chosen(results, families, norm)
    nothing_to_lose = collapsed(results)
    out = rows[UNIT].merge(nothing_to_lose, how="left", on=UNIT).accuracy.notna().to_numpy()
    samples = _samples(rows, rows.accuracy_drop, rows.accuracy_drop_low, rows.accuracy_drop_high)[~out]
    remarks = [_failures(results, rows)]
    if out.any():
        remarks.append(f"Left out, having collapsed to one class: {named(nothing_to_lose)}.")
    return samples, " ".join(filter(None, remarks))


def accuracy_between_models(results: pd.DataFrame, families: tuple[str, ...], norm: str | None) -> Samples:
    """Percentage points by which T2 is more accurate than T1 trained with the same seed."""
    rows = _both_models(results)
    counted = collapsed(results)
    remark = f"Counted, though collapsed to one class: {named(counted)}." if len(counted) else ""
    return _samples(rows, 100 * (rows.accuracy_second - rows.accuracy)), remark


def time_between_models(results: pd.DataFrame, families: tuple[str, ...], norm: str | None) -> Samples:
    """CPU time that T2 needs more than T1, in %."""
    rows = _both_models(results)
    return _samples(rows, 100 * (rows.cpu_ms_per_sample_second / rows.cpu_ms_per_sample - 1)), ""


def named(units: pd.DataFrame) -> str:
    """Trained models as prose: "T2 on PLAID (seed 0), ..."."""
    return ", ".join(f"{unit.model} on {unit.dataset} (seed {unit.seed})" for unit in units.itertuples())


def _samples(
    rows: pd.DataFrame, value: pd.Series, low: pd.Series | float = np.nan, high: pd.Series | float = np.nan
) -> pd.DataFrame:
    return rows[UNIT].assign(value=value, low=low, high=high).dropna(subset=["value"])


def _saved(ratio: pd.Series) -> pd.Series:
    return 100 * (1 - ratio)


def _cost(
    results: pd.DataFrame, families: tuple[str, ...], norm: str | None, change: Change, of: str = "cpu"
) -> Samples:
    """A change of a cost, "cpu" or "energy", with remarks on the other batch size, runtime and ratios."""
    rows = _costs(chosen(results, families, norm), of)
    if rows.empty:
        return rows, ""
    remarks = [_failures(results, rows)]
    small = _costs(chosen(results, families, norm, "small"), of)
    if len(small) and batch_name(small) != batch_name(rows):
        remarks.append(f"In {batch_name(small)}: {_mean(small, change, small.cost_reference)}.")
    if (rows.runtime != REFERENCE_RUNTIME).any():
        remarks.append(f"Against fp32 in eager: {_mean(rows, change, 1.0)}.")
    by_runtime = rows.groupby("runtime")
    if len(by_runtime) > 1:
        remarks += [f"In {name}: {_mean(part, change, part.cost_reference)}." for name, part in by_runtime]
    if norm:
        others = _costs(annotate(succeeded(at_batch(results))), of)
        others = others[others.family.isin(families) & (others.norm == norm) & ~others.tuned]
        share = rows.ratio.iloc[0]
        remarks.append(f"Pruned by {100 * share:g} % (the authors pruned by {100 * STUDY_PRUNING:g} % earlier).")
        others = others[others.ratio != share]
        remarks += [f"By {100 * r:g} %: {_mean(more, change, 1.0)}." for r, more in others.groupby("ratio")]
    low, high = rows.cost_low / rows.cost_high_reference, rows.cost_high / rows.cost_low_reference
    # The ends swap, because what is gained grows as the ratio falls.
    samples = _samples(rows, change(rows.cost / rows.cost_reference), change(high), change(low))
    return samples, " ".join(filter(None, remarks))


def _costs(rows: pd.DataFrame, of: str) -> pd.DataFrame:
    """The rows with one kind of ratio to eager fp32, of CPU time or of energy, under the name `cost`."""
    ends = [f"{end}{reference}" for end in ("", "_low", "_high") for reference in ("", "_reference")]
    return rows.rename(columns={f"{of}_ratio{end}": f"cost{end}" for end in ends})


def _mean(rows: pd.DataFrame, change: Change, reference: pd.Series | float) -> str:
    return f"{pooled(_samples(rows, change(rows.cost / reference)))[0].estimate:.1f} %"


def _both_models(results: pd.DataFrame) -> pd.DataFrame:
    rows = reference_rows(at_batch(results))
    first, second = (rows[rows.model == model] for model in ("T1", "T2"))
    return first.merge(second, on=["dataset", "seed"], suffixes=("", "_second"))


def _failures(results: pd.DataFrame, rows: pd.DataFrame) -> str:
    """A remark on runs of the same recipes that failed."""
    same = results[results.recipe.isin(rows.recipe) & (results.status != "ok")].drop_duplicates([*UNIT, "recipe"])
    return f"{len(same)} failed run{'s' if len(same) > 1 else ''} left out." if len(same) else ""
