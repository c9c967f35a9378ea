"""What a search promises of its pick, by training series that chose nothing.

The validation series chose the epoch of every model, the recipe and the runtime, so what is lost on them says too
little. The other training series are cut into folds, blocks of each class in file order. For each fold the uncompressed
model and the pick are trained anew without it, each time with another seed, and judged on it. Both get the same further
training: the uncompressed model goes through the training steps of the pick's recipe, and is kept at its best epoch.
Only the pick is judged so, and once: there is no best of several to correct for.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from tsc_lib import data
from tsc_lib.compress import Variant
from tsc_lib.core.store import StageFailed
from tsc_lib.search.trials import Search
from tsc_lib.search.worker import make_side_by_side
from tsc_lib.study.specs import TrainingRun

CONFIDENCE = 0.9
"""How often the bound of a promise is to hold."""

FEWEST, ENOUGH = 3, 1000
"""Folds that are judged in any case, and series after which no further fold is."""

SURE, LIKELY, BROKEN = "sure", "likely", "broken"
"""How a pick keeps to the permitted drop: by its bound, by what it lost alone, or not."""

MEANINGS = {
    SURE: f"keeps to the permitted drop with {100 * CONFIDENCE:.0f} % confidence",
    LIKELY: "keeps to the permitted drop by what it lost, but the series and trainings are too few to be sure",
    BROKEN: "lost more than permitted there, though not on validation: search longer, or permit a larger drop",
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Promise:
    """What a pick may lose against the uncompressed model with the same further training.

    Attributes
    ----------
    drop : float
        Points of accuracy lost on the series that chose nothing.
    bound : float
        Points that one model, trained anew, loses at most on `new_series` new series from the sources of the training
        file, with `CONFIDENCE`. It covers the seed of the training, the series that were judged and the new ones, but
        no other sources, such as households that the training file does not have.
    series, trainings : int
        How many series were judged, and by the models of how many trainings.
    new_series : int
        As many as the test file has.
    verdict : str
        `SURE`, `LIKELY` or `BROKEN`.
    """

    drop: float
    bound: float
    series: int
    trainings: int
    new_series: int
    verdict: str

    @property
    def evidence(self) -> str:
        """What was lost and what follows, in words, without the verdict."""
        return (
            f"{self.drop:.1f} points lost on {self.series} training series that chose nothing, over {self.trainings} "
            f"trainings with other seeds;\n  with {100 * CONFIDENCE:.0f} % confidence at most {self.bound:.1f} on "
            f"{self.new_series} new series from the same sources"
        )

    def __str__(self) -> str:
        return f"{self.evidence}:\n  it {MEANINGS[self.verdict]}"


def find_promise(search: Search, pick: Variant, jobs: int) -> Promise | None:
    """Train the pick and the uncompressed model without each fold in turn, and judge them on it.

    Returns
    -------
    Promise or None
        None if the search asks for no folds, or fewer than two could be judged.
    """
    extra = pick.recipe.training
    runs = list_folds(search)
    logger.info(f"judging the pick on series that chose nothing: {len(runs)} more trainings of it and the whole model")
    make_side_by_side(search, [(run, (extra, pick.recipe)) for run in runs], jobs)
    losses = []
    for run in runs:
        try:
            before, after = (search.correct(run, each, "kept") for each in (search.reference(run, extra), pick))
            losses.append(100 * (before.astype(float) - after))
        except StageFailed as failure:
            logger.warning(f"a fold could not be judged: {failure}")
    if len(losses) < 2:
        return None
    return make_promise(losses, len(search.dataset.test), search.spec.max_drop)


def list_folds(search: Search) -> list[TrainingRun]:
    """The trainings that a promise takes, each without a fold of the training series that it is then judged on."""
    first, folds = search.runs[0], search.spec.folds
    runs: list[TrainingRun] = []
    series = 0
    for fold in range(folds):
        if len(runs) >= FEWEST and series >= ENOUGH:
            break
        without = dataclasses.replace(first.data, folds=folds, fold=fold)
        if kept := len(data.load(without).kept):
            runs.append(dataclasses.replace(first, data=without, seed=first.seed + 1 + fold))
            series += kept
    return runs


def make_promise(losses: Sequence[np.ndarray], new_series: int, max_drop: float) -> Promise:
    """The promise that follows from what was lost on each series of each fold.

    The variance of a new result is the series' own, over those that were judged and those to come, and the trainings',
    which is what the folds differ by beyond that; Student's t has a degree of freedom less than there are folds.

    Parameters
    ----------
    losses : sequence of ndarray of shape (series of a fold,)
        100 where only the uncompressed model was right, -100 where only the pick was, else 0; at least two folds.
    new_series, max_drop
        See `Promise`; points that may be lost.

    Examples
    --------
    >>> import numpy as np
    >>> promise = make_promise([np.repeat([100.0, 0.0], [1, 199])] * 3, 600, 2.0)
    >>> promise.drop, round(promise.bound, 2), promise.verdict
    (0.5, 1.27, 'sure')
    """
    sizes = np.array([len(each) for each in losses])
    series, folds = int(sizes.sum()), len(losses)
    means = np.array([each.mean() for each in losses])
    within = sum(((each - each.mean()) ** 2).sum() for each in losses) / max(1, series - folds)
    within = max(within, 100.0**2 / series)  # as if they differed on one of the series at least
    between = max(0.0, means.var(ddof=1) - within * (1 / sizes).mean())
    error = np.sqrt(within * (1 / series + 1 / new_series) + between * (1 + 1 / folds))
    drop = float(np.concatenate(losses).mean())
    bound = drop + float(scipy.special.stdtrit(folds - 1, CONFIDENCE) * error)
    verdict = SURE if bound <= max_drop else LIKELY if drop <= max_drop else BROKEN
    return Promise(drop, bound, series, folds, new_series, verdict)
