"""What several figures share: grids of panels, marks and bars with intervals, axes, legends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from textwrap import fill
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import Locator, LogLocator, NullFormatter, StrMethodFormatter

from tsc_lib.analysis.strategies import FAMILIES, TITLES
from tsc_lib.figures.palette import INTERVAL, QUIET, STRATEGY_COLOURS, STRATEGY_MARKERS, WIDTH

Line = TypeVar("Line")


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


def grid(
    datasets: Sequence[str],
    lines: Mapping[Line, str],
    height: float | Sequence[float],
    *,
    xlabel: str = "",
    below: float = 0,
    **options: Any,
) -> tuple[Figure, list[tuple[Axes, str, Line]]]:
    """A column of panels for every data set, its name above, and a row for every line, its label at the left.

    Parameters
    ----------
    datasets : sequence of str
        Names, for the columns.
    lines : mapping
        What the rows show, such as models, and the label of each.
    height : float or sequence of float
        Inches of a panel, or of those of each line.
    xlabel : str
        Label under the lowest panels.
    below : float
        Inches kept free under them, for long tick labels.
    **options
        Of `Figure.subplots`, such as `sharey`.

    Returns
    -------
    tuple
        The figure, and each panel with its data set and line.
    """
    heights = np.broadcast_to(height, len(lines)).tolist()
    fig = drawing(sum(heights) + 0.4 + below)
    axes = fig.subplots(len(lines), len(datasets), squeeze=False, height_ratios=heights, **options)
    for ax, dataset in zip(axes[0], datasets, strict=True):
        ax.set_title(dataset)
    for ax, label in zip(axes[:, 0], lines.values(), strict=True):
        ax.set_ylabel(label)
    for ax in axes[-1]:
        ax.set_xlabel(xlabel)
    fig.align_ylabels(axes[:, 0])
    cells = ((dataset, line) for line in lines for dataset in datasets)
    return fig, [(ax, dataset, line) for ax, (dataset, line) in zip(axes.flat, cells, strict=True)]


def cell(table: pd.DataFrame, dataset: str, model: str) -> pd.DataFrame:
    """The rows of one model on one data set."""
    return table[(table.dataset == dataset) & (table.model == model)]


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


def bars(ax: Axes, x: Any, table: pd.DataFrame, value: str, width: float, colour: Any, factor: float = 1) -> None:
    """Bars of a table from `over_seeds`, each with its 95 % interval."""
    ax.bar(x, factor * table[value], width, color=colour)
    outline = [withStroke(linewidth=3, foreground="white")]  # to be seen on dark bars too
    ax.vlines(x, factor * table.low, factor * table.high, color=INTERVAL, linewidth=1.5, path_effects=outline)
    ax.grid(axis="x", visible=False)


def name_rows(ax: Axes, names: Sequence[str], width: int = 40) -> None:
    """Names at the left of a panel whose marks stand at the heights 0, 1, 2 and so on, from the top."""
    ax.set_yticks(range(len(names)), [fill(name, width) for name in names])
    ax.set_ylim(len(names) - 0.5, -0.6)


def rows_by_model(
    datasets: Sequence[str], names: Mapping[str, Sequence[str]], height: float, *, xlabel: str = "", **options: Any
) -> tuple[Figure, list[tuple[Axes, str, str]]]:
    """A `grid` with a line of panels for each model; each of the model's names has a row of `height` inches in it."""
    heights = [height * len(of_model) + 0.5 for of_model in names.values()]
    models = {model: model for model in names}
    fig, cells = grid(datasets, models, heights, xlabel=xlabel, sharey="row", **options)
    for ax, dataset, model in cells:
        ax.yaxis.label.set_fontweight("bold")
        if dataset == datasets[0]:
            name_rows(ax, names[model], 26)
    return fig, cells


class FewTicks(Locator):
    """Ticks of a logarithmic axis at round numbers, as coarse as leaves three of them."""

    STEPS = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7))

    def __call__(self) -> list[float]:
        assert self.axis is not None  # set by the axis that takes it
        return self.tick_values(*self.axis.get_view_interval())

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        """Ticks from `vmin` to `vmax`."""
        decades = 10.0 ** np.arange(np.floor(np.log10(vmin)), np.ceil(np.log10(vmax)) + 1)
        for steps in self.STEPS:
            ticks = [tick for tick in np.outer(decades, steps).ravel().tolist() if vmin <= tick <= vmax]
            if len(ticks) >= 3:
                break
        return ticks


def plain_log(ax: Axes) -> None:
    """Make the x axis logarithmic, with few ticks and plain numbers."""
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FewTicks())
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.xaxis.set_minor_locator(LogLocator(subs="auto"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def change(ratio: float) -> str:
    """A ratio as the change it is, in whole per cent: 0.46 as −54 %."""
    percent = round(100 * (ratio - 1))
    return f"{percent:+d} %".replace("-", "\N{MINUS SIGN}") if percent else "0 %"


def handle(**options: Any) -> Line2D:
    """An entry for a legend."""
    return Line2D([], [], **{"linestyle": "none", "markersize": 6, **options})


def strategy_handles(families: Iterable[str], marker: str | None = None) -> list[Line2D]:
    """Legend entries in the colours of strategies, and in their markers unless told another."""
    return [
        handle(color=STRATEGY_COLOURS[f], marker=marker or STRATEGY_MARKERS[f], label=TITLES.get(f, f))
        for f in families
    ]


def interval_handle() -> Line2D:
    """The legend entry of upright intervals."""
    return handle(color=INTERVAL, marker="|", markersize=10, markeredgewidth=1.5, label="95 % interval")


def legend_below(fig: Figure, handles: Sequence[Any], columns: int | None = None) -> None:
    """A legend under the whole figure, in rows of at most five and about equal length unless told the columns."""
    rows = -(-len(handles) // 5)
    fig.legend(
        handles=list(handles),
        loc="outside lower center",
        ncols=columns or -(-len(handles) // rows),
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
