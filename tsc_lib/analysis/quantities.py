"""Quantities that several texts, tables and figures show: one function for each, which says how it averages.

Ratios of costs are averaged geometrically (twice and half the cost balance to 1), percentage points arithmetically.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from tsc_lib.analysis.rows import (
    CASE_KEYS,
    RUN_KEYS,
    annotate,
    drop_failures,
    nearest_ratio,
    select_batch,
    select_reference,
)
from tsc_lib.compress import Family
from tsc_lib.core.stats import Interval, geometric_mean_interval, mean_interval, pareto_front

STUDY_PRUNING = 0.2
"""Share that the study's authors pruned (their earlier report on UniMiB SHAR)."""

PERMITTED_LOSS = 1.0
"""Percentage points of accuracy that may be lost before a saving is no longer "without losing accuracy"."""

TARGETS = {"large": 20, "small": 12}
"""How many times less CPU time than eager fp32 is aimed at, by kind of batch."""

SHARES = ("accuracy", "f1_macro")
POINTS_LOST = {f"accuracy_drop{end}": f"points_lost{end}" for end in ("", "_low", "_high")}
"""What tables over seeds call the points of accuracy lost, by what the results call them."""


def over_seeds(
    table: pd.DataFrame,
    by: Sequence[str],
    *,
    means: Sequence[str] = (),
    ratios: Sequence[str] = (),
    plain: Sequence[str] = (),
) -> pd.DataFrame:
    """Means over the seeds with 95 % intervals: arithmetic ones of `means`, geometric ones of `ratios`.

    Parameters
    ----------
    table : DataFrame
        One row for each seed in every group.
    by : sequence of str
        Columns that name a group.
    means, ratios : sequence of str
        Columns to average; ``<value>_low`` and ``<value>_high``, where there are any, are one row's own interval.
    plain : sequence of str
        Columns whose arithmetic mean is wanted without an interval.

    Returns
    -------
    DataFrame
        Columns `by`, `seeds`, and for each value its mean and the ends of its interval, ``<value>_low`` and
        ``<value>_high``: Student's over the seeds; a group of one seed has the interval of its row, or none (NaN).
        Groups in which the first value is missing everywhere are left out.
    """
    rows = []
    first = next(iter((*means, *ratios)))
    for group, part in table.groupby(list(by), sort=False, observed=True, dropna=False):
        row = dict(zip(by, group, strict=True)) | {"seeds": int(part[first].count())}
        for value in (*means, *ratios):
            row |= _over_rows(part, value, geometric=value in ratios).columns(value)
        if row["seeds"]:
            rows.append(row | part[list(plain)].mean().to_dict())
    columns = [name for value in (*means, *ratios) for name in _ends(value)]
    return pd.DataFrame(rows, columns=[*by, "seeds", *columns, *plain])


def _over_rows(rows: pd.DataFrame, value: str, *, geometric: bool) -> Interval:
    values = rows[value].dropna()
    if len(values) > 1:
        mean, low, high = (geometric_mean_interval if geometric else mean_interval)(values.to_numpy(float))
        # Student's interval knows no bounds, a share has two.
        return Interval(mean, max(low, 0.0), min(high, 1.0)) if value in SHARES else Interval(mean, low, high)
    if values.empty:
        return Interval(np.nan, np.nan, np.nan)
    row = rows.loc[values.index[0]]
    return Interval(row[value], row.get(f"{value}_low", np.nan), row.get(f"{value}_high", np.nan))


class Pooled(NamedTuple):
    """A mean over data sets.

    Attributes
    ----------
    interval : Interval
        The mean with its 95 % interval.
    cases : Series
        The mean of every pair of data set and model.
    repeats : str
        What the interval is over, in words.
    """

    interval: Interval
    cases: pd.Series
    repeats: str


def pool(rows: pd.DataFrame, value: str, *, geometric: bool) -> Pooled:
    """Mean over the data sets of the means over their models of the means over their seeds, with a 95 % interval.

    Models of one data set share its series and its seeds, so they are averaged first and count as one repeat. With one
    data set the interval is over its seeds, with one seed it is that run's own (``<value>_low``, ``<value>_high``).

    Parameters
    ----------
    rows : DataFrame
        Columns `dataset`, `model`, `value` and, unless it is over the seeds already, `seed`.
    value : str
        What to average.
    geometric : bool
        Of ratios: average their logarithms at every step.
    """
    keys = RUN_KEYS if "seed" in rows else CASE_KEYS
    ends = [name for name in (value, f"{value}_low", f"{value}_high") if name in rows]
    scaled = rows[keys].join(np.log(rows[ends].astype(float)) if geometric else rows[ends])
    runs = scaled.dropna(subset=value).groupby(keys, as_index=False)[ends].mean()
    cases = runs.groupby(CASE_KEYS)[value].mean()
    datasets = cases.groupby("dataset").mean()
    if len(datasets) > 1:
        found, repeats = mean_interval(datasets), f"Interval over {len(datasets)} data sets"
    elif "seed" in runs and len(seeds := runs.groupby("seed")[value].mean()) > 1:
        found, repeats = mean_interval(seeds), f"One data set; interval over {len(seeds)} seeds"
    else:
        found = Interval(*(float(runs[name].mean()) if name in runs else np.nan for name in _ends(value)))
        repeats = "One data set and seed; interval of that run alone"
    if geometric:
        return Pooled(Interval(*np.exp(found).tolist()), np.exp(cases), repeats)
    return Pooled(found, cases, repeats)


def _ends(value: str) -> tuple[str, str, str]:
    return value, f"{value}_low", f"{value}_high"


def average(rows: pd.DataFrame, value: str) -> float:
    """Arithmetic mean, e.g. of points lost, over data sets, each the mean of its models and seeds."""
    return pool(rows, value, geometric=False).interval.estimate


