"""Models compared: on one data set over seeds and test series, and over data sets by rank tests.

What few data sets cannot tell is not told: with fewer than `fewest_datasets(2)` of them no test over data sets can
find a difference, however large it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
import scipy  # loads `scipy.stats`, which takes a second, when it is used
from numpy.typing import ArrayLike, NDArray

from tsc_lib.analysis.quantities import PERMITTED_LOSS
from tsc_lib.core.errors import UserError
from tsc_lib.core.stats import crossed_mean_interval

LEVEL = 0.05
"""Chance of an error that a test permits."""

SAMPLES = 5000
"""Drawn from the posterior of the Bayesian test."""

DIGITS = 9
"""Accuracies, in per cent, that agree to so many decimals are a draw."""


def correct_by_model(predictions: pd.DataFrame) -> dict[str, dict[str, pd.DataFrame]]:
    """Whether each model of each seed was right about each test series.

    Parameters
    ----------
    predictions : DataFrame
        Columns `dataset`, `model`, `seed`, `series`, `true`, `predicted`.

    Returns
    -------
    dict of str to dict of str to DataFrame
        By data set and model: bool, a row for each seed, a column for each series.
    """
    right = predictions.assign(right=predictions.true == predictions.predicted)
    return {
        dataset: {
            model: of_model.pivot_table(index="seed", columns="series", values="right", aggfunc="first").astype(bool)
            for model, of_model in part.groupby("model", sort=False)
        }
        for dataset, part in right.groupby("dataset", sort=False)
    }


def accuracy_by_model(predictions: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy (%) of every model, with an interval over its seeds and the test series together.

    Returns
    -------
    DataFrame
        Columns `dataset`, `model`, `seeds`, `accuracy`, `accuracy_low` and `accuracy_high`.
    """
    rows = [
        (dataset, model, len(right), *(100 * np.clip(crossed_mean_interval(right), 0, 1)))
        for dataset, models in correct_by_model(predictions).items()
        for model, right in models.items()
    ]
    return pd.DataFrame(rows, columns=["dataset", "model", "seeds", "accuracy", "accuracy_low", "accuracy_high"])


def beside(predictions: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Every model beside one of them on the same test series and seeds, data set by data set.

    Parameters
    ----------
    predictions : DataFrame
        Columns `dataset`, `model`, `seed`, `series`, `true`, `predicted`.
    reference : str
        The model that the others are compared with; data sets without it are left out.

    Returns
    -------
    DataFrame
        Columns `dataset`, `model`, `reference`, `seeds`, `points` (accuracy of the model minus that of the reference,
        in percentage points), `points_low`, `points_high` (95 %, over seeds and test series together) and `verdict`:
        "better" or "worse" if the interval leaves out 0, else "not told apart".
    """
    rows = []
    for dataset, models in correct_by_model(predictions).items():
        for model, right in models.items():
            if reference not in models or model == reference:
                continue
            shared = right.index.intersection(models[reference].index)
            if len(shared):
                gained = 100.0 * (right.loc[shared].astype(int) - models[reference].loc[shared].astype(int))
                points, low, high = np.clip(crossed_mean_interval(gained), -100, 100)
                verdict = "better" if low > 0 else "worse" if high < 0 else "not told apart"
                rows.append((dataset, model, reference, len(shared), points, low, high, verdict))
    columns = ["dataset", "model", "reference", "seeds", "points", "points_low", "points_high", "verdict"]
    return pd.DataFrame(rows, columns=columns)


def fewest_datasets(models: int) -> int:
    """Data sets without which the rank tests of so many models can find no difference.

    One of two models that wins on all of n data sets has a two-sided p-value of 2 / 2ⁿ in Wilcoxon's test, which Holm's
    correction first multiplies by the number of pairs.

    Examples
    --------
    >>> fewest_datasets(2), fewest_datasets(8)
    (6, 11)
    """
    pairs = models * (models - 1) / 2
    return int(np.ceil(1 + np.log2(max(pairs, 1) / LEVEL)))


def correct_by_holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """P-values of a family of tests after Holm's step-down correction (Scandinavian Journal of Statistics, 1979).

    Examples
    --------
    >>> correct_by_holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, float)
    order = np.argsort(p, kind="stable")
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)), 1.0)
    return corrected


