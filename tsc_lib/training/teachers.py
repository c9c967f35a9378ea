"""Teachers: whatever gives class probabilities for series, augmented ones too.

A classic is fitted once for each fold of the training series, on all other folds. What was made of a training series is
labelled by the member that has not seen it. Networks label what they were trained on, as in a distillation.

References
----------
.. [1] Guo et al., "On Calibration of Modern Neural Networks", ICML 2017 (temperature scaling).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from tsc_lib.core.errors import UserError
from tsc_lib.core.limits import check_different, quote
from tsc_lib.data import Split
from tsc_lib.models.classic import CLASSICS, fit_classic
from tsc_lib.models.zoo import ARCHITECTURES
from tsc_lib.series.scaling import pad

SELF = "self"
"""The uncompressed model of a run, as a teacher."""

FOLDS = 5
"""Into how many folds the training series are cut for classics."""

TEMPERATURES = (0.001, 1000.0)
"""Between which the temperature of a classic is looked for."""

PROBABILISTIC = ("QUANT", "Catch22")
"""Classics whose logits are probabilities' as they are; those of others are calibrated."""

Predict = Callable[[np.ndarray, np.ndarray | None], np.ndarray]
"""From series (n, channels, length) and their lengths, if they differ, to logits (n, classes)."""


class Teacher(Protocol):
    """Anything that gives class probabilities."""

    def __call__(self, x: np.ndarray, lengths: np.ndarray | None, fold: int | None = None) -> np.ndarray:
        """Class probabilities (n, classes) of a batch.

        Parameters
        ----------
        x : ndarray of float32, shape (n, channels, length)
            Scaled series, zero beyond their lengths.
        lengths : ndarray of int64, shape (n,), optional
            Time steps of each series, where they differ.
        fold : int, optional
            The fold of the training series that all of these were made from; None for series from elsewhere.
        """
        ...


@dataclass(frozen=True)
class Network:
    """A trained network as a teacher."""

    predict: Predict

    def __call__(self, x: np.ndarray, lengths: np.ndarray | None, fold: int | None = None) -> np.ndarray:
        return softmax(self.predict(x, lengths), axis=1)


@dataclass(frozen=True)
class OutOfFold:
    """Members that were fitted on all folds but one each; the member of a fold labels what was made of its series.

    Attributes
    ----------
    members : mapping
        The member of each fold, which gives logits; none of a fold without which nothing is left to learn.
    temperature : float
        What logits are divided by [1]_.
    """

    members: Mapping[int, Predict]
    temperature: float = 1.0

    def __call__(self, x: np.ndarray, lengths: np.ndarray | None, fold: int | None = None) -> np.ndarray:
        asked = self.members.values() if fold is None else [self.members[fold]]
        return np.mean([softmax(predict(x, lengths) / self.temperature, axis=1) for predict in asked], axis=0)


@dataclass(frozen=True)
class Committee:
    """Teachers as one, by the mean of their probabilities."""

    teachers: Sequence[Teacher]

    def __call__(self, x: np.ndarray, lengths: np.ndarray | None, fold: int | None = None) -> np.ndarray:
        return np.mean([each(x, lengths, fold) for each in self.teachers], axis=0)


def parse_teacher(name: str) -> tuple[str, ...]:
    """The members of the committee that a name such as ``QUANT+MultiROCKET-Hydra`` stands for; of one, itself.

    Raises
    ------
    UserError
        If one is unknown, or stands twice.

    Examples
    --------
    >>> parse_teacher("self+QUANT")
    ('self', 'QUANT')
    """
    members = tuple(part.strip() for part in name.split("+"))
    known = (SELF, *CLASSICS, *ARCHITECTURES)
    for member in members:
        if member not in known:
            raise UserError(
                f"unknown teacher {quote(member)}; the teachers are {', '.join(known)}, and several joined by +"
            )
    check_different(members, f"the teacher {quote(name)}")
    return members


