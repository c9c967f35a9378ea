"""From raw series to scaled train, validation and test splits, in which nothing of the test set has a say."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from tsc_lib.core.errors import UserError
from tsc_lib.core.html import view
from tsc_lib.data.facts import Facts, find_facts
from tsc_lib.data.folds import hold_out, make_folds
from tsc_lib.data.ucr import DataSpec, read
from tsc_lib.series.scaling import Scaler
from tsc_lib.series.values import Series, is_number


@dataclass(frozen=True)
class Split:
    """Series and their classes.

    Attributes
    ----------
    x : list of numpy.ndarray
        One float32 array (channels, length) for each series, scaled.
    y : numpy.ndarray
        The class of each series, int64 (n,), as a position in ``Dataset.classes``.
    """

    x: list[np.ndarray]
    y: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """The length of each series in time steps, int64 (n,)."""
        return np.array([series.shape[1] for series in self.x], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Dataset:
    """A classification problem, ready to train on; every split is in file order.

    Attributes
    ----------
    name : str
        The problem's name.
    classes : tuple of str
        The labels of the training file in natural order (2 before 10).
    channels : int
        Channels of every series.
    equal_length : bool
        Whether all series, the test set's included, have one length.
    train, valid, test : Split
        The training file without the series that are held out, those held out for validation, and the test file.
    facts : Facts
        What is to be known of the series as they were read.
    scaler : Scaler
        What was done to every series.
    kept : Split
        Series of the training file that neither train nor choose anything; none, unless `DataSpec.folds` says so.
    """

    name: str
    classes: tuple[str, ...]
    channels: int
    equal_length: bool
    train: Split = field(repr=False)
    valid: Split = field(repr=False)
    test: Split = field(repr=False)
    facts: Facts = field(repr=False)
    scaler: Scaler
    kept: Split = field(repr=False)

    @property
    def longest(self) -> int:
        """Time steps of the longest series, the test set's included."""
        return int(max(max(split.lengths, default=0) for split in (self.train, self.valid, self.kept, self.test)))

    def _repr_html_(self) -> str:
        [facts] = describe(self).drop(columns="dataset").to_dict("records")
        rows = [(key.replace("_", " "), f"{v:.3g}" if isinstance(v, float) else v) for key, v in facts.items()]
        return view(self.name, rows, remark=f"Classes: {', '.join(self.classes)}")


@lru_cache(maxsize=8)
def load(spec: DataSpec) -> Dataset:
    """Read, check, split and scale a data set.

    Parameters
    ----------
    spec : DataSpec
        From `resolve`.

    Returns
    -------
    Dataset
        Shared between callers in one process: do not change its arrays.

    Raises
    ------
    UserError
        If a file is missing or unusable, if train and test do not fit each other, or if there is only one class.
    """
    train, test = read(spec)
    classes = tuple(sorted(set(train.labels), key=natural_key))
    _check(train, test, classes)
    return prepare(spec, train, test, classes)


def prepare(spec: DataSpec, train: Series, test: Series, classes: tuple[str, ...]) -> Dataset:
    """Split and scale series that were read and checked.

    Parameters
    ----------
    spec : DataSpec
        The problem's name, and how to split and scale.
    train, test : Series
        With labels; there may be no test series.
    classes : tuple of str
        All labels, in the order of their positions.

    Raises
    ------
    UserError
        If the scaling is unknown, or the validation fraction impossible.
    """
    held_out = hold_out(train, classes, spec.valid_fraction, spec.split_seed, spec.validation)
    kept = _keep(train, held_out, spec)
    fitted = ~(held_out | kept)
    scaler = Scaler.fit(spec.scaling, [train.x[i] for i in np.flatnonzero(fitted)])

    def split(series: Series, chosen: np.ndarray) -> Split:
        index = np.flatnonzero(chosen)
        x = [scaler(series.x[i], series.where(i)) for i in index]
        return Split(x, np.array([classes.index(series.labels[i]) for i in index], dtype=np.int64))

    return Dataset(
        name=spec.name,
        classes=classes,
        channels=train.channels,
        equal_length=len({x.shape for x in train.x + test.x}) == 1,
        train=split(train, fitted),
        valid=split(train, held_out),
        test=split(test, np.ones(len(test.x), dtype=bool)),
        facts=find_facts(train, test, ~fitted, scaler),
        scaler=scaler,
        kept=split(train, kept),
    )


def _keep(train: Series, held_out: np.ndarray, spec: DataSpec) -> np.ndarray:
    """Which series are kept out of train and of validation: one of the folds, but for classes that lie in it alone."""
    kept = np.zeros(len(held_out), dtype=bool)
    if not spec.folds:
        return kept
    rest = np.flatnonzero(~held_out)
    labels = np.array(train.labels)[rest]
    in_fold = make_folds([train.x[i] for i in rest], labels, spec.folds) == spec.fold
    kept[rest] = in_fold & np.isin(labels, labels[~in_fold])
    return kept


def natural_key(label: str) -> tuple[Any, ...]:
    """Sort key that puts numbers in numeric order, also inside words: 2 before 10, ``day9`` before ``day10``."""
    if is_number(label):
        return (0, float(label), label)
    parts = re.split("0*([0-9]+)", label)  # of two numbers without zeros before them, the longer one is larger
    return (1, [(len(part) if i % 2 else 0, part) for i, part in enumerate(parts)], label)


def _check(train: Series, test: Series, classes: tuple[str, ...]) -> None:
    """Refuse what cannot be learned or cannot be tested."""
    if len(classes) < 2:
        raise UserError(f"{train.path} holds only one class ('{classes[0]}'); a classifier needs at least two")
    if train.channels != test.channels:
        raise UserError(
            f"{test.path} has {test.channels} channel(s) and {train.path.name} has {train.channels}; they must agree"
        )
    for series, (label, line) in enumerate(zip(test.labels, test.lines, strict=True), 1):
        if label not in classes:
            raise UserError(
                f"{test.path}, line {line} (series {series}) has the label '{label}', which {train.path.name} does not "
                f"hold; its labels are {', '.join(classes)}"
            )


def describe(dataset: Dataset) -> pd.DataFrame:
    """Return a table of one row that describes a data set.

    Parameters
    ----------
    dataset : Dataset
        From `load`.

    Returns
    -------
    pandas.DataFrame
        Number of series in each split, classes, channels, lengths in time steps over all splits, the share of the
        largest class in the training file, the series of the training file (``repeated_in_train``) and of the test file
        (``repeated_in_test``) that repeat an earlier one of the same file, and the test series that also are in the
        training file (``test_in_train``); see `Facts`.
    """
    lengths = np.concatenate([dataset.train.lengths, dataset.valid.lengths, dataset.test.lengths])
    counts = np.bincount(np.concatenate([dataset.train.y, dataset.valid.y]))
    facts = dataset.facts
    return pd.DataFrame(
        {
            "dataset": [dataset.name],
            "train": [len(dataset.train)],
            "valid": [len(dataset.valid)],
            "test": [len(dataset.test)],
            "classes": [len(dataset.classes)],
            "channels": [dataset.channels],
            "shortest": [int(lengths.min())],
            "median_length": [float(np.median(lengths))],
            "longest": [int(lengths.max())],
            "equal_length": [dataset.equal_length],
            "largest_class_share": [counts.max() / counts.sum()],
            "repeated_in_train": [facts.repeated_in_train],
            "repeated_in_test": [facts.repeated_in_test],
            "test_in_train": [int(facts.test_in_train.sum())],
        }
    )
