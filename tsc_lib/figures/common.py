"""What several figures share: grids of panels, marks with intervals, legends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tsc_lib.figures.palette import QUIET, STRATEGY_COLOURS, STRATEGY_MARKERS, WIDTH
from tsc_lib.strategies import FAMILIES, TITLES


class Drawing(Figure):
    """A figure that a notebook shows as it is, without pyplot and its global state."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        content = BytesIO()
        self.savefig(content, format="png", dpi=2 * self.dpi)
        return content.getvalue(), {"width": round(self.get_figwidth() * self.dpi)}  # sharp on dense screens


def drawing(height: float) -> Drawing:
    """An empty figure of the report's width and of `height` inches."""
    return Drawing(figsize=(WIDTH, height), layout="constrained")


def panels(rows: int, columns: int, height: float, **options: Any) -> tuple[Figure, np.ndarray]:
    """An empty figure of the report's width with panels (rows, columns) of `height` inches each."""
    fig = drawing(height * rows + 0.4)
    return fig, fig.subplots(rows, columns, squeeze=False, **options)


def unique(column: pd.Series) -> list[Any]:
    """Distinct values in the order in which they come."""
    return list(column.dropna().unique())


def families_in(table: pd.DataFrame) -> list[str]:
    """The families of strategies that an annotated table holds, in the order of legends."""
    present = set(table.family)
    return [family for family in FAMILIES if family in present]


def mark(ax: Axes, x: Any, y: Any, *, across: bool = False, low: Any = None, high: Any = None, **options: Any) -> None:
    """Points with 95 % intervals, vertical ones unless `across`; a NaN interval is left out."""
    x, y = np.atleast_1d(np.asarray(x, float)), np.atleast_1d(np.asarray(y, float))
    error = None
    if low is not None:
        value = x if across else y
        ends = np.array([value - np.atleast_1d(low), np.atleast_1d(high) - value], float)
        error = np.nan_to_num(np.maximum(ends, 0))
    style: dict[str, Any] = {"linestyle": "none", "elinewidth": 1.2, "capsize": 0, "markersize": 5.5, **options}
    ax.errorbar(x, y, xerr=error if across else None, yerr=None if across else error, **style)


def handle(**options: Any) -> Line2D:
    """An entry for a legend."""
    return Line2D([], [], **{"linestyle": "none", "markersize": 6, **options})


def strategy_handles(families: Iterable[str], marker: str | None = None) -> list[Line2D]:
    """Legend entries in the colours of strategies, and in their markers unless told another."""
    return [
        handle(color=STRATEGY_COLOURS[f], marker=marker or STRATEGY_MARKERS[f], label=TITLES.get(f, f))
        for f in families
    ]


def legend_below(fig: Figure, handles: Sequence[Any], columns: int | None = None, title: str | None = None) -> None:
    """A legend under the whole figure."""
    fig.legend(
        handles=list(handles),
        loc="outside lower center",
        ncols=columns or min(len(handles), 5),
        title=title,
        handletextpad=0.5,
        columnspacing=1.4,
    )


def guide(ax: Axes, *, x: float | None = None, y: float = 0, **options: Any) -> None:
    """A thin grey line across a panel: upright at `x`, else level at `y`."""
    style = {"color": QUIET, "linewidth": 0.9, "zorder": 1, **options}
    if x is None:
        ax.axhline(y, **style)
    else:
        ax.axvline(x, **style)


def nothing(message: str) -> Figure:
    """A figure that says why there is nothing to draw."""
    fig = drawing(1.2)
    fig.text(0.5, 0.5, message, ha="center", va="center", color=QUIET, fontsize=10)
    return fig
