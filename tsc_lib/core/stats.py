"""Intervals for what the study reports, of 95 %, and the Pareto front.

Everything random has a fixed seed, so a table made twice is the same table.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import scipy  # loads `scipy.stats`, which takes a second, when it is used
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.95

RESAMPLES = 4000

TRIMMED = 0.2
"""Part of the blocks that is left out on either side of a ratio."""


class Interval(NamedTuple):
    """An estimate with the ends of its confidence interval."""

    estimate: float
    low: float
    high: float

    def columns(self, name: str) -> dict[str, float]:
        """The estimate and the ends as tables have them: in columns `name`, ``<name>_low`` and ``<name>_high``."""
        return {name: self.estimate, f"{name}_low": self.low, f"{name}_high": self.high}


def ratio_interval(variant: ArrayLike, reference: ArrayLike) -> Interval:
    """How many times as much the variant costs as the reference, from windows measured side by side.

    Each block gives one ratio: a block is what repeats independently, while its windows share the state of the machine,
    which their ratio cancels. The estimate is the geometric mean of the middle 60 % of them, that is the 20 % trimmed
    mean of their logarithms. On a shared machine most windows scatter alike and a few are disturbed badly: a plain
    mean follows those few; the median withstands them but needs half as many blocks again for the same precision; the
    trimmed mean withstands a fifth of bad blocks on either side at little loss. Working on logarithms treats both sides
    alike: exchanging variant and reference gives the reciprocal.

    The interval is Student's for a trimmed mean [Tukey63]_ [Yuen74]_, which a handful of blocks does not make too
    narrow, as it does a bootstrap's. With a single block the ends are NaN.

    Parameters
    ----------
    variant, reference : array_like of shape (blocks,)
        Cost per sample in each block, positive, any unit.

    Raises
    ------
    ValueError
        If the two differ in shape, are empty, or hold a value that is not positive and finite.

    References
    ----------
    .. [Tukey63] J. W. Tukey and D. H. McLaughlin, "Less Vulnerable Confidence and Significance Procedures for
       Location Based on a Single Sample", Sankhya A, 1963.
    .. [Yuen74] K. K. Yuen, "The Two-Sample Trimmed t for Unequal Population Variances", Biometrika, 1974.
    """
    a, b = np.asarray(variant, float), np.asarray(reference, float)
    if a.shape != b.shape or a.ndim != 1 or not a.size:
        raise ValueError(f"one cost per block is needed on both sides, not shapes {a.shape} and {b.shape}")
    if not (np.isfinite(a) & np.isfinite(b) & (a > 0) & (b > 0)).all():
        raise ValueError("costs must be positive and finite")
    logs = np.log(a / b)
    n = logs.size
    h = n - 2 * int(TRIMMED * n)
    mean = scipy.stats.trim_mean(logs, TRIMMED)
    if h < 2:
        return Interval(float(np.exp(mean)), float("nan"), float("nan"))
    spread = scipy.stats.mstats.winsorize(logs, (TRIMMED, TRIMMED)).std(ddof=1)
    half = scipy.special.stdtrit(h - 1, (1 + LEVEL) / 2) * spread * np.sqrt((n - 1) / (h * (h - 1)))
    return Interval(*np.exp([mean, mean - half, mean + half]).tolist())


def mean_interval(values: ArrayLike) -> Interval:
    """Mean of a few independent repeats, e.g. over seeds, with Student's t interval.

    With a single value the ends are NaN: one repeat says nothing about the spread.
    """
    x = np.asarray(values, float)
    mean = float(x.mean())
    if x.size < 2:
        return Interval(mean, float("nan"), float("nan"))
    half = float(scipy.special.stdtrit(x.size - 1, (1 + LEVEL) / 2) * x.std(ddof=1) / np.sqrt(x.size))
    return Interval(mean, mean - half, mean + half)


def crossed_mean_interval(values: ArrayLike) -> Interval:
    """Mean of values that two kinds of repeats cross in, e.g. seeds and test series, with an interval for both.

    Every series was answered by the models of every seed, so neither are the values independent, nor would other series
    have given the same seeds' mean. The variances of the seeds' means and of the series' means are added, which counts
    what is neither's twice and so is on the safe side; Student's t has Satterthwaite's degrees of freedom
    [Satterthwaite46]_.

    Parameters
    ----------
    values : array_like of shape (seeds, series)
        With one seed the interval is over the series alone; of a single value the ends are NaN.

    References
    ----------
    .. [Satterthwaite46] F. E. Satterthwaite, "An Approximate Distribution of Estimates of Variance Components",
       Biometrics, 1946.
    """
    x = np.asarray(values, float)
    mean = float(x.mean())
    if x.size == 1:
        return Interval(mean, np.nan, np.nan)
    means = [x.mean(axis=axis) for axis in (0, 1) if x.shape[1 - axis] > 1]
    variances = np.array([each.var(ddof=1) / each.size for each in means])
    if not variances.any():
        return Interval(mean, mean, mean)
    freedom = variances.sum() ** 2 / sum(v**2 / (m.size - 1) for v, m in zip(variances, means, strict=True))
    half = float(scipy.special.stdtrit(freedom, (1 + LEVEL) / 2) * np.sqrt(variances.sum()))
    return Interval(mean, mean - half, mean + half)


def geometric_mean_interval(ratios: ArrayLike) -> Interval:
    """Geometric mean of independent ratios, e.g. over seeds, with Student's t interval of their logarithms.

    Ratios average geometrically: twice and half the cost balance to 1. With a single ratio the ends are NaN.
    """
    return Interval(*np.exp(mean_interval(np.log(np.asarray(ratios, float)))).tolist())


def proportion_interval(successes: int, n: int) -> Interval:
    """A proportion, e.g. the accuracy on n test series, with Wilson's score interval.

    It stays within 0 and 1 and has a width even if nothing or everything succeeded.

    Raises
    ------
    ValueError
        If `n` is not positive or `successes` is not within 0 and `n`.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} is not a proportion")
    share, z = successes / n, float(scipy.special.ndtri((1 + LEVEL) / 2))
    middle, half = share + z**2 / (2 * n), z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low, high = ((middle + sign * half) / (1 + z**2 / n) for sign in (-1, 1))
    return Interval(share, float(low) if successes else 0.0, float(high) if successes < n else 1.0)


