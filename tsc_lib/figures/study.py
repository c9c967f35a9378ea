"""Figures of the reproduced study: its main table as differences from fp32, and its claims beside our results."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tsc_lib.analysis.quantities import add_times_less
from tsc_lib.analysis.tables import main_table
from tsc_lib.analysis.wording import join_items
from tsc_lib.compress import Family
from tsc_lib.energy import require_same_source
from tsc_lib.figures import draw
from tsc_lib.figures.palette import COLOURS, QUIET
from tsc_lib.figures.scales import plain_log

VERDICT_COLOURS = {"reproduced": "#0072B2", "same direction": "#56B4E9", "not reproduced": "#D55E00"}


@draw.with_style
def main_differences(results: pd.DataFrame) -> Figure:
    """The study's main table as differences from fp32: points of accuracy, and times less energy, of every strategy.

    Parameters
    ----------
    results : DataFrame
        The results table.

    Returns
    -------
    Figure
        One column of panels per data set; above points of accuracy gained (lost, if negative), below how many times
        less energy; filled marks are the first model, hollow ones the others; 95 % intervals over the seeds.
    """
    table = main_table(results)
    source = require_same_source(table.energy_source)
    table = table[table.family != Family.BASELINE].sort_values("family", kind="stable")
    if table.empty:
        return draw.empty_figure("this profile compresses no model")
    labels, models = draw.unique(table.label), draw.unique(results.model)
    table = add_times_less(table, "energy_ratio")
    table = table.assign(
        gained=-table.points_lost, gained_low=-table.points_lost_high, gained_high=-table.points_lost_low
    )
    shown = {"points of accuracy gained": ("gained", 0), f"times less energy ({source})": ("times", 1)}
    datasets = draw.unique(results.dataset)
    fig, axes = draw.panels(2, len(datasets), 0.24 * len(labels) + 0.6, sharey=True, sharex="row")
    for line, (title, (value, neutral)) in zip(axes, shown.items(), strict=True):
        for ax, dataset in zip(line, datasets, strict=True):
            draw.guide(ax, x=neutral)
            for number, (model, shift) in enumerate(zip(models, np.linspace(-0.15, 0.15, len(models)), strict=True)):
                rows = draw.select_case(table, dataset, model)
                _difference_marks(ax, rows, value, {label: y + shift for y, label in enumerate(labels)}, number)
            if neutral:
                plain_log(ax)
            ax.grid(axis="y", visible=False)
        line[len(datasets) // 2].set_xlabel(title)
    for ax, dataset in zip(axes[0], datasets, strict=True):
        ax.set_title(dataset)
    draw.name_rows(axes[0, 0], labels, 28)
    sure = int((table.energy_ratio_high < 1).sum())
    draw.say(fig, f"{sure} of {len(table)} rows of the study's main table surely need less energy than fp32 in eager")
    handles = [*draw.family_handles(table, marker="s"), *draw.model_handles(models)]
    interval = draw.handle(color=QUIET, marker="_", markersize=12, label="95 % interval over seeds")
    draw.legend_below(fig, [*handles, interval])
    return fig


def _difference_marks(ax: Axes, rows: pd.DataFrame, value: str, places: dict[str, float], number: int) -> None:
    for row in rows.to_dict("records"):
        looks = {"color": COLOURS[row["family"]], "marker": "o", **draw.face(number)}
        y, low, high = places[row["label"]], row[f"{value}_low"], row[f"{value}_high"]
        draw.mark(ax, row[value], y, across=True, low=low, high=high, **looks)


@draw.with_style
def claims_beside_ours(claims: pd.DataFrame) -> Figure:
    """The published value of every claim that could be tested, beside ours with its interval.

    Parameters
    ----------
    claims : DataFrame
        From `tsc_lib.analysis.claims.judge`.

    Returns
    -------
    Figure
        One panel per unit; the colour is the verdict.
    """
    tested = claims[claims.ours.notna()]
    if tested.empty:
        return draw.empty_figure("none of the claims could be tested with this profile")
    units = draw.unique(tested.unit)
    counts = [int((tested.unit == unit).sum()) for unit in units]
    fig = draw.new_figure(0.4 * len(tested) + 0.7 * len(units) + 0.5)
    axes = fig.subplots(len(units), 1, squeeze=False, height_ratios=[count + 0.6 for count in counts])[:, 0]
    for ax, unit in zip(axes, units, strict=True):
        part = tested[tested.unit == unit].reset_index(drop=True)
        draw.guide(ax, x=0)
        for y, claim in part.iterrows():
            colour = VERDICT_COLOURS[claim.verdict]
            ax.plot([claim.ours_low, claim.ours_high], [y, y], color=colour, linewidth=1.8)
            ax.plot(claim.ours, y, "o", color=colour, markersize=6)
            ax.plot(claim.published, y, "D", color="k", markerfacecolor="white", markersize=6)
        names = part.claim + part.runtime.map(lambda runtime: f", in {runtime}" if runtime else "")
        draw.name_rows(ax, names, 48)
        ax.set_xlabel(unit)
    handles = [draw.handle(color="k", marker="D", markerfacecolor="white", label="published (of losses: the most)")]
    for verdict, colour in VERDICT_COLOURS.items():
        if verdict in set(tested.verdict):
            label = f"ours, 95 % interval: {verdict}"
            handles.append(draw.handle(color=colour, marker="o", linestyle="-", label=label))
    draw.legend_below(fig, handles, columns=2)
    said = join_items(f"{n} {verdict}" for verdict in VERDICT_COLOURS if (n := (tested.verdict == verdict).sum()))
    draw.say(fig, f"Of {len(tested)} tested values: {said}")
    return fig


@draw.with_style
def strategies_beside_study(table: pd.DataFrame) -> Figure:
    """Time saved and points lost by the study's strategies: its authors' report on other data, and ours.

    Parameters
    ----------
    table : DataFrame
        From `tsc_lib.analysis.reproduction.compare_strategies`.

    Returns
    -------
    Figure
        Left the time saved, right the points of accuracy lost; diamonds are the report's, dots ours with 95 % intervals
        over the data sets, which may run out of the panel; filled marks are the first model, hollow ones the second.
    """
    if table.empty:
        return draw.empty_figure("there is nothing to set beside the study's tables")
    forms, models = draw.unique(table.form), draw.unique(table.model)
    fig = draw.new_figure(0.42 * len(forms) + 1.6)
    axes = fig.subplots(1, 2, sharey=True)
    shown = {"time saved, %": ("their_saved", "saved"), "points of accuracy lost": ("their_lost", "lost")}
    for ax, (title, (theirs, ours)) in zip(axes, shown.items(), strict=True):
        draw.guide(ax, x=0)
        for row in table.to_dict("records"):
            number = models.index(row["model"])
            y = forms.index(row["form"]) - 0.17 + 0.34 * number
            ax.plot(row[theirs], y, linestyle="none", marker="D", color="k", markersize=5, **draw.face(number))
            looks = {"color": COLOURS[row["family"]], "marker": "o", **draw.face(number)}
            draw.mark(ax, row[ours], y, across=True, low=row[f"{ours}_low"], high=row[f"{ours}_high"], **looks)
        values = pd.concat([table[theirs], table[ours]])
        margin = 0.12 * (values.max() - min(0, values.min())) + 1
        ax.set_xlim(min(0, values.min()) - margin, values.max() + margin)
        ax.set_xlabel(title)
        ax.grid(axis="y", visible=False)
    draw.name_rows(axes[0], forms, 30)
    surely = table.groupby("form", sort=False).saved_low.min()
    held = int((surely > 0).sum())
    draw.say(fig, f"The study saved time with every strategy; here {held} of {len(forms)} surely do for both models")
    kinds = [
        draw.handle(color="k", marker=marker, **draw.face(number), label=f"{model}, {whose}")
        for marker, whose in (("D", "the authors' earlier report"), ("o", "ours, 95 % interval"))
        for number, model in enumerate(models)
    ]
    draw.legend_below(fig, kinds, columns=2)
    return fig
