"""Classic classifiers, by name: what aeon offers beside networks, under the networks' own contract.

A classic is fitted in one go, so it needs no validation series. It is made of the same scaled series as the networks.
Left out for their cost or their packages: DrCIF (minutes for 67 series of 24 time steps), FreshPRINCE (needs tsfresh),
and InceptionTime and LITE, which aeon has with TensorFlow alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tsc_lib.core.errors import UserError
from tsc_lib.core.limits import quote

COMMON_QUANTILE = 0.9
"""Of the training series' lengths: the common length of series for classics that take one length alone."""

LEAST_PROBABILITY = 1e-12

MOST_WORK = 1e11
"""Pairs of time steps that a nearest-neighbour search may compare: some minutes of one core."""


@dataclass(frozen=True)
class Classic:
    """What is known of a classic classifier.

    Attributes
    ----------
    summary : str
        What it does, in a few words.
    build : callable
        Takes a seed and returns aeon's estimator, not fitted, on one thread.
    shortest : int
        Time steps that a series has at least.
    unequal : bool
        Whether it takes series of unequal length as they are.
    seeded : bool
        Whether the seed has a say.
    decides : bool
        Whether its answers are the decision values of a linear model, not probabilities.
    compares_all : bool
        Whether it compares every series with every training series.
    """

    summary: str
    build: Callable[[int], Any]
    shortest: int = 1
    unequal: bool = False
    seeded: bool = True
    decides: bool = False
    compares_all: bool = False


def _minirocket(seed: int) -> Any:
    from aeon.classification.convolution_based import MiniRocketClassifier

    return MiniRocketClassifier(random_state=seed, n_jobs=1)


def _multirocket_hydra(seed: int) -> Any:
    from aeon.classification.convolution_based import MultiRocketHydraClassifier

    return MultiRocketHydraClassifier(random_state=seed, n_jobs=1)


def _quant(seed: int) -> Any:
    from aeon.classification.interval_based import QUANTClassifier

    return QUANTClassifier(random_state=seed)


def _catch22(seed: int) -> Any:
    from aeon.classification.feature_based import Catch22Classifier

    return Catch22Classifier(random_state=seed, n_jobs=1)


def _nearest_neighbour(seed: int) -> Any:
    from aeon.classification.distance_based import KNeighborsTimeSeriesClassifier

    return KNeighborsTimeSeriesClassifier(distance="dtw", n_neighbors=1, n_jobs=1)


CLASSICS = {
    "MiniROCKET": Classic("10,000 fixed convolutions, a ridge classifier", _minirocket, shortest=9, decides=True),
    "MultiROCKET-Hydra": Classic(
        "50,000 and competing convolutions, a ridge classifier", _multirocket_hydra, shortest=9
    ),
    "QUANT": Classic("quantiles of intervals, extremely randomised trees", _quant, shortest=2),
    "Catch22": Classic("24 summary features, a random forest", _catch22, shortest=3, unequal=True),
    "1NN-DTW": Classic(
        "the nearest training series by dynamic time warping, without a window",
        _nearest_neighbour,
        unequal=True,
        seeded=False,
        compares_all=True,
    ),
}