def paired_difference_interval(correct_a: ArrayLike, correct_b: ArrayLike) -> Interval:
    """Accuracy of a minus accuracy of b on the same test series, as a fraction.

    The percentile bootstrap draws test series with replacement and keeps each one's two answers together, because two
    models mostly fail on the same series. Only which of them was right matters, so a resample is one draw from a
    multinomial over (only a, only b, both alike); that is the same bootstrap, without n × resamples indices. Where
    the two never disagree the interval is 0 to 0.

    Parameters
    ----------
    correct_a, correct_b : array_like of bool, shape (series,)
        Whether each model was right, in the same order.

    Raises
    ------
    ValueError
        If the two differ in shape or are empty.
    """
    a, b = np.asarray(correct_a, bool), np.asarray(correct_b, bool)
    if a.shape != b.shape or a.ndim != 1 or not a.size:
        raise ValueError(f"one answer per test series is needed on both sides, not shapes {a.shape} and {b.shape}")
    return _bootstrap_difference(a.size, int((a & ~b).sum()), int((b & ~a).sum()))


@lru_cache(maxsize=10_000)
def _bootstrap_difference(n: int, only_a: int, only_b: int) -> Interval:
    """The interval of `paired_difference_interval` from how many of n series one of the two alone was right about."""
    chances = np.array([only_a, only_b, n - only_a - only_b]) / n
    drawn = np.random.default_rng(0).multinomial(n, chances, size=RESAMPLES)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / n, [tail, 1 - tail])
    return Interval((only_a - only_b) / n, float(low), float(high))


def pareto_front(cost: ArrayLike, score: ArrayLike) -> NDArray[np.bool_]:
    """Which points no other point beats: nothing is both at most as expensive and at least as good, and better in one.

    Parameters
    ----------
    cost : array_like of shape (n,)
        Less is better.
    score : array_like of shape (n,)
        More is better.

    Returns
    -------
    ndarray of bool, shape (n,)
        Equal points are on the front together; points with a NaN never are.
    """
    c, s = np.asarray(cost, float), np.asarray(score, float)
    no_worse = (c <= c[:, None]) & (s >= s[:, None])  # [i, j]: j is no worse than i
    better = (c < c[:, None]) | (s > s[:, None])
    return ~(no_worse & better).any(axis=1) & ~np.isnan(c) & ~np.isnan(s)