def is_fitted(name: str) -> bool:
    """Whether a teacher, or a member of it, is a classic that is fitted on the training series."""
    return any(member in CLASSICS for member in parse_teacher(name))


def fit_teacher(
    name: str,
    train: Split,
    folds: np.ndarray,
    seed: int,
    *,
    classes: int,
    equal_length: bool,
    networks: Mapping[str, Predict],
) -> Teacher:
    """Fit the classics of a teacher, and put it together.

    Parameters
    ----------
    name : str
        See `parse_teacher`.
    train : Split
        The training series.
    folds : ndarray of int, shape (n,)
        The fold of each of them.
    seed : int
        Of the classics.
    classes : int
        How many there are.
    equal_length : bool
        Whether all series have one length.
    networks : mapping
        Trained networks, by the names that teachers give them.

    Raises
    ------
    UserError
        If a network is not there.
    """
    teachers: list[Teacher] = []
    for member in parse_teacher(name):
        if member in CLASSICS:

            def fit(part: Split, name: str = member) -> Predict:
                return fit_classic(name, part.x, part.y, seed, classes)

            calibrate = member not in PROBABILISTIC
            teachers.append(fit_out_of_fold(fit, train, folds, equal_length=equal_length, calibrate=calibrate))
        elif member in networks:
            teachers.append(Network(networks[member]))
        else:
            raise UserError(f"the teacher {member} is a trained network, and there is none here; take a classic")
    return Committee(teachers)


def find_taught(y: np.ndarray, folds: np.ndarray, fitted: np.ndarray | None = None) -> np.ndarray:
    """Which series can be labelled by what was fitted on the other folds: those whose class these have.

    Parameters
    ----------
    y, folds : ndarray of int, shape (n,)
        Class and fold of each series.
    fitted : ndarray of int, optional
        Positions of those that were fitted on; by default all. A fold of which none was has no member.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    fitted = np.arange(len(y)) if fitted is None else fitted
    taught = np.zeros(len(y), dtype=bool)
    for fold in np.unique(folds[fitted]):
        inside = folds[fitted] == fold
        known = np.unique(y[fitted[~inside]])
        if len(known) > 1 and np.isin(y[fitted[inside]], known).any():
            taught |= (folds == fold) & np.isin(y, known)
    return taught


def fit_out_of_fold(
    fit: Callable[[Split], Predict],
    train: Split,
    folds: np.ndarray,
    *,
    equal_length: bool,
    calibrate: bool,
) -> OutOfFold:
    """Fit a member for each fold on all others; where that is asked for, find one temperature for all of them.

    Parameters
    ----------
    fit : callable
        Takes a part of the training series, which may lack classes; returns what gives logits of all of them.
    train, folds, equal_length
        See `fit_teacher`.
    calibrate : bool
        Whether the temperature is the one that makes the classes of `train` most likely, each series judged by the
        member that has not seen it; otherwise it is 1.
    """
    members: dict[int, Predict] = {}
    logits, y = [], []
    taught = find_taught(train.y, folds)
    for fold in np.unique(folds[taught]).tolist():
        members[fold] = fit(_take(train, folds != fold))
        if calibrate:
            own = _take(train, taught & (folds == fold))
            x, lengths = pad(own.x)
            logits.append(members[fold](x, None if equal_length else lengths))
            y.append(own.y)
    return OutOfFold(members, find_temperature(np.concatenate(logits), np.concatenate(y)) if logits else 1.0)


def find_temperature(logits: np.ndarray, y: np.ndarray) -> float:
    """The temperature at which logits (n, classes) make the classes (n,) most likely."""

    def miss(log_temperature: float) -> float:
        return -float(log_softmax(logits / np.exp(log_temperature), axis=1)[np.arange(len(y)), y].mean())

    return float(np.exp(minimize_scalar(miss, bounds=np.log(TEMPERATURES), method="bounded").x))


def _take(split: Split, chosen: np.ndarray) -> Split:
    return Split([split.x[i] for i in np.flatnonzero(chosen)], split.y[chosen])