class FittedClassic:
    """A classic that was fitted, as a `tsc_lib.runtimes.Predictor`.

    Parameters
    ----------
    name : str
        One of `CLASSICS`.
    estimator : object
        Fitted, of aeon, with the classes' positions as labels.
    classes : int
        How many there are, also those that the training series do not have.
    length : int or None
        What all series are brought to; None where they keep their lengths.
    """

    def __init__(self, name: str, estimator: Any, classes: int, length: int | None) -> None:
        self.name, self.estimator, self.classes, self.length = name, estimator, classes, length

    def __call__(self, x: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """Logits (n, classes) of series x (n, channels, length): the largest is 0, at the class that aeon predicts.

        They are decision values of MiniROCKET, else logarithms of aeon's probabilities, which MultiROCKET-Hydra and
        1NN-DTW have of 0 and 1 alone.
        """
        own = list(x) if lengths is None else [one[:, :end] for one, end in zip(x, lengths, strict=True)]
        series = arrange(own, self.length)
        if CLASSICS[self.name].decides:
            found = self.estimator.pipeline_.decision_function(series)
            if found.ndim == 1:  # of two classes the second one's
                found = np.stack([-found, found], axis=1)
            found = found - found.max(axis=1, keepdims=True)
        else:
            shares = self.estimator.predict_proba(series)
            found = np.log(np.maximum(shares / shares.max(axis=1, keepdims=True), LEAST_PROBABILITY))
        logits = np.full((len(x), self.classes), math.log(LEAST_PROBABILITY), np.float32)
        # In fp32 only now, when the largest is 0: before, two that differ little would be one.
        logits[:, self.estimator.classes_.astype(int)] = found
        return logits


def fit_classic(name: str, x: Sequence[np.ndarray], y: np.ndarray, seed: int, classes: int) -> FittedClassic:
    """Fit a classic; the same seed gives the same answers.

    Series of unequal length are brought to one where the classic takes no other: that which nine in ten of the training
    series do not exceed. Shorter ones are repeated, longer ones cut.

    Parameters
    ----------
    name : str
        One of `CLASSICS`.
    x : sequence of ndarray of float32, shape (channels, length_i)
        Scaled training series.
    y : ndarray of int, shape (series,)
        Positions of their classes.
    seed : int
        Of whatever is drawn.
    classes : int
        How many there are.

    Raises
    ------
    UserError
        If there is no such classic, or the series are too short for it.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x = [rng.normal(size=(1, 20)).astype(np.float32) + np.arange(20) * (i % 2) for i in range(10)]
    >>> fitted = fit_classic("QUANT", x, np.arange(10) % 2, seed=0, classes=2)
    >>> fitted(np.stack(x[:3])).argmax(axis=1).tolist()
    [0, 1, 0]
    """
    if name not in CLASSICS:
        raise UserError(f"unknown classic {quote(name)}; the classics are {', '.join(CLASSICS)}")
    classic, lengths = CLASSICS[name], [one.shape[1] for one in x]
    if not classic.unequal or min(lengths) == max(lengths):
        length = math.ceil(np.quantile(lengths, COMMON_QUANTILE))
    else:
        length = None
    found = length or min(lengths)
    if found < classic.shortest:
        raise UserError(f"{name} takes series of {classic.shortest} time steps or more, not of {found}; leave it out")
    return FittedClassic(name, classic.build(seed).fit(arrange(x, length), np.asarray(y)), classes, length)


def check_work(name: str, train: Sequence[np.ndarray], test: Sequence[np.ndarray]) -> None:
    """Refuse to classify so many series that it would take hours.

    Raises
    ------
    UserError
    """
    steps, own = (sum(one.shape[1] for one in series) for series in (train, test))
    if CLASSICS[name].compares_all and steps * own > MOST_WORK:
        raise UserError(
            f"{name} would compare {steps * own:.1e} pairs of time steps, more than {MOST_WORK:.0e}; leave it out"
        )


def arrange(series: Sequence[np.ndarray], length: int | None) -> np.ndarray | list[np.ndarray]:
    """Series (channels, length_i) as aeon takes them: float64 (n, channels, length), repeated or cut; else as a list.

    Examples
    --------
    >>> arrange([np.array([[1, 2, 3]]), np.array([[4, 5, 6, 7, 8, 9]])], 5).tolist()
    [[[1.0, 2.0, 3.0, 1.0, 2.0]], [[4.0, 5.0, 6.0, 7.0, 8.0]]]
    """
    wide = [np.asarray(one, np.float64) for one in series]
    if length is None:
        return wide
    return np.stack([np.tile(one, (1, -(-length // one.shape[1])))[:, :length] for one in wide])
