"""What several figures share: the style, grids of panels, marks and bars with intervals, axes, legends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from io import BytesIO
from textwrap import fill
from typing import Any, NamedTuple, ParamSpec, TypeVar

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from tsc_lib.analysis.wording import format_range
from tsc_lib.compress import Family
from tsc_lib.figures.palette import INTERVAL, LOOKS, QUIET, STYLE, TITLES, WIDTH, Looks

P = ParamSpec("P")
Line = TypeVar("Line")


def with_style(function: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw a figure in the project's style, name its empty panels, and leave the reader's settings alone."""

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(STYLE):
            figure = function(*args, **kwargs)
            for ax in figure.axes:
                # Lines across a whole panel, such as guides, leave its limits open.
                if ax.axison and not ax.texts and not np.isfinite(ax.dataLim.get_points()).all():
                    explain_empty(ax, "not run")
            return figure

    return wrapper


def explain_empty(ax: Axes, why: str) -> None:
    """Words in a panel that has nothing to show, without ticks unless other panels share them."""
    ax.text(0.5, 0.6, why, transform=ax.transAxes, ha="center", color=QUIET)
    for axis, shared in ((ax.xaxis, ax.get_shared_x_axes()), (ax.yaxis, ax.get_shared_y_axes())):
        if len(shared.get_siblings(ax)) == 1:
            axis.set_ticks([])


class Drawing(Figure):
    """A figure that a notebook shows as it is, without pyplot and its global state."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        content = BytesIO()
        self.savefig(content, format="png", dpi=2 * self.dpi)
        return content.getvalue(), {"width": round(self.get_figwidth() * self.dpi)}  # sharp on dense screens


def new_figure(height: float) -> Drawing:
    """An empty figure of the report's width and of `height` inches."""
    return Drawing(figsize=(WIDTH, height), layout="constrained")


def panels(rows: int, columns: int, height: float, **options: Any) -> tuple[Figure, np.ndarray]:
    """An empty figure of the report's width with panels (rows, columns) of `height` inches each."""
    fig = new_figure(height * rows + 0.4)
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
    fig = new_figure(sum(heights) + 0.4 + below)
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


class Panel(NamedTuple):
    """A panel of `case_grid`: the axes, what they are about, and its rows of the table."""

    ax: Axes
    dataset: str
    model: str
    rows: pd.DataFrame


def case_grid(
    table: pd.DataFrame,
    title: str,
    height: float | Sequence[float],
    *,
    datasets: Sequence[str] | None = None,
    **options: Any,
) -> tuple[Figure, list[Panel]]:
    """A `grid` with a column for every data set of a table and a row for every model.

    Parameters
    ----------
    table : DataFrame
        With columns `dataset` and `model`.
    title : str
        What the vertical axes show, under the model's name; none if it is empty.
    height : float or sequence of float
        Inches of a panel, or of those of each model.
    datasets : sequence of str, optional
        The columns, if not only those of the table.
    **options
        Of `grid`.
    """
    models = {model: f"{model}\n{title}" if title else model for model in unique(table.model)}
    fig, cells = grid(unique(table.dataset) if datasets is None else datasets, models, height, **options)
    return fig, [Panel(ax, dataset, model, select_case(table, dataset, model)) for ax, dataset, model in cells]


def select_case(table: pd.DataFrame, dataset: str, model: str) -> pd.DataFrame:
    """The rows of one model on one data set."""
    return table[(table.dataset == dataset) & (table.model == model)]


def unique(column: pd.Series) -> list[Any]:
    """Distinct values in the order in which they come."""
    return list(column.dropna().unique())


def families_in(table: pd.DataFrame) -> list[Family]:
    """The families of strategies that an annotated table holds, in the order of legends."""
    present = set(table.family)
    return [family for family in Family if family in present]


def mark(ax: Axes, x: Any, y: Any, *, across: bool = False, low: Any = None, high: Any = None, **options: Any) -> None:
    """Points with 95 % intervals, vertical ones unless `across`; a NaN interval is left out."""
    x, y = np.atleast_1d(np.asarray(x, float)), np.atleast_1d(np.asarray(y, float))
    error = None
    if low is not None:
        value = x if across else y
        ends = np.array([value - np.atleast_1d(low), np.atleast_1d(high) - value], float)
        error = np.nan_to_num(np.maximum(ends, 0))
    style: Looks = {"linestyle": "none", "elinewidth": 1.2, "capsize": 0, "markersize": 5.5, **options}
    ax.errorbar(x, y, xerr=error if across else None, yerr=None if across else error, **style)


