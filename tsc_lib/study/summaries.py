"""What tables need of a data set, kept in the store: reading an archive takes minutes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tsc_lib import data
from tsc_lib.core.files import Json
from tsc_lib.core.store import run_or_load
from tsc_lib.data import DataSpec
from tsc_lib.study.versions import version


@dataclass(frozen=True)
class DataSummary:
    """What is known of a data set without its series.

    Attributes
    ----------
    classes : tuple of str
        Its labels, in the order of their positions.
    test_in_train : ndarray of bool, shape (test series,)
        Which test series are also in the training file.
    traits : dict
        A row of `tsc_lib.data.describe`.
    """

    classes: tuple[str, ...]
    test_in_train: np.ndarray
    traits: Json


def summarize_data(spec: DataSpec) -> DataSummary:
    """Read a data set and sum it up, or load that.

    Raises
    ------
    UserError
        If a file is missing or unusable.
    """

    def work(folder: Path) -> Json:
        dataset = data.load(spec)
        copies = np.flatnonzero(dataset.facts.test_in_train).tolist()
        [traits] = data.describe(dataset).astype(object).to_dict("records")
        plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in traits.items()}
        return {"classes": dataset.classes, "test": len(dataset.test), "test_in_train": copies, "traits": plain}

    _, record = run_or_load("data", version("data"), spec.name, spec, work)
    copied = np.zeros(record["test"], dtype=bool)
    copied[record["test_in_train"]] = True
    return DataSummary(tuple(record["classes"]), copied, record["traits"])
