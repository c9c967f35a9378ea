"""Selection on a small validation split without falling for luck.

The best of many candidates on a few series is partly the luckiest. Each drop in accuracy is therefore pulled towards
what its cost lets one expect, a straight line over the logarithm of the cost, by the share of the spread that sampling
explains (Fay and Herriot, "Estimates of Income for Small Places", JASA 1979; the variance between candidates by the
moments of DerSimonian and Laird, 1986). On thousands of series that changes little; on 75 it decides.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from tsc_lib.core.stats import pareto_front

FEWEST = 4
"""Candidates below which no line is drawn, and nothing is pulled."""

EQUAL_COST = 1.05
"""How many times the cost counts as the same: sessions repeat no better, and accuracy is then worth more."""

CLEAR, CLOSE, MISSED = "clear", "close", "missed"
"""How a candidate keeps to the permitted drop on validation: with a standard error to spare, just so, or not."""


def paired_drop(reference: ArrayLike, candidate: ArrayLike) -> tuple[float, float]:
    """Points of accuracy lost on the same series, and the standard error.

    Parameters
    ----------
    reference, candidate : array_like of bool, shape (seeds, series)
        Whether each model was right. Several seeds are averaged series by series: the same series are no new evidence.

    Returns
    -------
    drop, error : float
        In percentage points; the error is at least that of one series on which the two differ.
    """
    lost = 100 * (np.asarray(reference, float) - np.asarray(candidate, float)).mean(axis=0)
    return float(lost.mean()), float(max(lost.std() / np.sqrt(len(lost)), 100 / len(lost)))


def shrink_drops(cost: ArrayLike, drop: ArrayLike, error: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Drops with the winner's luck taken off, and their standard errors, by the model of the module's docstring.

    Parameters
    ----------
    cost, drop, error : array_like of shape (candidates,)
        Cost, positive; drop in accuracy and its standard error, in points.
    """
    x, y, s = np.log2(np.asarray(cost, float)), np.asarray(drop, float), np.asarray(error, float)
    if len(y) < FEWEST or np.ptp(x) == 0:
        return y, s
    design = np.stack([np.ones_like(x), x], axis=1)

    def fit(weight: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        inverse = np.linalg.inv(design.T * weight @ design)
        return design @ inverse @ (design.T @ (weight * y)), inverse

    weight = s**-2
    line, inverse = fit(weight)
    freedom = weight.sum() - np.trace(inverse @ (design.T * weight**2 @ design))
    between = max(0.0, float(((weight * (y - line) ** 2).sum() - (len(y) - 2)) / freedom))
    line, inverse = fit(1 / (between + s**2))
    trust = between / (between + s**2)
    of_line = np.einsum("ij,jk,ik->i", design, inverse, design)
    return line + trust * (y - line), np.sqrt(trust * s**2 + (1 - trust) ** 2 * of_line)


def judge(candidates: pd.DataFrame, max_drop: float) -> pd.DataFrame:
    """Candidates with `expected_drop`, `expected_error` and `verdict`, and with `front`: whether no other beats them.

    Parameters
    ----------
    candidates : DataFrame
        With columns `recipe`, `cost` (share of the reference's), `drop` and `error` (points, on validation). What a
        recipe lets one expect depends on its cost where that is least: a slower runtime makes no better network.
    max_drop : float
        Points that may be lost.
    """
    networks = candidates.assign(cost=candidates.groupby("recipe").cost.transform("min"))
    once = networks.drop_duplicates(["recipe", "drop"])
    drops, errors = shrink_drops(once.cost, once["drop"], once.error)
    once = once[["recipe", "drop"]].assign(expected_drop=drops, expected_error=errors)
    found = networks[["recipe", "drop"]].merge(once, how="left", on=["recipe", "drop"])
    drop, error = found.expected_drop.to_numpy(), found.expected_error.to_numpy()
    verdict = np.where(drop + error <= max_drop, CLEAR, np.where(drop <= max_drop, CLOSE, MISSED))
    front = pareto_front(candidates.cost, -drop)
    return candidates.assign(expected_drop=drop, expected_error=error, verdict=verdict, front=front)


def rank(table: pd.DataFrame) -> pd.DataFrame:
    """Judged candidates, the best first: what is clear of the permitted drop before what is close, there the cheapest.

    Of those that cost the same as the best, up to `EQUAL_COST`, the one that is expected to lose least comes first.
    Those that miss the permitted drop come last, the nearest to it first.
    """
    tier = table.verdict.map({CLEAR: 0, CLOSE: 1, MISSED: 2})
    within = table.cost.where(table.verdict != MISSED, table.expected_drop)
    order = pd.DataFrame({"tier": tier, "within": within, "cost": table.cost}).sort_values(["tier", "within", "cost"])
    ordered = table.loc[order.index]
    if ordered.empty or ordered.verdict.iloc[0] == MISSED:
        return ordered
    tied = ordered[(ordered.verdict == ordered.verdict.iloc[0]) & (ordered.cost <= EQUAL_COST * ordered.cost.iloc[0])]
    first = tied.expected_drop.idxmin()
    return pd.concat([ordered.loc[[first]], ordered.drop(index=first)])
