"""The series of one file, the numbers that a text file writes with commas between them, and gaps among them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tsc_lib.core.errors import UserError

MISSING = {"", "?", "nan", "-nan", "na", "null", "none"}
LARGEST = float(np.finfo(np.float32).max)

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
"""A number as every program writes it; Python would take 1_000, and digits of other scripts, for one as well."""

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
    notes : list of str
        What a person should know of how the file was read; shown once the series are of use.
    padded : set of int
        Positions of the series whose end was written as missing values.
    """

    path: Path
    x: list[np.ndarray]
    labels: list[str]
    lines: list[int]
    notes: list[str] = field(default_factory=list)
    padded: set[int] = field(default_factory=set)

    @property
    def channels(self) -> int:
        return int(self.x[0].shape[0])

    def where(self, i: int) -> str:
        """The place of the series at position `i`, for messages."""
        return place(self.path, i + 1, self.lines[i]) if self.lines else f"{self.path}, series {i + 1}"

    def note_padding(self, written: Sequence[int]) -> None:
        """Note which series end before the values that were written for them, `written` steps each."""
        self.padded.update(i for i, steps in enumerate(written) if self.x[i].shape[1] < steps)
        lengths = sorted({self.x[i].shape[1] for i in self.padded})
        if lengths:
            steps = f"{lengths[0]} to {lengths[-1]}" if len(lengths) > 1 else f"{lengths[0]}"
            self.notes.append(
                f"{self.path}: {len(self.padded)} of {len(written)} series end in missing values, which are taken for "
                f"padding and left out; they have {steps} steps"
            )


def place(path: Path, series: int, line: int) -> str:
    """A line of a file and the number of its series, for messages."""
    return f"{path}, line {line} (series {series})"


def is_number(cell: str) -> bool:
    """Whether a cell holds a number."""
    return NUMBER.fullmatch(cell.strip()) is not None


def is_missing(cell: str) -> bool:
    """Whether a cell stands for a missing value."""
    return cell.strip().lower() in MISSING


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
    if table.size != sum(counts) or not (np.abs(table) <= LARGEST).all():  # NaN compares false
        return None
    if alike:
        return list(table.reshape(len(rows), *shapes[0]))
    parts = np.split(table[0], np.cumsum([channels * length for channels, length in shapes])[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def parse_series(cells: list[list[str]], where: str, name: Callable[[int, int], str], gaps: str) -> np.ndarray:
    """The values of one series, float64 (channels, length), without gaps and without padding at its end.

    Parameters
    ----------
    cells : list of list of str
        The values of each channel as written.
    where : str
        Names the place of the series.
    name : callable
        Names the place of a value, from the positions of its channel and step.
    gaps : {"refuse", "interpolate"}
        Whether values may be missing before the end.

    Raises
    ------
    UserError
        If the channels differ in length, or at the first cell that cannot be used.
    """
    lengths = sorted({len(values) for values in cells})
    if len(lengths) > 1:
        raise UserError(
            f"{where} has channels of different lengths ({lengths[0]} and {lengths[-1]} values); "
            "all channels of a series need the same length"
        )
    values = [[_parse(cell, name, i, step) for step, cell in enumerate(row)] for i, row in enumerate(cells)]

    def sentence(channel: int, step: int) -> str:
        return f"{name(channel, step)} is missing ('{cells[channel][step].strip()}')"

    return close_gaps(np.array(values), where, sentence, gaps)


def _parse(cell: str, name: Callable[[int, int], str], channel: int, step: int) -> float:
    if is_number(cell):
        value = float(cell)
        if abs(value) <= LARGEST:
            return value
    elif is_missing(cell):
        return math.nan
    elif cell.strip().lower().lstrip("+-") not in ("inf", "infinity"):
        raise UserError(f"{name(channel, step)} is not a number: {cell.strip()[:40]!r}{hint(cell)}")
    raise UserError(f"{name(channel, step)} is infinite or too large for float32: {cell.strip()[:40]!r}")


def hint(cell: str) -> str:
    """What a cell that is no number probably means."""
    if re.fullmatch(r"\s*[+-]?\d+,\d+\s*", cell):
        return "; write decimal points, not commas"
    if len(cell.split()) > 1 and all(map(is_number, cell.split())):
        return "; write commas between the values"
    return ""


def close_gaps(series: np.ndarray, where: str, sentence: Callable[[int, int], str], gaps: str) -> np.ndarray:
    """A series (channels, length) without the missing values at its end, and with a line over every gap before.

    Steps at the end that are missing in all channels are how archives pad series to one length. At the start of a
    channel, and at its end where another channel goes on, the nearest value is repeated.

    Parameters
    ----------
    series : ndarray of float64, shape (channels, length)
        Missing values are NaN.
    where : str
        Names the place of the series.
    sentence : callable
        What to say of a missing value, from the positions of its channel and step.
    gaps : {"refuse", "interpolate"}
        Whether values may be missing before the end.

    Raises
    ------
    UserError
        If values are missing where that is refused, or all values of a channel.
    """
    missing = np.isnan(series)
    if not missing.any():
        return series
    ended = np.flatnonzero(~missing.all(axis=0))
    if ended.size:
        series, missing = series[:, : ended[-1] + 1], missing[:, : ended[-1] + 1]
    if gaps == "refuse" and missing.any():
        raise UserError(f"{sentence(*map(int, np.argwhere(missing)[0]))}; {FILL}")
    steps = np.arange(series.shape[1])
    channels = []
    for number, (channel, gap) in enumerate(zip(series, missing, strict=True), 1):
        if gap.all():
            raise UserError(f"{where}: all values of channel {number} are missing; leave the series out")
        channels.append(np.interp(steps, steps[~gap], channel[~gap]))
    return np.stack(channels)
