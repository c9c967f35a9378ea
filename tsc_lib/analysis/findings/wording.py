"""Small pieces of sentences."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd


def listed(items: Iterable[object]) -> str:
    """Items as prose: "a", "a and b", "a, b and c"."""
    *first, last = [str(item) for item in items] or ["none"]
    return f"{', '.join(first)} and {last}" if first else last


def bullets(items: Iterable[str]) -> str:
    """A Markdown list."""
    return "\n".join(f"- {item}" for item in items)


def number(value: float, digits: int = 1) -> str:
    """A rounded number that is never "-0"."""
    return f"{round(float(value), digits) + 0.0:.{digits}f}"


def span(values: pd.Series, digits: int = 1, unit: str = "") -> str:
    """The range of some values, or the value if there is one: "0.4 to 1.2 %"."""
    low, high = number(values.min(), digits), number(values.max(), digits)
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"


def interval(mean: float, low: float, high: float, digits: int = 1) -> str:
    """A mean with its interval, if it has one: "63.2 [61.0, 65.4]"."""
    if np.isnan(low):
        return number(mean, digits)
    return f"{number(mean, digits)} [{number(low, digits)}, {number(high, digits)}]"


def saving(percent: float) -> str:
    """What a strategy saves, or costs more: "saves 24.1 %"."""
    return f"saves {number(percent)} %" if percent >= 0 else f"costs {number(-percent)} % more"


def counted(count: int, thing: str, plural: str | None = None) -> str:
    """So many things: "1 run", "3 runs"."""
    return f"{count} {thing if count == 1 else plural or thing + 's'}"
