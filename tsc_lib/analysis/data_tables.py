"""Tables of data sets: classes, lengths, examples."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from tsc_lib.analysis.references import class_name
from tsc_lib.data import Dataset

SPLITS = ("train", "valid", "test")


def class_counts(datasets: Mapping[str, Dataset]) -> pd.DataFrame:
    """Series of each class in each split: columns `dataset`, `split`, `class`, `series` and `share` (%)."""
    rows = []
    for dataset in datasets.values():
        for split in SPLITS:
            y = getattr(dataset, split).y
            for position, label in enumerate(dataset.classes):
                count = int((y == position).sum())
                share = 100 * count / max(1, len(y))
                rows.append((dataset.name, split, class_name(dataset.name, label), count, share))
    return pd.DataFrame(rows, columns=["dataset", "split", "class", "series", "share"])


def channel_spreads(dataset: Dataset) -> pd.DataFrame:
    """Values of each channel over the training series, as read: columns `channel`, `mean`, `deviation` and `spread`.

    ``spread`` is the usual distance of a series from the channel's median, which a few series do not decide on; see
    `tsc_lib.data.facts.ChannelFacts`.
    """
    rows = [(number, c.mean, c.deviation, c.spread) for number, c in enumerate(dataset.facts.channels, 1)]
    return pd.DataFrame(rows, columns=["channel", "mean", "deviation", "spread"])


def series_lengths(datasets: Mapping[str, Dataset]) -> pd.DataFrame:
    """Length of every series: columns `dataset`, `split` and `length` (time steps)."""
    parts = [
        pd.DataFrame({"dataset": dataset.name, "split": split, "length": getattr(dataset, split).lengths})
        for dataset in datasets.values()
        for split in SPLITS
    ]
    return pd.concat(parts, ignore_index=True)


def length_counts(lengths: pd.DataFrame) -> pd.DataFrame:
    """How many series of each split have each length: columns `dataset`, `split`, `length` and `count`."""
    return lengths.value_counts(["dataset", "split", "length"], sort=False).reset_index()


def example_series(dataset: Dataset, per_class: int = 2, seed: int = 0) -> pd.DataFrame:
    """Training series of each class, chosen by `seed` alone: columns `class`, `series`, `channel`, `step`, `value`."""
    rng = np.random.default_rng(seed)
    parts = []
    for position, label in enumerate(dataset.classes):
        members = np.flatnonzero(dataset.train.y == position)
        for index in sorted(rng.permutation(members)[:per_class]):
            for channel, values in enumerate(dataset.train.x[index]):
                names = {"class": class_name(dataset.name, label), "series": index, "channel": channel}
                parts.append(pd.DataFrame({**names, "step": range(len(values)), "value": values}))
    return pd.concat(parts, ignore_index=True)
