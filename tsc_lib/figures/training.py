"""Figures of trainings: what each of their options contributes."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from tsc_lib.figures import draw
from tsc_lib.figures.palette import QUIET, SEQUENCE

COLOURS = {"off": SEQUENCE[2], "on": SEQUENCE[0]}
MEANINGS = {"off": "switched off", "on": "added"}


@draw.with_style
def training_options(summary: pd.DataFrame) -> Figure:
    """Which options of a training earn their place.

    Parameters
    ----------
    summary : DataFrame
        From `tsc_lib.study.training_ablation.summarize_ablation`.

    Returns
    -------
    Figure
        A row for each option, best first: validation accuracy less the default's with a 95 % interval over data sets
        and seeds, and beside it the CPU time of the training as a multiple of the default's.
    """
    if summary.empty:
        return draw.empty_figure("no option of the training was tried")
    fig = draw.new_figure(0.9 + 0.28 * len(summary))
    ax = fig.subplots()
    draw.guide(ax, x=0)
    for switched, part in summary.groupby("switched", sort=False):
        draw.mark_means(ax, part, "points", part.index, across=True, marker="o", color=COLOURS[str(switched)])
    for place, row in enumerate(summary.itertuples()):
        draw.note(ax, f"{row.cpu_ratio:.2g}\N{MULTIPLICATION SIGN}", (row.points, place), (0, 4), ha="center")
    draw.name_rows(ax, list(summary.option))
    ax.margins(x=0.1)
    sure = ((summary.points_low > 0) | (summary.points_high < 0)).sum()
    title = f"{sure or 'None'} of {len(summary)} options surely {'changes' if sure < 2 else 'change'} accuracy"
    if summary.points_low.isna().all():
        title = "One training of each cannot tell which option pays"
    draw.say(fig, title)
    ax.set_xlabel("validation accuracy less the default's, points")
    handles = [
        draw.handle(color=COLOURS[each], marker="o", label=MEANINGS[each])
        for each in COLOURS
        if each in set(summary.switched)
    ]
    handles.append(draw.handle(color=QUIET, marker="|", markersize=10, label="95 % interval over data sets and seeds"))
    handles.append(draw.handle(color="k", marker=r"$n\times$", markersize=14, label="CPU time of its training"))
    draw.legend_below(fig, handles)
    return fig
