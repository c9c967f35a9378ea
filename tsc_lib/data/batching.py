"""Batches: equal lengths are stacked, unequal ones are padded with zeros and travel with their lengths."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tsc_lib.data.preprocess import Split
from tsc_lib.series.scaling import pad


class Batch(NamedTuple):
    """Some series of a split.

    Attributes
    ----------
    x : numpy.ndarray
        float32 (n, channels, longest): each series from time step 0, zeros after its end.
    lengths : numpy.ndarray or None
        Time steps of each series, int64 (n,); None if the whole data set has one length.
    index : numpy.ndarray
        Position of each series in the split, int64 (n,).
    """

    x: np.ndarray
    lengths: np.ndarray | None
    index: np.ndarray  # type: ignore[assignment]  # in place of tuple.index, which nobody needs here


def batches(
    split: Split, batch_size: int, *, equal_length: bool, rng: np.random.Generator | None = None
) -> Iterator[Batch]:
    """Go once through a split.

    Parameters
    ----------
    split : Split
        The series.
    batch_size : int
        Series in a batch; the last one may be smaller.
    equal_length : bool
        ``Dataset.equal_length``; if false, every batch says its lengths.
    rng : numpy.random.Generator, optional
        Shuffles, for training; series of similar length share a batch, so that little of it is padding. Without it the
        order is fixed, for evaluation: file order, or by length if the lengths differ.

    Yields
    ------
    Batch
        Every series is in exactly one; there is none of an empty split.
    """
    if not len(split):
        return
    lengths = split.lengths
    # The split alone decides on its order: another length in the test file must not reorder the training.
    if lengths.min() == lengths.max():
        order = np.arange(len(split)) if rng is None else rng.permutation(len(split))
    else:
        # Jittered lengths keep neighbours similar, and yet mix other series into a batch in every epoch. With less
        # jitter batches hold the same few classes each time (T1 on PLAID, one seed: .58 of validation, not .73).
        jitter = 1.0 if rng is None else np.exp2(rng.uniform(-1, 1, len(split)))
        order = np.argsort(lengths * jitter, kind="stable")
    chunks = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    if rng is not None and lengths.min() < lengths.max():
        rng.shuffle(chunks)
    for index in chunks:
        x, own = pad([split.x[i] for i in index])
        yield Batch(x, None if equal_length else own, index)
