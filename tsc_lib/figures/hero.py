"""The figure on the first page: accuracy against energy of the published study."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from tsc_lib.analysis.quantities import add_times_less
from tsc_lib.figures import draw
from tsc_lib.figures.palette import LOOKS, Looks
from tsc_lib.figures.scales import plain_log

CONTENDERS: Looks = {"color": "k", "markersize": 6.5, "markeredgewidth": 0, "zorder": 8}
MARKERS = ("D", "^", "v", "P", "X")
"""Looks of classics and of our own model, in the order of the table."""

FAR = 10.0
"""Points of accuracy lost beyond which a point does not stretch the axis, and stands at its edge."""

ABOVE, UNDER, BELOW = (0, 13), (0, -16), (-4, -22)
"""Where words stand: of contenders among the strategies, of those above them, and of strategies; in points."""

LABEL: Looks = {"fontsize": 8.5, "fontweight": "bold", "zorder": 9}


@draw.with_style
def accuracy_against_saving(
    table: pd.DataFrame, contenders: pd.DataFrame, labels: dict[str, str], title: str
) -> Figure:
    """Accuracy against how many times less energy an inference takes than the same model as trained, in one session.

    Energies of two sessions are on no axis together: each point is a ratio to an uncompressed model of its session.

    Parameters
    ----------
    table : DataFrame
        Rows of `tsc_lib.analysis.tables.strategy_table`, all of one source of energy.
    contenders : DataFrame
        Columns `dataset`, `model`, `accuracy` (%), and `energy_ratio` to T1 as trained, with its ends: other models.
    labels : dict of str to str
        Words for the first model's points, by their label in the table, and for contenders by their model.
    title : str
        What is to be seen.

    Returns
    -------
    Figure
        One panel per data set, with 95 % intervals over the seeds. A point below the axis stands at its edge, with its
        value.
    """
    table, contenders = (add_times_less(each, "energy_ratio") for each in (table, contenders))
    datasets, models = draw.unique(table.dataset), draw.unique(table.model)
    others = dict(zip(draw.unique(contenders.model), MARKERS, strict=False))
    fig, axes = draw.panels(1, len(datasets), 2.9)
    for ax, dataset in zip(axes[0], datasets, strict=True):
        rows, beside = table[table.dataset == dataset], contenders[contenders.dataset == dataset]
        kept = rows[rows.points_lost < FAR]
        low = min(kept.accuracy_low.min(), beside.accuracy.min())
        high = max(kept.accuracy_high.max(), beside.accuracy.max())
        ax.set_ylim(low - 0.12 * (high - low), high + 0.06 * (high - low))
        for row in beside.itertuples():
            ax.hlines(row.accuracy, row.times_low, row.times_high, color="k", linewidth=1)
            draw.mark(ax, row.times, row.accuracy, marker=others[row.model], **CONTENDERS)
            if row.model in labels:
                shift = UNDER if row.accuracy > kept.accuracy.max() else ABOVE
                _name(ax, labels[row.model], (row.times, row.accuracy), shift, ha="center")
        for number, model in enumerate(models):
            _points(ax, rows[rows.model == model], {} if number else labels, number)
        plain_log(ax)
        ax.set_xlim(0.2, 400)
        ax.set_title(dataset)
    axes[0, 0].set_ylabel("accuracy on test, %")
    axes[0, len(datasets) // 2].set_xlabel(
        f"times less energy per inference than T1 or T2 as trained ({table.energy_source.iloc[0]})"
    )
    draw.say(fig, title)
    handles = [*draw.family_handles(table), *draw.model_handles(models)]
    handles += [draw.handle(**CONTENDERS, marker=marker, label=f"{name}, beside T1") for name, marker in others.items()]
    draw.legend_below(fig, handles, columns=4)
    return fig


def _points(ax: Axes, rows: pd.DataFrame, labels: dict[str, str], number: int) -> None:
    for row in rows.sort_values("family", ascending=False, kind="stable").itertuples():
        looks: Looks = {**LOOKS[row.family], **draw.face(number)}
        if draw.at_edge(ax, row.times, row.accuracy, looks, side="right"):
            continue
        ax.hlines(row.accuracy, row.times_low, row.times_high, color=looks["color"], linewidth=1)
        draw.mark(ax, row.times, row.accuracy, low=row.accuracy_low, high=row.accuracy_high, elinewidth=0.8, **looks)
        if row.label in labels:
            _name(ax, labels[row.label], (row.times, row.accuracy), BELOW)


def _name(ax: Axes, words: str, at: tuple[float, float], shift: tuple[float, float], **options: Any) -> None:
    draw.note(ax, words, at, shift, path_effects=[withStroke(linewidth=2.5, foreground="w")], **{**LABEL, **options})
