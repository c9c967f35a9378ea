"""The small style that values have in a notebook: a title, a remark and a table, all of it plain HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

_CELL = "padding: 0.15em 0.8em 0.15em 0; text-align: left; vertical-align: top; font-variant-numeric: tabular-nums"


def view(title: str, rows: Iterable[Sequence[object]], columns: Sequence[str] = (), remark: str = "") -> str:
    """A value as HTML, for its ``_repr_html_``.

    Parameters
    ----------
    title : str
        What it is, in bold.
    rows : iterable of sequences
        Whole numbers get separators of thousands; text is escaped.
    columns : sequence of str
        Titles of the columns; none for rows of a name and a value.
    remark : str
        A line under the title.

    Examples
    --------
    >>> print(view("T1", [("parameters", 180041)]))  # doctest: +ELLIPSIS
    <div><b>T1</b><table...><tr><td...>parameters</td><td...>180,041</td></tr></table></div>
    """
    head = "".join(f'<th style="{_CELL}">{escape(column)}</th>' for column in columns)
    body = "".join(f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in rows)
    below = f"<br><small>{escape(remark)}</small>" if remark else ""
    table = f'<table style="margin: 0.3em 0">{f"<tr>{head}</tr>" if head else ""}{body}</table>'
    return f"<div><b>{escape(title)}</b>{below}{table}</div>"


def _cell(value: object) -> str:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return f'<td style="{_CELL}">{escape(f"{value:,}" if whole else str(value))}</td>'
