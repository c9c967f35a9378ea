"""Small pieces of sentences."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd


def join_items(items: Iterable[object]) -> str:
    """Items as prose: "a", "a and b", "a, b and c"."""
    *first, last = [str(item) for item in items] or ["none"]
    return f"{', '.join(first)} and {last}" if first else last


def bullet_list(items: Iterable[str]) -> str:
    """A Markdown list."""
    return "\n".join(f"- {item}" for item in items)


def markdown_table(head: str, rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table.

    Parameters
    ----------
    head : str
        Titles between bars, such as "data set | points lost:"; what ends in a colon is a column of numbers.
    rows : iterable of iterables
        The cells.
    """
    titles = [title.strip() for title in head.split("|")]
    rule = ["---:" if title.endswith(":") else "---" for title in titles]
    lines = [[title.removesuffix(":") for title in titles], rule, *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def format_number(value: float, digits: int = 1) -> str:
    """A rounded number that is never "-0"."""
    return f"{value:z.{digits}f}"


def format_range(values: pd.Series, digits: int = 1) -> str:
    """The range of some values, or the value if there is one: "0.4 to 1.2"."""
    low, high = format_number(values.min(), digits), format_number(values.max(), digits)
    return low if low == high else f"{low} to {high}"


def format_gain(points: pd.Series, digits: int = 0) -> str:
    """How much more accurate something is, in points.

    Examples
    --------
    >>> format_gain(pd.Series([2.2, 17.4])), format_gain(pd.Series([-3.0, -1.2])), format_gain(pd.Series([-1.0, 2.0]))
    ('2 to 17 points more accurate', '1 to 3 points less accurate', 'between 1 point less and 2 points more accurate')
    """
    if points.min() < 0 < points.max():
        less, more = format_number(-points.min(), digits), format_number(points.max(), digits)
        return f"between {less} point{'s' * (less != '1')} less and {more} point{'s' * (more != '1')} more accurate"
    return f"{format_range(points.abs(), digits)} points {'more' if points.min() >= 0 else 'less'} accurate"


def format_interval(mean: float, low: float, high: float, digits: int = 1) -> str:
    """A mean with its interval, if it has one: "63.2 [61.0, 65.4]"."""
    if np.isnan(low):
        return format_number(mean, digits)
    return f"{format_number(mean, digits)} [{format_number(low, digits)}, {format_number(high, digits)}]"


def format_estimate(row: object, value: str, digits: int = 1) -> str:
    """`format_interval` of a value of a table's row, whose ends are ``<value>_low`` and ``<value>_high``."""
    mean, low, high = (getattr(row, f"{value}{end}") for end in ("", "_low", "_high"))
    return format_interval(mean, low, high, digits)


def format_saving(percent: float) -> str:
    """What a strategy saves, or costs more: "saves 24.1 %"."""
    return f"saves {format_number(percent)} %" if percent >= 0 else f"costs {format_number(-percent)} % more"


def pluralize(count: int, thing: str, plural: str | None = None) -> str:
    """So many things: "1 run", "3 runs"."""
    return f"{count} {thing if count == 1 else plural or thing + 's'}"


def name_runs(runs: pd.DataFrame) -> str:
    """Trained models as prose: "T2 on PLAID (seed 0) and T1 on PLAID (seed 1)"."""
    return join_items(f"{run.model} on {run.dataset} (seed {run.seed})" for run in runs.itertuples())
