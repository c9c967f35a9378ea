"""What is to be known of series as they were read: copies of each other, and channels that a few series dominate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tsc_lib.series.scaling import Scaler
from tsc_lib.series.values import Series

UNEVEN = 10.0
"""How many times the usual spread of a series the deviation of a channel is that few series decide on."""


@dataclass(frozen=True)
class ChannelFacts:
    """How the values of one channel are spread, as they were read.

    Attributes
    ----------
    mean, deviation : float
        Over all steps of the training series.
    spread : float
        The usual distance of a training series from the channel's median: root mean square over its steps, median over
        the series that have any.
    farthest : int
        The series of the training file, from 1, that lies farthest from that median.
    constant : bool
        Whether the training series have one value alone.
    moves : bool
        Whether the validation or the test series have another value than that.
    """

    mean: float
    deviation: float
    spread: float
    farthest: int
    constant: bool
    moves: bool

    @property
    def is_uneven(self) -> bool:
        """Whether few series decide on the deviation, so that it tells little of the others."""
        return self.deviation > UNEVEN * self.spread


@dataclass(frozen=True)
class Facts:
    """What is to be known of the series of a data set as they were read.

    Attributes
    ----------
    repeated_in_train, repeated_in_test : int
        Series of the training and of the test file that repeat an earlier one of the same file.
    test_in_train : ndarray of bool, shape (test series,)
        Which test series are also in the training file. Where each series is scaled by itself, copies that differ by
        offset and scale count, since a model cannot tell them apart.
    channels : tuple of ChannelFacts
        One for each channel.
    """

    repeated_in_train: int
    repeated_in_test: int
    test_in_train: np.ndarray
    channels: tuple[ChannelFacts, ...]


def content(x: np.ndarray) -> tuple[tuple[int, ...], bytes]:
    """What equal series share: their shape and their values; a negative zero is a zero."""
    return x.shape, (x + 0.0).tobytes()


def find_facts(train: Series, test: Series, held_out: np.ndarray, scaler: Scaler) -> Facts:
    """The facts of a data set.

    Parameters
    ----------
    train, test : Series
        As they were read.
    held_out : ndarray of bool, shape (training series,)
        Which of the training file are for validation.
    scaler : Scaler
        What is done to every series.
    """
    in_train, in_test = [content(x) for x in train.x], [content(x) for x in test.x]
    copied = _belong(in_test, in_train)
    if scaler.kind == "series":
        copied |= _belong(*([content(scaler(x)) for x in series.x] for series in (test, train)))
    fitted = np.flatnonzero(~held_out)
    others = [train.x[i] for i in np.flatnonzero(held_out)] + test.x
    return Facts(
        repeated_in_train=len(in_train) - len(set(in_train)),
        repeated_in_test=len(in_test) - len(set(in_test)),
        test_in_train=copied,
        channels=tuple(
            _describe_channel([train.x[i][channel] for i in fitted], [x[channel] for x in others], fitted)
            for channel in range(train.channels)
        ),
    )


def _belong(series: list[tuple[tuple[int, ...], bytes]], known: list[tuple[tuple[int, ...], bytes]]) -> np.ndarray:
    found = set(known)
    return np.array([one in found for one in series], dtype=bool)


def _describe_channel(train: list[np.ndarray], others: list[np.ndarray], places: np.ndarray) -> ChannelFacts:
    """The facts of a channel of the training series, at these places in their file, and of all other series."""
    steps = np.concatenate(train)
    median, constant = np.median(steps), bool(steps.min() == steps.max())
    distances = np.array([np.sqrt(np.mean((values - median) ** 2)) for values in train])
    return ChannelFacts(
        mean=float(steps.mean()),
        deviation=0.0 if constant else float(steps.std()),
        spread=0.0 if constant else float(np.median(distances[distances > 0])),
        farthest=int(places[distances.argmax()]) + 1,
        constant=constant,
        moves=constant and any((values != steps[0]).any() for values in others),
    )
