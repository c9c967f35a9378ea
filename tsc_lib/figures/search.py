"""Figures of a search: what was tried, between cost and accuracy."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from tsc_lib.analysis.strategies import annotate
from tsc_lib.figures.common import (
    families_in,
    grid,
    handle,
    legend_below,
    mark,
    nothing,
    plain_log,
    strategy_handles,
    unique,
)
from tsc_lib.figures.palette import QUIET, STRATEGY_COLOURS, STRATEGY_MARKERS, styled


@styled
def search_plane(trials: pd.DataFrame) -> Figure:
    """Every recipe that a search trained, by its cost and its validation accuracy, with the Pareto front.

    Parameters
    ----------
    trials : DataFrame
        Of `tsc_lib.search.results.searches`.

    Returns
    -------
    Figure
        A panel for every data set, model and objective. Filled marks were measured in a session, the others by the
        short benchmark; the line joins those that no other beats, by the accuracy that is expected of them.
    """
    if trials.empty:
        return nothing("no search has finished yet: python -m tsc_lib optimize")
    table = annotate(trials)
    lines = {
        (model, objective): f"{model}, {objective}\npoints lost on validation"
        for model, objective in sorted(table.groupby(["model", "objective"]).groups)
    }
    xlabel = "cost, share of the uncompressed model's"
    fig, cells = grid(unique(table.dataset), lines, 2.8, xlabel=xlabel)
    for ax, dataset, (model, objective) in cells:
        part = table[(table.dataset == dataset) & (table.model == model) & (table.objective == objective)]
        for (family, measured), rows in part.groupby(["family", "measured"], observed=True):
            colour = STRATEGY_COLOURS[family]
            face, marker = colour if measured else "none", STRATEGY_MARKERS[family]
            mark(ax, rows.cost, rows["drop"], color=colour, marker=marker, markerfacecolor=face)
        front = part[part.front].sort_values("cost")
        ax.plot(front.cost, front.expected_drop, color=QUIET, linewidth=0.9, zorder=1, drawstyle="steps-post")
        plain_log(ax)
        ax.invert_yaxis()
    line = handle(color=QUIET, linestyle="-", label="front, expected")
    legend_below(fig, [*strategy_handles(families_in(table)), line])
    return fig