def at_edge(ax: Axes, x: float, y: float, looks: Mapping[str, Any], *, side: str = "left") -> bool:
    """Draw a point that the panel's limits leave out at the edge; tells whether it is one.

    An arrow and the least and the most of such values stand at the `side` of the panel.
    """
    start, end = ax.get_ylim()
    if min(start, end) <= y <= max(start, end):
        return False
    above = (y > max(start, end)) == (end > start)
    place, arrow = (0.95, "\N{UPWARDS ARROW}") if above else (0.05, "\N{DOWNWARDS ARROW}")
    ax.plot(x, place, linestyle="none", **{"markersize": 5, **looks}, transform=ax.get_xaxis_transform())
    values = [y]
    for text in [text for text in ax.texts if text.get_gid() == arrow]:
        values += map(float, text.get_text().replace("\N{MINUS SIGN}", "-")[1:].split(" to "))
        text.remove()
    words = f"{arrow}{format_range(pd.Series(values), 0)}".replace("-", "\N{MINUS SIGN}")
    where: dict[str, Any] = {"transform": ax.transAxes, "gid": arrow, "ha": side, "va": "center", "fontsize": 8}
    ax.text(0.02 if side == "left" else 0.98, place, words, **where)
    return True


def mark_means(
    ax: Axes, table: pd.DataFrame, value: str, place: Any, *, across: bool = False, factor: float = 1, **options: Any
) -> None:
    """`mark` the rows of a table, with intervals where it has columns ``<value>_low`` and ``<value>_high``."""
    ends = {end: factor * table[f"{value}_{end}"] for end in ("low", "high") if f"{value}_{end}" in table}
    values, places = factor * table[value], np.broadcast_to(place, len(table))
    x, y = (values, places) if across else (places, values)
    mark(ax, x, y, across=across, **ends, **options)


def bars(ax: Axes, x: Any, table: pd.DataFrame, value: str, width: float, colour: Any, factor: float = 1) -> None:
    """Bars of a table from `over_seeds`, each with its 95 % interval."""
    ax.bar(x, factor * table[value], width, color=colour)
    outline = [withStroke(linewidth=3, foreground="white")]  # to be seen on dark bars too
    low, high = factor * table[f"{value}_low"], factor * table[f"{value}_high"]
    ax.vlines(x, low, high, color=INTERVAL, linewidth=1.5, path_effects=outline)
    ax.grid(axis="x", visible=False)


def spread(ax: Axes, rows: pd.DataFrame, value: str, y: float, factor: float = 1, **looks: Any) -> None:
    """One run's values with their own intervals side by side, small, below the height `y`."""
    if len(rows) > 1:
        mark_means(ax, rows, value, y + np.linspace(0.12, 0.34, len(rows)), across=True, factor=factor, **looks)


def crosses(ax: Axes, table: pd.DataFrame, x: str, y: str, width: float, alpha: float) -> None:
    """The 95 % intervals of both coordinates of variants, as thin crosses in the colours of their families."""
    for row in table.to_dict("records"):
        style: Looks = {"color": LOOKS[row["family"]]["color"], "linewidth": width, "alpha": alpha}
        ax.hlines(row[y], row[f"{x}_low"], row[f"{x}_high"], **style)
        ax.vlines(row[x], row[f"{y}_low"], row[f"{y}_high"], **style)


def name_rows(ax: Axes, names: Sequence[str], width: int = 40) -> None:
    """Names at the left of a panel whose marks stand at the heights 0, 1, 2 and so on, from the top."""
    ax.set_yticks(range(len(names)), [fill(name, width) for name in names])
    ax.set_ylim(len(names) - 0.5, -0.6)


