"""Figures of a transformer's sizes beside each other."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from tsc_lib.figures import draw
from tsc_lib.figures.palette import QUIET, SEQUENCE
from tsc_lib.figures.scales import plain_log


@draw.with_style
def shapes_beside_cost(summary: pd.DataFrame) -> Figure:
    """Validation accuracy against CPU time of every shape; those that no other beats are named.

    Parameters
    ----------
    summary : DataFrame
        Of `tsc_lib.analysis.shapes.summarize_shapes`.

    Returns
    -------
    Figure
        A row of panels for each data set, a panel for each batch size, with 95 % intervals.
    """
    if summary.empty:
        return draw.empty_figure("no shape was trained and measured")
    datasets, sizes = draw.unique(summary.dataset), sorted(summary.batch_size.unique())
    fig, axes = draw.panels(len(datasets), len(sizes), 2.6, sharey="row")
    for row, dataset in zip(axes, datasets, strict=True):
        for ax, size in zip(row, sizes, strict=True):
            part = summary[(summary.dataset == dataset) & (summary.batch_size == size)]
            for on_front, colour in ((False, QUIET), (True, SEQUENCE[0])):
                chosen = part[part.on_front == on_front]
                draw.mark_means(ax, chosen, "accuracy_valid", chosen.cpu_us_per_sample, marker="o", color=colour)
                if on_front:
                    ordered = chosen.sort_values("cpu_us_per_sample")
                    ax.step(ordered.cpu_us_per_sample, ordered.accuracy_valid, where="post", color=colour, linewidth=1)
            for shape in part[part.on_front].itertuples():
                draw.note(ax, shape.sizes, (shape.cpu_us_per_sample, shape.accuracy_valid), (5, 5))
            plain_log(ax)
            ax.margins(x=0.25, y=0.15)
            ax.set_title(f"{dataset}, batches of {size:g}", fontweight="normal")
        row[0].set_ylabel("validation accuracy, %")
    for ax in axes[-1]:
        ax.set_xlabel("CPU time, \N{MICRO SIGN}s per series")
    fronts = summary[summary.on_front].groupby(["dataset", "batch_size"]).sizes.agg(set)
    always = sorted(set.intersection(*fronts))
    title = f"{' and '.join(always)}: on every front" if always else "No shape is on every front"
    draw.say(fig, title)
    front = draw.handle(color=SEQUENCE[0], marker="o", linestyle="-", label="no other is as accurate for less")
    draw.legend_below(fig, [front, draw.handle(color=QUIET, marker="o", label="another is"), draw.interval_handle()])
    return fig
