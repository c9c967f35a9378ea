"""Figure of early exits: where series leave, and what that leaves of the work."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from tsc_lib.analysis.strategies import strategy_of
from tsc_lib.figures.common import cell, grid, legend_below, name_rows, nothing, unique
from tsc_lib.figures.palette import INTERVAL, SEQUENCE, styled

THE_END = "#D9D9D9"


@styled
def series_left(places: pd.DataFrame) -> Figure:
    """Shares of the test series that leave at each exit, mean over the seeds, one bar for every variant.

    Parameters
    ----------
    places : DataFrame
        Of `tsc_lib.study.early_exit.places_left`.

    Returns
    -------
    Figure
        Each part of a bar says after how many layers series leave; right of the bars are the mean and the 95th
        percentile of a series' multiply-accumulates, relative to the uncompressed model.
    """
    rows = places[places.threshold.notna().groupby([places.recipe, places.runtime]).transform("any")]
    if rows.empty:
        return nothing("this profile has no early exits")
    variants = unique(pd.Series(list(zip(rows.recipe, rows.runtime, strict=True))))
    models = {model: model for model in unique(rows.model)}
    height = 0.7 + 0.4 * len(variants)
    fig, cells = grid(
        unique(rows.dataset), models, height, xlabel="share of the test series, %", sharex=True, sharey=True
    )
    for ax, dataset, model in cells:
        for y, (recipe, runtime) in enumerate(variants):
            part = cell(rows, dataset, model)
            part = part[(part.recipe == recipe) & (part.runtime == runtime)]
            start = 0.0
            for place, group in part.groupby("place"):
                share, layers = 100 * group.left_test.mean(), group.layers.iloc[0]
                colour = SEQUENCE[int(place) - 1] if group.threshold.notna().any() else THE_END
                ax.barh(y, share, 0.6, left=start, color=colour)
                if share > 12:
                    shade = "white" if colour != THE_END else "black"
                    ax.text(start + share / 2, y, f"{layers:g}", ha="center", va="center", color=shade, fontsize=8)
                start += share
            if len(part):
                mean, tail = (100 * (part[f"macs_{name}"] / part.reference_macs).mean() for name in ("mean", "p95"))
                text = f"{mean:.0f} / {tail:.0f}"
                ax.text(103, y, text, va="center", color=INTERVAL, fontsize=8)
        ax.set_xlim(0, 138)
        ax.set_xticks(range(0, 101, 25))
        ax.grid(axis="y", visible=False)
        name_rows(ax, [strategy_of(*variant).label for variant in variants], width=24)
    exits = int(rows[rows.threshold.notna()].place.max())
    handles = [Patch(color=SEQUENCE[i], label=f"leave at exit {i + 1}") for i in range(exits)]
    handles.append(Patch(color=THE_END, label="go to the end (number: layers executed)"))
    handles.append(Patch(alpha=0, label="right: MACs, % of uncompressed, mean / 95th percentile"))
    legend_below(fig, handles, columns=2)
    return fig
