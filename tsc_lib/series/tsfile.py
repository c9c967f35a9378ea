"""A strict reader of the ``.ts`` text format, which says where a file is wrong.

A file is a header of ``@`` directives, then ``@data``, then one line for each series: the channels separated by ``:``,
the values of a channel by ``,``, the label last. Lines that start with ``#``, or ``%`` in older files, are comments.
The format is described at https://www.aeon-toolkit.org/en/stable/api_reference/data_format.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tsc_lib.core.errors import UserError
from tsc_lib.series.textfile import decode
from tsc_lib.series.values import Series, parse_rows, parse_series, place

COMMENTS = ("#", "%")

FLAGS = ("@timestamps", "@missing", "@univariate", "@equallength", "@classlabel", "@targetlabel")
"""Directives that are true or false."""

CHANNELS = ("@dimension", "@dimensions")


@dataclass
class _Header:
    """What a header states; None where it states nothing."""

    labelled: bool = True
    classes: str = ""
    channels: int | None = None
    univariate: bool | None = None
    equal_length: bool | None = None
    length: str | None = None


def parse(content: bytes, path: Path, *, labelled: bool = True, gaps: str = "refuse") -> Series:
    """Read the bytes of a ``.ts`` file.

    Parameters
    ----------
    content : bytes
        The whole file.
    path : Path
        Where it came from, for the messages.
    labelled : bool
        Whether every series needs its label. Otherwise the header may say that there are none, and labels may be
        unknown.
    gaps : {"refuse", "interpolate"}
        What to do about missing values.

    Returns
    -------
    Series
        At least one series; all have the same number of channels and only finite values.

    Raises
    ------
    UserError
        If the file is empty, cut short, without labels, or holds a value that is infinite, no number, or missing where
        that is refused; the message names the line and the series.
    """
    if not content.strip():
        raise UserError(f"{path} is empty; put the data set's file there again")
    lines = decode(content, path, COMMENTS)
    start, header = _read_header(lines, path, labelled)
    found = Series(path, [], [], [])
    rows: list[list[str]] = []
    for number, line in enumerate(lines[start:], start + 1):
        row = line.strip()
        if not row or row.startswith(COMMENTS):
            continue
        where = place(path, len(rows) + 1, number)
        cut_short = number == len(lines)  # a whole file ends with a line end, so what comes after it is empty
        hint = "; it is the last line and has no line end, so the file is probably cut short" if cut_short else ""
        channels, label = _split_row(row, header, where, hint, labelled)
        header.channels = header.channels or len(channels)
        rows.append(channels)
        found.lines.append(number)
        if header.labelled:
            found.labels.append(label)
        _check_length(rows, header, where, hint, found)
    if not rows:
        raise UserError(f"{path} has no series after its '@data' line; the file is probably cut short")
    found.x.extend(parse_rows(rows) or [_numbers(row, found.where(i), gaps) for i, row in enumerate(rows)])
    written = [_count(row) for row in rows]
    found.note_padding(written)
    if header.equal_length is False and header.length not in (None, str(max(written))):
        found.notes.append(
            f"{path}: '@seriesLength {header.length}' is ignored, since the header also says '@equalLength false'; the "
            f"longest series has {max(written)} values"
        )
    return found


def _read_header(lines: list[str], path: Path, labelled: bool) -> tuple[int, _Header]:
    """Return the number of header lines, ``@data`` included, and what the header states."""
    header = _Header()
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith(COMMENTS):
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
        if key in FLAGS and value not in ("true", "false"):
            raise UserError(f"{where}: '{words[0]}' must be true or false, not '{value}'")
        if key == "@timestamps" and value == "true":
            raise UserError(
                f"{where}: series with timestamps cannot be read; write the plain values and '@timestamps false'"
            )
        if key == "@targetlabel" and value == "true":
            raise UserError(f"{where}: this is a regression problem ('@targetLabel true'); choose a classification one")
        if key == "@classlabel":
            header.labelled = value == "true"
            if labelled and not header.labelled:
                raise UserError(
                    f"{where}: the series have no class labels ('@classLabel false'); a labelled file is needed"
                )
            header.classes = " ".join(words[2:])
        if key in CHANNELS:
            if not re.fullmatch("0*[1-9][0-9]{0,8}", value):
                raise UserError(f"{where}: '{words[0]}' must be a whole number of channels, not '{value}'")
            header.channels = int(value)
        if key == "@univariate":
            header.univariate = value == "true"
        if key == "@equallength":
            header.equal_length = value == "true"
        if key == "@serieslength":
            header.length = value.lstrip("0")
    raise UserError(f"{path} has no '@data' line; it is cut short, or is no .ts file")


def _split_row(row: str, header: _Header, where: str, hint: str, labelled: bool) -> tuple[list[str], str]:
    """Split a data line into the texts of its channels and its label."""
    *channels, label = (part.strip() for part in (row if header.labelled else f"{row}:?").split(":"))
    if not channels or "," in label:
        raise UserError(f"{where} does not end in ':' and a label{hint}; every series needs its class label")
    unknown = label.lower() in ("", "?", "nan")
    if unknown and labelled:
        raise UserError(f"{where} has no label after its last ':'{hint}; every series needs its class label")
    if header.univariate is not None and header.univariate != (len(channels) == 1):
        raise UserError(
            f"{where} has {len(channels)} channel(s), though the header says '@univariate "
            f"{str(header.univariate).lower()}'{hint}; mend the header, or the series"
        )
    if header.channels and len(channels) != header.channels:
        raise UserError(
            f"{where} has {len(channels)} channel(s) where {header.channels} are expected{hint}; "
            "every series needs the same channels"
        )
    # A label may hold spaces, which in the header also stand between labels.
    if not unknown and header.classes and f" {' '.join(label.split())} ".lower() not in f" {header.classes} ".lower():
        raise UserError(
            f"{where} has the label '{label}', which the header's '@classLabel' line does not list{hint}; "
            "mend the label or the header"
        )
    return channels, label


def _check_length(rows: list[list[str]], header: _Header, where: str, hint: str, found: Series) -> None:
    """Compare the length of the last series with what the header says."""
    if header.equal_length is False:
        return
    length, first = _count(rows[-1]), _count(rows[0])
    if header.length not in (None, str(length)):
        comma = "; numbers with decimal commas count twice, write points" if str(length // 2) == header.length else ""
        raise UserError(
            f"{where} has {length} values, though the header says '@seriesLength {header.length}'{comma}{hint}; mend "
            "the header, or the series"
        )
    if header.equal_length and length != first:
        raise UserError(
            f"{where} has {length} values where line {found.lines[0]} has {first}, though the header says "
            f"'@equalLength true'{hint}; mend the line, or say '@equalLength false'"
        )


def _count(channels: list[str]) -> int:
    """The number of values of a series, by its first channel."""
    return channels[0].count(",") + 1


def _numbers(channels: list[str], where: str, gaps: str) -> np.ndarray:
    """Turn the channels' texts into a finite float64 array (channels, length)."""

    def name(channel: int, step: int) -> str:
        return f"{where}: value {step + 1} of channel {channel + 1}"

    return parse_series([channel.split(",") for channel in channels], where, name, gaps)
