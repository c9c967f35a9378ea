"""The sample of test series that a session runs on, saved for the child and cut into batches there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tsc_lib.benchmark.settings import BenchmarkSettings
from tsc_lib.core.errors import UserError
from tsc_lib.series.scaling import pad

MOST_CALLS = 8
"""Calls in a sweep at most. Short sweeps make short blocks, and within a short block the machine stays as it is."""


class Call(NamedTuple):
    """Arguments of one prediction."""

    x: NDArray[np.float32]  # (batch, channels, longest), zero-padded
    lengths: NDArray[np.int64] | None  # (batch,), None if the data set has equal length


def save_inputs(
    path: Path, series: Sequence[np.ndarray], *, equal_length: bool, settings: BenchmarkSettings | None = None
) -> None:
    """Choose the session's sample from the test series and write it as an ``.npz``.

    The series are chosen evenly over the lengths, and over the file where lengths are equal, so that a small sample has
    the whole set's distribution of lengths.

    Parameters
    ----------
    path : Path
        Where to write; ends in ``.npz``.
    series : sequence of ndarray of shape (channels, length_i)
        Scaled test series, in any order. All are kept if there are no more than ``settings.series``.
    equal_length : bool
        Whether the whole data set has equal length; otherwise predictors are given lengths.
    settings : BenchmarkSettings, optional
        Its `series` is the number to choose.
    """
    settings = settings or BenchmarkSettings()
    if not len(series):
        raise UserError("a benchmark needs at least one series to run on, but the sample is empty")
    chosen = draw_sample(series, settings.series)
    arrays = {f"x_{i}": np.asarray(x, np.float32) for i, x in enumerate(chosen)}
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, equal_length=np.array(equal_length), **arrays)


def load_inputs(path: Path) -> tuple[list[NDArray[np.float32]], bool]:
    """The series that `save_inputs` wrote, and whether the data set has equal length."""
    with np.load(path, allow_pickle=False) as file:
        return [file[f"x_{i}"] for i in range(len(file.files) - 1)], bool(file["equal_length"])


def make_calls(series: Sequence[NDArray[np.float32]], equal_length: bool, batch_size: int) -> list[Call]:
    """One sweep over the sample, which is sorted by length: calls of exactly `batch_size` series each.

    Where the sample does not fill a whole number of batches, some series are taken twice, so that no call is smaller
    than its batch size promises. Where it fills more than `MOST_CALLS`, fewer series are taken, again evenly.
    """
    count = count_in_sweep(len(series), batch_size)
    chosen = (
        choose_evenly(series, count)
        if count < len(series)
        else [series[i * len(series) // count] for i in range(count)]
    )
    calls = [Call(*pad(chosen[start : start + batch_size])) for start in range(0, count, batch_size)]
    return [Call(call.x, None) for call in calls] if equal_length else calls


def count_in_sweep(series: int, batch_size: int) -> int:
    """How many series one sweep over a sample of so many has."""
    return min(-(-series // batch_size), MOST_CALLS) * batch_size


def draw_sample(series: Sequence[np.ndarray], count: int) -> list[np.ndarray]:
    """`count` of the series, or all if there are fewer, sorted by length and evenly over the lengths."""
    return choose_evenly(sorted(series, key=lambda x: x.shape[1]), count)


def choose_evenly(series: Sequence[np.ndarray], count: int) -> list[np.ndarray]:
    """`count` of the series, or all if there are fewer, evenly spaced: the middle of each of `count` stretches."""
    n = len(series)
    return [series[(2 * i + 1) * n // (2 * count)] for i in range(count)] if count < n else list(series)
