"""The series of one file, the numbers that a text file writes with commas between them, and gaps among them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tsc_lib.core.errors import UserError

MISSING = {"", "?", "nan", "na", "null", "none"}
LARGEST = float(np.finfo(np.float32).max)

FILL = "fill the gap or leave the series out, or make the model with '--gaps interpolate', which fills it"

GAPS = ("refuse", "interpolate")
"""What may be done about missing values."""


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


def parse_rows(rows: list[list[str]]) -> list[np.ndarray] | None:
    """The numbers of all rows, parsed at once, or None if there is anything in them that cannot be used.

    Parameters
    ----------
    rows : list of list of str
        The texts of each series' channels.

    Returns
    -------
    list of ndarray of float64, shape (channels, length), or None
    """
    shapes = [(len(row), row[0].count(",") + 1) for row in rows]
    texts = [text for row in rows for text in row]
    counts = [length for channels, length in shapes for _ in range(channels)]
    if "" in texts or counts != [text.count(",") + 1 for text in texts]:
        return None
    alike = len(set(shapes)) == 1
    try:
        table = np.loadtxt(texts if alike else [",".join(texts)], delimiter=",", comments=None, ndmin=2)
    except ValueError:
        return None
    if table.size != sum(counts) or not is_finite(table):
        return None
    if alike:
        return list(table.reshape(len(rows), *shapes[0]))
    parts = np.split(table[0], np.cumsum([channels * length for channels, length in shapes])[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def is_finite(values: np.ndarray) -> bool:
    """Whether all values are finite in float32."""
    return bool((np.abs(values) <= LARGEST).all())  # NaN compares false


def parse_cells(cells: list[str], name: str, gaps: str) -> np.ndarray:
    """The values of one channel, float64 (length,); those that are missing are NaN.

    Parameters
    ----------
    cells : list of str
        The values as written.
    name : str
        Names the place of a cell; ``{}`` in it stands for the cell's number.
    gaps : {"refuse", "interpolate"}
        Whether values may be missing.

    Raises
    ------
    UserError
        At the first cell that cannot be used.
    """
    values = []
    for position, cell in enumerate(cells, 1):
        where, shown = name.format(position), cell.strip()[:40]
        if shown.lower() in MISSING:
            if gaps == "refuse":
                raise UserError(f"{where} is missing ('{shown}'); {FILL}")
            values.append(math.nan)
            continue
        try:
            value = float(cell)
        except ValueError:
            raise UserError(f"{where} is not a number: '{shown}'") from None
        if not abs(value) <= LARGEST:
            raise UserError(f"{where} is infinite or too large for float32: '{shown}'")
        values.append(value)
    return np.array(values)


def interpolate(series: np.ndarray, where: str) -> np.ndarray:
    """A series (channels, length) with a straight line over every gap; at either end the nearest value is repeated.

    Raises
    ------
    UserError
        If all values of a channel are missing.
    """
    steps = np.arange(series.shape[1])
    channels = []
    for number, channel in enumerate(series, 1):
        known = ~np.isnan(channel)
        if not known.any():
            raise UserError(f"{where}: all values of channel {number} are missing; leave the series out")
        channels.append(np.interp(steps, steps[known], channel[known]))
    return np.stack(channels)
