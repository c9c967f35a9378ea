"""The series of one file, and the numbers that a text file writes with commas between them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tsc_lib.errors import UserError

MISSING = {"", "?", "nan", "na", "null", "none"}
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Series:
    """The series of one file, in file order.

    Attributes
    ----------
    path : Path
        The file.
    x : list of numpy.ndarray
        One float64 array (channels, length) for each series.
    labels : list of str
        The label of each series, as written; empty if the file has none.
    lines : list of int
        The line of each series in the file, from 1; empty if the file is no text.
    """

    path: Path
    x: list[np.ndarray]
    labels: list[str]
    lines: list[int]

    @property
    def channels(self) -> int:
        return int(self.x[0].shape[0])

    def where(self, i: int) -> str:
        """The place of the series at position `i`, for messages."""
        return place(self.path, i + 1, self.lines[i]) if self.lines else f"{self.path}, series {i + 1}"


def place(path: Path, series: int, line: int) -> str:
    """A line of a file and the number of its series, for messages."""
    return f"{path}, line {line} (series {series})"


def numbers_of(texts: list[str]) -> list[np.ndarray] | None:
    """Every text's numbers, float64 (values,), parsed all at once; None if any value of any text cannot be used."""
    counts = np.array([text.count(",") + 1 for text in texts])
    joined = ",".join(texts).strip()  # numpy takes a blank at the end for the number -1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # before version 2.3 numpy warns of what it cannot read
        try:
            values = np.fromstring(joined, sep=",")
        except ValueError:
            return None
    if values.size != counts.sum() or not usable(values):
        return None
    ends = np.cumsum(counts)
    return [values[start:end] for start, end in zip(ends - counts, ends, strict=True)]


def usable(values: np.ndarray) -> bool:
    """Whether all values are finite in float32."""
    # NaN compares false, so this finds it as well.
    return bool((np.abs(values) <= LARGEST).all())


def bad_value(cells: list[str], name: str) -> UserError | None:
    """What is wrong with the first cell that cannot be used, if any.

    Parameters
    ----------
    cells : list of str
        The values as written.
    name : str
        Names the place of a cell; ``{}`` in it stands for the cell's number.
    """
    for position, cell in enumerate(cells, 1):
        where, shown = name.format(position), cell.strip()[:40]
        if shown.lower() in MISSING:
            return UserError(
                f"{where} is missing ('{shown}'); fill the gap or leave the series out, because missing values are not "
                "supported"
            )
        try:
            value = float(cell)
        except ValueError:
            return UserError(f"{where} is not a number: '{shown}'")
        if not abs(value) <= LARGEST:
            return UserError(f"{where} is infinite or too large for float32: '{shown}'")
    return None
