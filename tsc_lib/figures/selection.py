"""What folds of the training series promise, and what the test set gives."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from tsc_lib.figures import draw
from tsc_lib.figures.palette import QUIET, SEQUENCE

RULES = {"random": ("random folds", "o"), "blocks": ("blocks in file order", "D")}


@draw.with_style
def fold_errors(table: pd.DataFrame) -> Figure:
    """By how much folds promise more than the test set gives: random folds against blocks in file order.

    Parameters
    ----------
    table : DataFrame
        From `tsc_lib.study.fold_accuracy.compare_folds`.

    Returns
    -------
    Figure
        A panel for each method, a row for each data set, the most optimistic random folds at the top.
    """
    if table.empty:
        return draw.empty_figure("no folds have been compared")
    methods = draw.unique(table.method)
    order = table[table.rule == "random"].groupby("dataset").error.mean().sort_values(ascending=False).index
    fig, axes = draw.panels(1, len(methods), 0.2 * len(order) + 0.8, sharey=True)
    fig.suptitle("By how much folds of the training file promise more than the test set gives", fontsize=9.5)
    for ax, method in zip(axes[0], methods, strict=True):
        errors = table[table.method == method].pivot_table(index="dataset", columns="rule", values="error").loc[order]
        draw.guide(ax, x=0)
        places = range(len(order))
        ax.hlines(places, errors.random, errors.blocks, color=QUIET, linewidth=0.9)
        for (rule, (_, marker)), colour in zip(RULES.items(), SEQUENCE, strict=False):
            draw.mark(ax, errors[rule], places, color=colour, marker=marker)
        ax.set_title(method)
        ax.set_xlabel("accuracy by folds minus on test, points")
        draw.name_rows(ax, list(order))
    handles = [
        draw.handle(color=colour, marker=marker, label=label)
        for (label, marker), colour in zip(RULES.values(), SEQUENCE, strict=False)
    ]
    draw.legend_below(fig, handles)
    return fig