def named_rows(
    table: pd.DataFrame, names: Mapping[str, Sequence[str]], height: float, **options: Any
) -> tuple[Figure, list[Panel]]:
    """A `case_grid` in whose panels each of the model's names has a row of `height` inches."""
    heights = [height * len(names[model]) + 0.5 for model in unique(table.model)]
    fig, cells = case_grid(table, "", heights, sharey="row", **options)
    for panel in cells:
        panel.ax.yaxis.label.set_fontweight("bold")
        if panel.dataset == cells[0].dataset:
            name_rows(panel.ax, names[panel.model], 26)
    return fig, cells


def say(fig: Figure, message: str) -> None:
    """A figure's message, above its panels."""
    fig.suptitle(fill(message, 90), fontsize=10.5, fontweight="bold")


def format_change(ratio: float) -> str:
    """A ratio as the change it is, in whole per cent: 0.46 as −54 %."""
    percent = round(100 * (ratio - 1))
    return f"{percent:+d} %".replace("-", "\N{MINUS SIGN}") if percent else "0 %"


def note(ax: Axes, text: str, at: tuple[Any, Any], shift: tuple[float, float], **options: Any) -> None:
    """Small words beside a mark, `shift` points away from it."""
    ax.annotate(text, at, xytext=shift, textcoords="offset points", **{"fontsize": 7.5, **options})


def name_lines(ax: Axes, ends: Mapping[str, pd.Series], x: str, y: str) -> None:
    """Names right of the ends of lines, moved up where they would touch."""
    to_panel = ax.transData + ax.transAxes.inverted()
    places = {name: to_panel.transform((end[x], end[y])) for name, end in ends.items()}
    free = -1.0
    for name, (right, height) in sorted(places.items(), key=lambda item: float(item[1][1])):
        free = max(float(height), free + 0.09)  # of the panel's height
        ax.annotate(name, (right, free), xycoords="axes fraction", xytext=(6, 0), textcoords="offset points",
                    va="center", fontsize=7.5)  # fmt: skip


def handle(**options: Any) -> Line2D:
    """An entry for a legend."""
    return Line2D([], [], **{"linestyle": "none", "markersize": 6, **options})


def family_handles(table: pd.DataFrame, **looks: Any) -> list[Line2D]:
    """Legend entries in the colours of a table's families of strategies, and in their markers unless told another."""
    titles = {family: TITLES.get(family, str(family)) for family in families_in(table)}
    return [handle(**{**LOOKS[family], **looks}, label=title) for family, title in titles.items()]


FACES: tuple[Looks, ...] = (
    {},
    {"markerfacecolor": "w"},
    {"fillstyle": "left", "markerfacecoloralt": "w"},
    {"fillstyle": "top", "markerfacecoloralt": "w"},
)


def face(number: int) -> Looks:
    """How marks are filled by the number of their model: wholly, not at all, or a half of them."""
    return FACES[number % len(FACES)]


def model_handles(models: Sequence[str]) -> list[Line2D]:
    """Legend entries of models that are told apart by their marks' `face`."""
    return [handle(color="k", marker="o", **face(number), label=model) for number, model in enumerate(models)]


def interval_handle() -> Line2D:
    """The legend entry of upright intervals."""
    return handle(color=INTERVAL, marker="|", markersize=10, markeredgewidth=1.5, label="95 % interval")


def legend_below(fig: Figure, handles: Sequence[Any], columns: int | None = None) -> None:
    """A legend under the whole figure, in rows of at most five and about equal length unless told the columns.

    It has fewer columns where they would be wider than the figure.
    """
    rows = -(-len(handles) // 5)
    for count in range(columns or -(-len(handles) // rows), 0, -1):
        legend = fig.legend(
            handles=list(handles),
            loc="outside lower center",
            ncols=count,
            handletextpad=0.5,
            columnspacing=1.4,
        )
        if count == 1 or legend.get_window_extent().width <= fig.bbox.width:
            return
        legend.remove()


def guide(ax: Axes, *, x: float | None = None, y: float = 0, **options: Any) -> None:
    """A thin grey line across a panel: upright at `x`, else level at `y`."""
    style = {"color": QUIET, "linewidth": 0.9, "zorder": 1, **options}
    if x is None:
        ax.axhline(y, **style)
    else:
        ax.axvline(x, **style)


def empty_figure(message: str) -> Figure:
    """A figure that says why there is nothing to draw."""
    fig = new_figure(1.2)
    fig.text(0.5, 0.5, message, ha="center", va="center", color=QUIET, fontsize=10)
    return fig
