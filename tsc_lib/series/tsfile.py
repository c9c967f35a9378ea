"""A strict reader of the ``.ts`` text format, which says where a file is wrong.

A file is a header of ``@`` directives, then ``@data``, then one line for each series: the channels separated by ``:``,
the values of a channel by ``,``, the label last. Lines that start with ``#``, or ``%`` in older files, are comments.
The format is described at https://www.aeon-toolkit.org/en/stable/api_reference/data_format.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tsc_lib.core.errors import UserError
from tsc_lib.series.values import Series, interpolate, parse_cells, parse_rows, place

COMMENTS = ("#", "%")


@dataclass
class _Header:
    labelled: bool = True
    classes: set[str] = field(default_factory=set)
    channels: int | None = None
    equal_length: bool = False
    length: int | None = None


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
    # A byte that is no UTF-8 may stand in a comment of an old file; anywhere else the checks below find it.
    text = content.decode("utf-8-sig", errors="replace")
    lines = text.split("\n")
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
        values = channels[0].count(",") + 1
        header.length = header.length or values
        if header.equal_length and values != header.length:
            raise UserError(
                f"{where} has {values} values where line {found.lines[0]} has {header.length}, "
                f"though the header says '@equalLength true'{hint}; mend the line, or say '@equalLength false'"
            )
        rows.append(channels)
        found.lines.append(number)
        if header.labelled:
            found.labels.append(label)
    if not rows:
        raise UserError(f"{path} has no series after its '@data' line; the file is probably cut short")
    found.x.extend(parse_rows(rows) or [_numbers(row, found.where(i), gaps) for i, row in enumerate(rows)])
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
        if key == "@timestamps" and value == "true":
            raise UserError(
                f"{where}: series with timestamps cannot be read; write the plain values and '@timestamps false'"
            )
        if key == "@targetlabel" and value == "true":
            raise UserError(f"{where}: this is a regression problem ('@targetLabel true'); choose a classification one")
        if key == "@classlabel":
            header.labelled = value != "false"
            if labelled and not header.labelled:
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


def _split_row(row: str, header: _Header, where: str, hint: str, labelled: bool) -> tuple[list[str], str]:
    """Split a data line into the texts of its channels and its label."""
    *channels, label = (part.strip() for part in (row if header.labelled else f"{row}:?").split(":"))
    if not channels or "," in label:
        raise UserError(f"{where} does not end in ':' and a label{hint}; every series needs its class label")
    unknown = label.lower() in ("", "?", "nan")
    if unknown and labelled:
        raise UserError(f"{where} has no label after its last ':'{hint}; every series needs its class label")
    if header.channels and len(channels) != header.channels:
        raise UserError(
            f"{where} has {len(channels)} channel(s) where {header.channels} are expected{hint}; "
            "every series needs the same channels"
        )
    if not unknown and header.classes and label.lower() not in header.classes:
        raise UserError(
            f"{where} has the label '{label}', which the header's '@classLabel' line does not list{hint}; "
            "mend the label or the header"
        )
    return channels, label


def _numbers(channels: list[str], where: str, gaps: str) -> np.ndarray:
    """Turn the channels' texts into a finite float64 array (channels, length)."""
    texts = [channel.split(",") for channel in channels]
    lengths = sorted({len(values) for values in texts})
    if len(lengths) > 1:
        raise UserError(
            f"{where} has channels of different lengths ({lengths[0]} and {lengths[-1]} values); "
            "all channels of a series need the same length"
        )
    values = [
        parse_cells(cells, f"{where}: value {{}} of channel {number}", gaps) for number, cells in enumerate(texts, 1)
    ]
    return interpolate(np.stack(values), where)