@dataclass(frozen=True)
class Ranking:
    """Models ranked over data sets.

    Attributes
    ----------
    accuracy : DataFrame of shape (datasets, models)
        Mean accuracy (%) over the seeds, on the data sets that all models have, the best average rank first.
    ranks : Series
        Average rank of every model, 1 the best; those who draw share theirs.
    friedman : float
        P-value of Friedman's test that all models are alike; NaN for fewer than three models or `fewest_datasets(2)`
        data sets, where its approximation does not hold.
    pairs : DataFrame
        Of `compare_pairs`.
    """

    accuracy: pd.DataFrame
    ranks: pd.Series
    friedman: float
    pairs: pd.DataFrame

    @property
    def datasets(self) -> int:
        """How many data sets the ranks are over."""
        return len(self.accuracy)

    @property
    def needed(self) -> int:
        """How many data sets could tell any two of so many models apart."""
        return fewest_datasets(len(self.ranks))

    @property
    def cliques(self) -> list[tuple[str, ...]]:
        """Groups of models, neighbours in rank, no two of which are told apart; none lies within another."""
        names, apart = list(self.ranks.index), self.pairs[self.pairs.p_holm < LEVEL]
        told = {frozenset(pair) for pair in zip(apart.first, apart.second, strict=True)}
        found: list[tuple[int, int]] = []
        for start in range(len(names)):
            stop = start + 1
            while stop < len(names) and not any(frozenset((names[stop], own)) in told for own in names[start:stop]):
                stop += 1
            if stop - start > 1 and not (found and stop <= found[-1][1]):
                found.append((start, stop))
        return [tuple(names[start:stop]) for start, stop in found]


def rank(accuracy: pd.DataFrame) -> Ranking:
    """Rank models over the data sets that all of them have.

    Parameters
    ----------
    accuracy : DataFrame
        Columns `dataset`, `model` and `accuracy` (%); several rows of a model on a data set, such as seeds, count as
        their mean. What others published is another test set of models: leave it out.

    Raises
    ------
    UserError
        If there are fewer than two models, or no data set that all models have.
    """
    means = accuracy.pivot_table(index="dataset", columns="model", values="accuracy", sort=False)
    whole = means.dropna()
    if means.shape[1] < 2 or whole.empty:
        raise UserError("models are ranked from two on, over the data sets that all of them have; there are none here")
    ranks = whole.round(DIGITS).rank(axis=1, ascending=False).mean().sort_values(kind="stable")
    enough = len(ranks) > 2 and len(whole) >= fewest_datasets(2)
    friedman = float(scipy.stats.friedmanchisquare(*whole.round(DIGITS).to_numpy().T).pvalue) if enough else np.nan
    return Ranking(whole[ranks.index], ranks, friedman, compare_pairs(means[ranks.index]))


def count_wins(points: pd.Series) -> tuple[int, int, int]:
    """Data sets that are won, drawn and lost, by the points that one model is above another on each."""
    return int((points > 0).sum()), int((points == 0).sum()), int((points < 0).sum())


def compare_pairs(means: pd.DataFrame) -> pd.DataFrame:
    """Every two models over the data sets that both have.

    Parameters
    ----------
    means : DataFrame of shape (datasets, models)
        Accuracy (%), NaN where there is none.

    Returns
    -------
    DataFrame
        Columns `first`, `second`, `datasets`, `wins`, `draws` and `losses` of the first; `points`, the mean of the
        first minus the second; `p`, of Wilcoxon's signed-rank test, two-sided, and `p_holm` after Holm's correction for
        all pairs; `first_better`, `alike` and `second_better`, the posterior probabilities that the first is better by
        more than `PERMITTED_LOSS` points, that neither is, and that the second is [Benavoli14]_, NaN below
        `fewest_datasets(2)` data sets, where the prior would have a large say.

    References
    ----------
    .. [Benavoli14] A. Benavoli et al., "A Bayesian Wilcoxon signed-rank test based on the Dirichlet process", ICML
       2014.
    """
    rows = []
    for first, second in combinations(means, 2):
        both = means[[first, second]].dropna().round(DIGITS)
        gained = (both[first] - both[second]).round(DIGITS)
        p = float(scipy.stats.wilcoxon(gained).pvalue) if gained.any() else 1.0
        chances = _posterior(both[first].to_numpy(), both[second].to_numpy())
        rows.append((first, second, len(both), *count_wins(gained), gained.mean(), p, *chances))
    columns = ["first", "second", "datasets", "wins", "draws", "losses", "points", "p"]
    pairs = pd.DataFrame(rows, columns=[*columns, "first_better", "alike", "second_better"])
    pairs.insert(pairs.columns.get_loc("p") + 1, "p_holm", correct_by_holm(pairs.p))
    return pairs


def _posterior(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, ...]:
    if len(first) < fewest_datasets(2):
        return np.nan, np.nan, np.nan
    from baycomp import SignedRankTest  # loads `scipy.stats`

    return tuple(map(float, SignedRankTest.probs(first, second, PERMITTED_LOSS, nsamples=SAMPLES, random_state=0)))