def average_ratio(rows: pd.DataFrame, value: str) -> float:
    """Geometric mean, e.g. of ratios of CPU time, over data sets, each that of its models and seeds."""
    return pool(rows, value, geometric=True).interval.estimate


def percent_saved(ratio: float) -> float:
    """A ratio of costs as the saving that it is, in % of the reference."""
    return 100 * (1 - ratio)


def add_times_less(table: pd.DataFrame, ratio: str) -> pd.DataFrame:
    """The table with a ratio of costs as how many times less it is: columns `times`, `times_low` and `times_high`."""
    middle, low, high = (1 / table[end] for end in _ends(ratio))
    return table.assign(times=middle, times_low=high, times_high=low)


def pair_with_fp32(results: pd.DataFrame, which: str = "large", *, keep_all: bool = False) -> pd.DataFrame:
    """Annotated rows without failures, beside the uncompressed model of the same training run in the same runtime.

    Both ratios to the reference come from one session, so their quotient is paired within it.

    Parameters
    ----------
    results : DataFrame
        The results table.
    which : {"large", "small"}
        At which batch size.
    keep_all : bool
        Whether rows without such a partner stay, with NaN.

    Returns
    -------
    DataFrame
        The rows with ``cpu_ratio_to_fp32`` and ``energy_ratio_to_fp32`` and their ends.
    """
    rows = annotate(drop_failures(select_batch(results, which)))
    ratios = ["cpu_ratio", "energy_ratio"]
    keys = [*RUN_KEYS, "runtime"]
    fp32 = rows.loc[rows.recipe == "baseline", [*keys, *(end for name in ratios for end in _ends(name))]]
    both = rows.merge(fp32, how="left" if keep_all else "inner", on=keys, suffixes=("", "_fp32"))
    for name in ratios:
        middle, low, high = _ends(name)
        both[f"{name}_to_fp32"] = both[middle] / both[f"{middle}_fp32"]
        both[f"{name}_to_fp32_low"] = both[low] / both[f"{high}_fp32"]
        both[f"{name}_to_fp32_high"] = both[high] / both[f"{low}_fp32"]
    return both


def pair_models(results: pd.DataFrame, which: str = "large") -> pd.DataFrame:
    """T2 beside T1, both uncompressed in the reference runtime, trained with the same seed.

    Returns
    -------
    DataFrame
        Columns `dataset`, `model` ("T2"), `seed`, `points_gained`, and for `params`, `macs` and `cpu_ms_per_sample` the
        ratio of T2's to T1's under the same name.
    """
    rows, costs = select_reference(select_batch(results, which)), ["params", "macs", "cpu_ms_per_sample"]
    first, second = (rows[rows.model == model].set_index(["dataset", "seed"]) for model in ("T1", "T2"))
    both = (second[costs] / first[costs]).assign(points_gained=100 * (second.accuracy - first.accuracy), model="T2")
    return both.dropna(subset="points_gained").reset_index()


def select_for_claim(
    results: pd.DataFrame, families: Sequence[Family], norm: str | None, which: str = "large"
) -> pd.DataFrame:
    """The successful rows of some families, each beside the uncompressed model in the same runtime.

    Of several pruning ratios the one nearest to the study's is taken, and of a model pruned alone the one that was not
    trained further; a combination of steps is taken as it is.
    """
    rows = pair_with_fp32(results, which)
    rows = rows[rows.family.isin(families)]
    if norm:
        rows = rows[(rows.norm == norm) & ~rows.tuned]
        rows = rows[rows.ratio == nearest_ratio(rows, STUDY_PRUNING)]
    return rows


def best_within(table: pd.DataFrame) -> pd.DataFrame:
    """For each case, the variant that saves most energy and loses at most `PERMITTED_LOSS`, mean over the seeds.

    Only savings that are certain count: those whose 95 % interval lies above nothing. Cases in which nothing does, or
    that have no uncompressed model in eager beside them, are left out.

    Parameters
    ----------
    table : DataFrame
        Of `tsc_lib.analysis.tables.strategy_table`.
    """
    reference = table.family == Family.BASELINE
    kept = table[~reference & (table.points_lost <= PERMITTED_LOSS) & (table.energy_ratio < 1)]
    kept = kept[~(kept.energy_ratio_high >= 1)]
    best = kept.loc[kept.groupby(CASE_KEYS, sort=False).energy_ratio.idxmin()]
    return best.merge(table.loc[reference, CASE_KEYS])


def find_fronts(table: pd.DataFrame, by: Sequence[str], cost: str) -> pd.DataFrame:
    """The rows that no other of their group beats in accuracy and a cost, each group from the cheapest on."""
    groups = [part.sort_values(cost) for _, part in table.groupby(list(by), sort=False)]
    return pd.concat([table.head(0), *(part[pareto_front(part[cost], part.accuracy)] for part in groups)])


def control_deviations(results: pd.DataFrame, which: str = "large") -> pd.DataFrame:
    """How far the reference came out from itself in every session at one kind of batch size (the A/A control).

    Returns
    -------
    DataFrame
        One row per session with `percent` (distance of the ratio from 1) and `holds` (whether its interval holds 1).
    """
    sessions = drop_failures(select_batch(results, which)).drop_duplicates(RUN_KEYS).dropna(subset="aa_ratio")
    return sessions.assign(
        percent=100 * (sessions.aa_ratio - 1).abs(), holds=(sessions.aa_ratio_low <= 1) & (sessions.aa_ratio_high >= 1)
    )


def int8_share(rows: pd.DataFrame) -> pd.Series:
    """Linear layers that run in int8, in % of all."""
    return 100 * rows.int8_ops / (rows.int8_ops + rows.fp32_ops)
