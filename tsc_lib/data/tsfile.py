"""A strict reader of the ``.ts`` text format, which says where a file is wrong.

A file is a header of ``@`` directives, then ``@data``, then one line for each series: the channels separated by ``:``,
the values of a channel by ``,``, the label last. Lines that start with ``#`` are comments. The format is described at
https://www.aeon-toolkit.org/en/stable/api_reference/data_format.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tsc_lib.errors import UserError

MISSING = {"", "?", "nan", "na", "null", "none"}
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Series:
    """The labelled series of one file, in file order.

    Attributes
    ----------
    path : Path
        The file.
    x : list of numpy.ndarray
        One float64 array (channels, length) for each series.
    labels : list of str
        The label of each series, as written.
    lines : list of int
        The line of each series in the file, from 1.
    """

    path: Path
    x: list[np.ndarray]
    labels: list[str]
    lines: list[int]

    @property
    def channels(self) -> int:
        return int(self.x[0].shape[0])


@dataclass
class _Header:
    classes: set[str] = field(default_factory=set)
    channels: int | None = None
    equal_length: bool = False


def parse(content: bytes, path: Path) -> Series:
    """Read the bytes of a ``.ts`` file.

    Parameters
    ----------
    content : bytes
        The whole file.
    path : Path
        Where it came from, for the messages.

    Returns
    -------
    Series
        At least one series; all have the same number of channels and only finite values.

    Raises
    ------
    UserError
        If the file is empty, cut short, without labels, or holds a value that is missing, infinite or no number; the
        message names the line and the series.
    """
    if not content.strip():
        raise UserError(f"{path} is empty; put the data set's file there again")
    # A byte that is no UTF-8 may stand in a comment of an old file; anywhere else the checks below find it.
    text = content.decode("utf-8-sig", errors="replace")
    lines = text.split("\n")
    start, header = _read_header(lines, path)
    found = Series(path, [], [], [])
    for number, line in enumerate(lines[start:], start + 1):
        row = line.strip()
        if not row or row.startswith("#"):
            continue
        where = f"{path}, line {number} (series {len(found.x) + 1})"
        cut_short = number == len(lines)  # a whole file ends with a line end, so what comes after it is empty
        hint = "; it is the last line and has no line end, so the file is probably cut short" if cut_short else ""
        channels, label = _split_row(row, header, where, hint)
        values = _numbers(channels, where)
        header.channels = header.channels or len(channels)
        if header.equal_length and found.x and values.shape != found.x[0].shape:
            raise UserError(
                f"{where} has {values.shape[1]} values where line {found.lines[0]} has {found.x[0].shape[1]}, "
                f"though the header says '@equalLength true'{hint}; mend the line, or say '@equalLength false'"
            )
        found.x.append(values)
        found.labels.append(label)
        found.lines.append(number)
    if not found.x:
        raise UserError(f"{path} has no series after its '@data' line; the file is probably cut short")
    return found


def _read_header(lines: list[str], path: Path) -> tuple[int, _Header]:
    """Return the number of header lines, ``@data`` included, and what the header states."""
    header = _Header()
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        where = f"{path}, line {number}"
        if not words[0].startswith("@"):
            raise UserError(
                f"{where} is neither a comment nor a header line, and no '@data' line came before it; "
                "a .ts file needs its header"
            )
        key, value = words[0].lower(), " ".join(words[1:2]).lower()
        if key == "@data":
            return number, header
        if key == "@timestamps" and value == "true":
            raise UserError(
                f"{where}: series with timestamps cannot be read; write the plain values and '@timestamps false'"
            )
        if key == "@targetlabel" and value == "true":
            raise UserError(f"{where}: this is a regression problem ('@targetLabel true'); choose a classification one")
        if key == "@classlabel":
            if value == "false":
                raise UserError(
                    f"{where}: the series have no class labels ('@classLabel false'); a labelled file is needed"
                )
            header.classes = {word.lower() for word in words[2:]}
        if key == "@dimensions":
            if not value.isdecimal() or int(value) == 0:
                raise UserError(f"{where}: '@dimensions' must be a whole number of channels, not '{value}'")
            header.channels = int(value)
        if key == "@equallength":
            header.equal_length = value == "true"
    raise UserError(f"{path} has no '@data' line; it is cut short, or is no .ts file")


def _split_row(row: str, header: _Header, where: str, hint: str) -> tuple[list[str], str]:
    """Split a data line into the texts of its channels and its label."""
    *channels, label = (part.strip() for part in row.split(":"))
    if not channels or "," in label:
        raise UserError(f"{where} does not end in ':' and a label{hint}; every series needs its class label")
    if label.lower() in ("", "?", "nan"):
        raise UserError(f"{where} has no label after its last ':'{hint}; every series needs its class label")
    if header.channels and len(channels) != header.channels:
        raise UserError(
            f"{where} has {len(channels)} channel(s) where {header.channels} are expected{hint}; "
            "every series needs the same channels"
        )
    if header.classes and label.lower() not in header.classes:
        raise UserError(
            f"{where} has the label '{label}', which the header's '@classLabel' line does not list{hint}; "
            "mend the label or the header"
        )
    return channels, label


def _numbers(channels: list[str], where: str) -> np.ndarray:
    """Turn the channels' texts into a finite float64 array (channels, length)."""
    texts = [channel.split(",") for channel in channels]
    lengths = sorted({len(values) for values in texts})
    if len(lengths) > 1:
        raise UserError(
            f"{where} has channels of different lengths ({lengths[0]} and {lengths[-1]} values); "
            "all channels of a series need the same length"
        )
    try:
        numbers = np.array(texts, dtype=np.float64)
    except ValueError:
        raise _bad_value(texts, where) from None
    # NaN compares false, so this one line finds it as well as infinities and values beyond float32.
    if not (np.abs(numbers) <= LARGEST).all():
        raise _bad_value(texts, where)
    return numbers


def _bad_value(texts: list[list[str]], where: str) -> UserError:
    """Describe the first value that cannot be used."""
    for channel, values in enumerate(texts, 1):
        for position, value in enumerate(values, 1):
            place = f"{where}: value {position} of channel {channel}"
            if value.strip().lower() in MISSING:
                return UserError(
                    f"{place} is missing ('{value.strip()}'); fill the gap or leave the series out, because "
                    "missing values are not supported"
                )
            try:
                usable = abs(float(value)) <= LARGEST
            except ValueError:
                return UserError(f"{place} is not a number: '{value.strip()[:40]}'")
            if not usable:
                return UserError(f"{place} is infinite or too large for float32: '{value.strip()[:40]}'")
    return UserError(f"{where} holds a value that cannot be read as a number")
