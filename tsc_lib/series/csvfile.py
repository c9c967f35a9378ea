"""CSV files of series: what of their lines and columns are values, and what a header, an index or labels.

Nothing in such a file says so. What other programs write is told by the model's length and labels, by names in the
header, and by how numbers are written. What stays ambiguous is refused: a header that is taken for a series would only
be one prediction more.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tsc_lib.core.errors import UserError
from tsc_lib.series.textfile import decode
from tsc_lib.series.values import Series, hint, is_missing, is_number, parse_rows, parse_series

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}

INDEX_NAMES = {"", "unnamed: 0", "index", "id", "series"}
LABEL_NAMES = {"label", "labels", "class", "classes", "target", "y"}
"""What a header calls columns that hold no values, in lower case; pandas leaves the index without a name."""

ADVICE = "give one in each line, its values separated by commas"

BEGINS_AS_NUMBER = re.compile(r"[+-]?[.]?[0-9]+(?![0-9]*[-/:])", re.ASCII)
"""As values with a unit do; dates and times, which name columns, do not."""

LONG_AXIS = 8
"""Numbers that rise or fall all the way are taken for a time axis if there are so many."""

LABEL_COLUMNS = ("first", "last", "none")


@dataclass(frozen=True)
class CsvLayout:
    """What of a CSV file holds no values; None is to be found out.

    Attributes
    ----------
    header : bool, optional
        Whether the first line names the columns.
    index_column : bool, optional
        Whether the first column numbers or names the series.
    label_column : {"first", "last", "none"}, optional
        Which column holds labels; the first is the one after the index, if there is one.
    """

    header: bool | None = None
    index_column: bool | None = None
    label_column: str | None = None


FIND_OUT = CsvLayout()


@dataclass(frozen=True)
class _Row:
    line: int
    cells: list[str]


def read_csv(
    content: bytes,
    path: Path,
    gaps: str = "refuse",
    layout: CsvLayout = FIND_OUT,
    length: int | None = None,
    labels: tuple[str, ...] = (),
) -> Series:
    """Read the bytes of a ``.csv`` file: one series of one channel in each line; lines may differ in length.

    Parameters
    ----------
    content : bytes
        The whole file.
    path : Path
        Where it came from, for the messages.
    gaps : {"refuse", "interpolate"}
        What to do about missing values before the end of a series.
    layout : CsvLayout
        What is known of lines and columns.
    length : int, optional
        The only length of series that will do, in time steps.
    labels : tuple of str
        The labels that series may have, by which a column of labels is known.

    Raises
    ------
    UserError
        If the file holds no series, it is not clear what its lines and columns are, or a cell is no number; the message
        names line and column, or the option that helps.
    """
    if layout.label_column not in (None, *LABEL_COLUMNS):
        raise UserError(f"unknown label column '{layout.label_column}'; choose first, last or none")
    rows, separator = _split(decode(content, path), path)
    header = rows[:1] if _has_header(rows, layout, labels, path) else []
    rows = rows[len(header) :]
    for row in rows:
        if header and row.cells == header[0].cells:
            raise UserError(f"{path}, line {row.line} repeats the header; leave the line out")
    if not rows:
        raise UserError(f"{path} holds no series; {ADVICE}")
    index, label = _find_columns(header, rows, layout, length, labels, path)
    first = index + (label == "first")
    found = Series(path, [], [], [row.line for row in rows])
    values = [row.cells[first : len(row.cells) - (label == "last")] for row in rows]
    for i, cells in enumerate(values):
        if not cells:
            raise UserError(f"{found.where(i)} holds no values; leave the line out")
    if label != "none":
        found.labels.extend(row.cells[first - 1 if label == "first" else -1].strip() for row in rows)
    found.x.extend(_numbers(values, found, first, gaps))
    if length != 1 and len(rows) > 1 and {len(cells) for cells in values} == {1}:
        raise UserError(f"{path} has one value in each line; write all values of a series in one line")
    found.note_padding([len(cells) for cells in values])
    found.notes.extend(_notes(path, separator, header, layout, index, label))
    return found


def _split(lines: list[str], path: Path) -> tuple[list[_Row], str]:
    """The cells of all lines that are not blank, and what separates them."""
    filled = [line for line in lines if line.strip()]
    try:
        separator = max(
            SEPARATORS, key=lambda each: _share_of_numbers(next(csv.reader(filled[-1:], delimiter=each), []))
        )
        reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
        rows = [_Row(reader.line_num, cells) for cells in reader if "".join(cells).strip() or len(cells) > 1]
    except csv.Error:  # what it says may quote a tab
        raise UserError(f"{path} is no CSV file: a quote stands within a cell, or is not closed; mend it") from None
    if not rows:
        raise UserError(f"{path} holds no series; {ADVICE}")
    return rows, separator


def _share_of_numbers(cells: list[str]) -> float:
    """The share of cells that hold numbers, be it with a decimal comma, which a later message is about."""
    return sum(is_number(cell.replace(",", ".")) for cell in cells) / len(cells) if cells else 0.0


def _has_header(rows: list[_Row], layout: CsvLayout, labels: tuple[str, ...], path: Path) -> bool:
    """Whether the first line names the columns."""
    if layout.header is not None:
        return layout.header
    first, below = [cell.strip() for cell in _without_end(rows[0].cells)], [row.cells for row in rows[1:]]
    numbers = [cell for cell in first if is_number(cell)]
    others = {cell for cell in first if not is_number(cell)}
    if others & set(labels):
        return False
    if not numbers:
        if not any(first) or not all(cell == "" or _is_name(cell) for cell in first):
            return False
        names = [cell for cell in first if cell.lower() not in INDEX_NAMES | LABEL_NAMES]
        if names and all(map(BEGINS_AS_NUMBER.match, names)):
            raise UserError(
                f"{path}, line {rows[0].line} holds no numbers, though its cells begin so; mend the line, or say "
                "with --header that it names the columns"
            )
        return True
    if any(cell and is_missing(cell) for cell in others):
        return False
    if _counts(numbers) and any(cell.lower() in INDEX_NAMES | LABEL_NAMES for cell in others):
        return True
    if len(numbers) < 2 or len(others) > 2 or not (_counts(numbers) or _is_axis(numbers)):
        return False
    fractions = any(is_number(cell) and not _is_whole(cell) for cells in below for cell in cells)
    alike = any(_is_axis(cells[-len(numbers) :]) for cells in below[:3])
    if not _counts(numbers) and alike:
        return False
    if _counts(numbers) and len(numbers) > 2 and fractions and not alike:
        return True
    raise UserError(
        f"{path}, line {rows[0].line} rises or falls all the way, as the numbers of columns in a header do; say "
        "with --header that it is one, or with --no-header that it is a series"
    )


def _find_columns(
    header: list[_Row], rows: list[_Row], layout: CsvLayout, length: int | None, labels: tuple[str, ...], path: Path
) -> tuple[bool, str]:
    """Whether the first column is an index, and which column holds labels."""
    cells = [_without_end(row.cells) for row in rows]
    widths = {len(row) for row in cells}
    extra = min(widths) - length if length and len(widths) == 1 else None
    index, label = bool(layout.index_column), layout.label_column or "none"
    if None not in (layout.index_column, layout.label_column) or (length and extra not in (0, 1, 2)):
        return index, label  # the lengths that come out are compared with the model's
    names = [name.strip().lower() for row in header for name in row.cells]
    if names and {len(names) + 1} == widths:
        names.insert(0, "")  # as R writes an index
    possible = [
        (index, label)
        for index in (False, True)
        for label in LABEL_COLUMNS
        if layout.index_column in (None, index) and layout.label_column in (None, label)
        if extra is None or index + (label != "none") == extra
    ]
    roles = {column: _roles(column, names, cells, labels, extra) for column in (0, 1, -1)}

    def fits(index: bool, label: str) -> bool:
        assigned = {-1: "values", **dict(enumerate(["index"] * index + ["label"] * (label == "first") + ["values"]))}
        if label == "last":
            assigned[-1] = "label"
        if layout.index_column:
            del assigned[0]
        if label == layout.label_column and label != "none":
            del assigned[-1 if label == "last" else int(index)]
        return all(role in roles.get(column, {role}) for column, role in assigned.items())

    fitting = [each for each in possible if fits(*each)]
    if len(fitting) == 1:
        return fitting[0]
    why = (
        "since the first or the last column may be an index or labels"
        if extra is None
        else f"since lines have {min(widths)} cells, and the model reads {length} values"
    )
    raise UserError(
        f"{path}: it is not clear which columns hold values, {why}; say with --index-column or --no-index-column "
        "whether the first is an index, and with --label-column first, last or none where labels are"
    )


def _roles(
    column: int, columns: list[str], cells: list[list[str]], labels: tuple[str, ...], extra: int | None
) -> set[str]:
    """What the first, the second or the last column may be: values, an index, labels, or none of them for sure."""
    name = columns[column] if len(columns) > max(column, 0) else "?"
    if name in LABEL_NAMES:
        return {"label"}
    if column == 0 and name in INDEX_NAMES:
        return {"index"}
    found = [row[min(column, len(row) - 1)].strip() for row in cells]
    values = {"values"}
    if name != "?" and not is_number(name) and any(map(is_number, columns)):
        values = set()  # a name beside the numbers of steps
    known, counts = set(found) <= set(labels), column == 0 and _counts(found)
    names = sum(map(_is_name, found))
    if names and known:
        return {"label"}
    if names == len(found):
        if extra:
            return {"index"}
        return values if extra == 0 or names == 1 else set()  # a value that is no number is told later
    if extra is not None:
        return values | ({"label"} if known else set()) | ({"index"} if counts else set())
    inner = [cell for row in cells for cell in row[2:-1]]
    others = inner or [cell for row in cells for cell in (row[:-1] if column == -1 else row[column + 1 :])]
    whole = all(map(_is_whole, found)) and sum(map(_is_whole, others)) < 0.1 * len(others)
    apart = whole and (len(found) > 1 or known or counts)
    return set() if apart or (len(found) > 1 and (known or counts)) else values


def _is_name(cell: str) -> bool:
    """Whether a cell is neither a value nor likely to be meant as one."""
    try:
        float(cell)
    except ValueError:
        return not (is_missing(cell) or hint(cell))
    return False


def _counts(cells: Sequence[str]) -> bool:
    """Whether cells are 0, 1, 2 and so on, or begin with 1."""
    return any(list(cells) == [str(start + i) for i in range(len(cells))] for start in (0, 1))


def _is_axis(cells: Sequence[str]) -> bool:
    """Whether at least three cells are numbers in even steps, or many rise or fall all the way."""
    if len(cells) < 3 or not all(map(is_number, cells)):
        return False
    steps = np.diff([float(cell) for cell in cells])
    even = bool(steps[0] != 0 and np.allclose(steps, steps[0], rtol=1e-6, atol=0))
    return even or (len(cells) >= LONG_AXIS and bool((steps > 0).all() or (steps < 0).all()))


def _is_whole(cell: str) -> bool:
    """Whether a cell is written as a whole number."""
    return is_number(cell) and cell.strip().lstrip("+-").isdigit()


def _without_end(cells: list[str]) -> list[str]:
    """Cells up to the last that is not missing; all if there is none."""
    end = next((i for i in range(len(cells), 0, -1) if not is_missing(cells[i - 1])), len(cells))
    return cells[:end]


def _numbers(values: list[list[str]], found: Series, first: int, gaps: str) -> list[np.ndarray]:
    """Series (1, length) of cells; `first` is the number of columns before them."""
    texts = [",".join(cells) for cells in values]
    # A decimal comma would make two values of one.
    plain = all(text.count(",") + 1 == len(cells) for text, cells in zip(texts, values, strict=True))
    parsed = parse_rows([[text] for text in texts]) if plain else None
    if parsed is not None:
        return parsed

    def parse(i: int) -> np.ndarray:
        where = found.where(i)
        return parse_series([values[i]], where, lambda _, step: f"{where}, column {first + step + 1}", gaps)

    return [parse(i) for i in range(len(values))]


def _notes(path: Path, separator: str, header: list[_Row], layout: CsvLayout, index: bool, label: str) -> Iterator[str]:
    """What was found out about lines and columns."""
    found = []
    if separator != ",":
        found.append(f"{SEPARATORS[separator]} as separators")
    if header and layout.header is None:
        found.append(f"line {header[0].line} as a header")
    if index and layout.index_column is None:
        found.append("column 1 as an index")
    if label != "none" and layout.label_column is None:
        found.append(f"the {'second' if index and label == 'first' else label} column as labels")
    if found:
        yield f"{path} is read with {', '.join(found)}"
