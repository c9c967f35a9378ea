"""Figures of cost against accuracy: every strategy, the fronts, and what a search tried."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from tsc_lib.analysis.quantities import PERMITTED_LOSS, TARGETS, add_times_less, find_fronts
from tsc_lib.analysis.references import STUDY_SAVINGS
from tsc_lib.analysis.rows import annotate, drop_collapsed
from tsc_lib.analysis.tables import strategy_table
from tsc_lib.analysis.wording import format_range
from tsc_lib.compress import Family
from tsc_lib.core.stats import pareto_front
from tsc_lib.figures import draw
from tsc_lib.figures.palette import COLOURS, LOOKS, QUIET, SEQUENCE, Looks
from tsc_lib.figures.scales import plain_log

NUMBER_PLACES: tuple[tuple[tuple[int, int], str], ...] = (
    ((4, -11), "left"),
    ((-4, 4), "right"),
    ((4, 4), "left"),
    ((-4, -11), "right"),
)
"""Where numbers stand beside their marks in turn, since neighbours on a front may nearly coincide."""

INTERVALS: Looks = {"color": QUIET, "marker": "+", "markersize": 10, "label": "95 % intervals"}


@draw.with_style
def saving_against_loss(results: pd.DataFrame) -> Figure:
    """How many times less CPU time against accuracy lost, every variant at the large batch.

    Parameters
    ----------
    results : DataFrame
        The results table.

    Returns
    -------
    Figure
        One column of panels per data set, one row per model; crosses are 95 % intervals. Seeds whose model had
        collapsed to one class are left out: it has nothing to lose.
    """
    table = add_times_less(strategy_table(drop_collapsed(results)), "cpu_ratio")
    table = table[table.family != Family.BASELINE]
    lines = {model: f"{model}\ntimes less CPU time" for model in draw.unique(results.model)}
    xlabel = "accuracy lost, points"
    fig, cells = draw.grid(draw.unique(results.dataset), lines, 2.4, xlabel=xlabel, sharey=True, sharex="col")
    for ax, dataset, model in cells:
        draw.guide(ax, x=0)
        draw.guide(ax, y=1)
        part = draw.select_case(table, dataset, model)
        if part.empty:
            unrun = draw.select_case(results, dataset, model).empty
            draw.explain_empty(ax, "not run" if unrun else "collapsed to one class")
        draw.crosses(ax, part, "points_lost", "times", 0.6, 0.6)
        _variants(ax, part, "points_lost", "times", markersize=5.5)
        plain_log(ax, "y")
        if len(lost := table.loc[table.dataset == dataset, "points_lost"]):
            ax.set_xlim(*_around(lost))
    if len(table):
        cells[0][0].set_ylim(0.8 * min(table.times.min(), 1), 1.25 * table.times.max())
        best = table.loc[table.times.idxmax()]
        draw.say(fig, f"Up to {best.times:.0f} times less CPU time, by {best.label} ({best.model}, {best.dataset})")
    tuned = draw.handle(color=QUIET, marker="o", label="filled: fine-tuned")
    draw.legend_below(fig, [*draw.family_handles(table), tuned, draw.handle(**INTERVALS)])
    return fig


def _variants(ax: Axes, table: pd.DataFrame, x: str, y: str, *, edges: bool = False, **options: Any) -> None:
    """A mark for each variant in the looks of its family, filled if it was trained further; fp32 on top.

    With `edges` the panel's limits stand already, and what lies beyond them is marked at its edge.
    """
    for row in table.sort_values("family", ascending=False, kind="stable").to_dict("records"):
        looks = LOOKS[row["family"]]
        looks = {**looks, "markerfacecolor": looks["color"] if row["tuned"] else "white", **options}
        if not (edges and draw.at_edge(ax, row[x], row[y], looks)):
            ax.plot(row[x], row[y], linestyle="none", **looks)


def _around(values: pd.Series) -> tuple[float, float]:
    """Limits that hold all values and 0; wide intervals may run out of them."""
    low, high = min(values.min(), 0), max(values.max(), 0)
    margin = 0.12 * (high - low) + 0.5
    return low - margin, high + margin


@draw.with_style
def pareto(results: pd.DataFrame) -> Figure:
    """Accuracy against CPU time, all models and variants, and the front of those that none beats.

    Parameters
    ----------
    results : DataFrame
        The results table.

    Returns
    -------
    Figure
        One panel per data set, means over the seeds at the large batch; the members of the front have their 95 %
        intervals over the seeds, are numbered in the panel and named at its right.
    """
    table = strategy_table(results)
    datasets, models = draw.unique(results.dataset), draw.unique(results.model)
    fig = draw.new_figure(2.7 * len(datasets) + 0.5)
    axes = fig.subplots(len(datasets), 2, squeeze=False, width_ratios=[1.7, 1])
    fronts = find_fronts(table, ["dataset"], "cpu_ms_per_sample")
    for (ax, key), dataset in zip(axes, datasets, strict=True):
        part, front = (rows[rows.dataset == dataset] for rows in (table, fronts))
        ax.vlines(front.cpu_ms_per_sample, front.accuracy_low, front.accuracy_high, color="#C8C8C8", zorder=0)
        ax.step(front.cpu_ms_per_sample, front.accuracy, where="post", color=QUIET, linewidth=1, zorder=1)
        for row in part.sort_values("family", ascending=False, kind="stable").itertuples():  # fp32 on top
            looks = {**LOOKS[row.family], **draw.face(models.index(row.model))}
            ax.plot(row.cpu_ms_per_sample, row.accuracy, linestyle="none", markersize=5.5, **looks)
        _name_front(ax, key, front)
        plain_log(ax)
        ax.margins(y=0.12)
        ax.set_title(dataset, loc="left")
        ax.set_ylabel("accuracy, %")
    axes[-1, 0].set_xlabel("CPU time, ms per series")
    draw.say(fig, _say_front(table, fronts))
    handles = [*draw.family_handles(table), *draw.model_handles(models)]
    draw.legend_below(fig, [*handles, draw.interval_handle()])
    return fig


def _say_front(table: pd.DataFrame, fronts: pd.DataFrame) -> str:
    """How many variants stand on the fronts of a `strategy_table`, and whether fp32 in eager is one of them."""
    plain, datasets = fronts[fronts.family == Family.BASELINE].dataset.nunique(), table.dataset.nunique()
    where = f"on {plain or 'none'} of {datasets} fronts" if datasets > 1 else f"{'' if plain else 'not '}among them"
    return f"{len(fronts)} of {len(table)} variants are beaten by no other; fp32 in eager is {where}"


def _name_front(ax: Axes, key: Axes, front: pd.DataFrame) -> None:
    key.set_axis_off()
    lines = []
    halo = [withStroke(linewidth=2, foreground="w")]
    for number, line in enumerate(front.itertuples(), 1):
        shift, side = NUMBER_PLACES[number % len(NUMBER_PLACES)]
        draw.note(ax, str(number), (line.cpu_ms_per_sample, line.accuracy), shift, ha=side, fontsize=8.5,
                  fontweight="bold", path_effects=halo)  # fmt: skip
        lines.append(f"{number}  {line.model}, {line.label}: {line.accuracy:.1f} %")
    key.text(0, 1, "\n".join(lines), va="top", fontsize=7.5, linespacing=1.5, transform=key.transAxes)


@draw.with_style
def front_beside_study(results: pd.DataFrame, which: str = "large") -> Figure:
    """Accuracy lost against CPU time relative to eager fp32, the front, and what the study reports.

    Parameters
    ----------
    results : DataFrame
        The results table.
    which : {"large", "small"}
        At which batch size.

    Returns
    -------
    Figure
        One column of panels per data set, one row per model; the members of the front have their 95 % intervals over
        the seeds. What lies beyond an axis stands at its edge, with its value. The dotted lines are the energy that
        the study states to be left, which is not CPU time.
    """
    table = strategy_table(drop_collapsed(results), which)
    options: dict[str, Any] = {"xlabel": "CPU time \N{DIVISION SIGN} eager fp32", "sharex": True, "sharey": "row"}
    datasets = draw.unique(results.dataset)
    fig, cells = draw.case_grid(table, "accuracy lost, points", 2.6, datasets=datasets, **options)
    limits = max(-8, table.points_lost.min() - 1), min(15, table.points_lost.max() + 1)
    for panel in cells:
        ax, part = panel.ax, panel.rows
        draw.guide(ax, y=1, linestyle="--")
        for saved in STUDY_SAVINGS.values():
            draw.guide(ax, x=1 - saved / 100, linestyle=":")
        if part.empty:
            draw.explain_empty(ax, "not run")
        else:
            front = part[pareto_front(part.cpu_ratio, -part.points_lost)].sort_values("cpu_ratio")
            ax.step(front.cpu_ratio, front.points_lost, where="post", color=QUIET, linewidth=1, zorder=1)
            draw.crosses(ax, front, "cpu_ratio", "points_lost", 0.8, 0.7)
            ax.set_ylim(*limits)
            _variants(ax, part, "cpu_ratio", "points_lost", edges=True, markersize=5)
        draw.guide(ax, x=1 / TARGETS[which], color="k")
        plain_log(ax)
    handles = [
        *draw.family_handles(table),
        draw.handle(color=QUIET, linestyle=":", label="the study, energy"),
        draw.handle(color="k", linestyle="-", label=f"1/{TARGETS[which]}"),
        draw.handle(color=QUIET, linestyle="--", label="1 point"),
        draw.handle(**INTERVALS),
    ]
    draw.legend_below(fig, handles)
    kept = table[(table.points_lost <= PERMITTED_LOSS) & (table.family != Family.BASELINE)]
    times = (1 / kept.groupby(["dataset", "model"]).cpu_ratio.min()).dropna()
    if len(times):
        least = f"{format_range(times, 1 if times.max() < 10 else 0)} times less CPU time"
        draw.say(fig, f"Within {PERMITTED_LOSS:g} point of accuracy the front reaches {least}")
    else:
        draw.say(fig, f"Nothing keeps within {PERMITTED_LOSS:g} point of accuracy")
    return fig


@draw.with_style
def search_plane(trials: pd.DataFrame) -> Figure:
    """Every recipe that a search trained, by its cost and its validation accuracy, with the Pareto front.

    Parameters
    ----------
    trials : DataFrame
        Of `tsc_lib.search.results.load_searches`.

    Returns
    -------
    Figure
        A panel for every data set, model and objective. Filled marks were measured in a session, the others by the
        short benchmark; the line joins those that no other beats, by the accuracy that is expected of them.
    """
    if trials.empty:
        return draw.empty_figure("no search has finished yet: python -m tsc_lib optimize")
    table = annotate(trials)
    lines = {
        (model, objective): f"{model}, {objective}\npoints lost on validation"
        for model, objective in sorted(table.groupby(["model", "objective"]).groups)
    }
    xlabel = "cost, share of the uncompressed model's"
    fig, cells = draw.grid(draw.unique(table.dataset), lines, 2.8, xlabel=xlabel)
    for ax, dataset, (model, objective) in cells:
        part = draw.select_case(table, dataset, model)
        part = part[part.objective == objective]
        for (family, measured), rows in part.groupby(["family", "measured"], observed=True):
            face = COLOURS[family] if measured else "none"
            draw.mark(ax, rows.cost, rows["drop"], **LOOKS[family], markerfacecolor=face)
        front = part[part.front].sort_values("cost")
        ax.plot(front.cost, front.expected_drop, color=QUIET, linewidth=0.9, zorder=1, drawstyle="steps-post")
        plain_log(ax)
        ax.invert_yaxis()
    cheapest = table.loc[table.cost.idxmin()]
    said = f"{1 / cheapest.cost:.0f} times less at {cheapest['drop']:+.1f} points lost".replace("-", "\N{MINUS SIGN}")
    draw.say(fig, f"The cheapest of {len(table)} trained recipes costs {said} on validation")
    line = draw.handle(color=QUIET, linestyle="-", label="front, expected")
    draw.legend_below(fig, [*draw.family_handles(table), line])
    return fig


@draw.with_style
def costs_of_pick(costs: pd.DataFrame, pick: str) -> Figure:
    """How many times less a search's pick takes than the uncompressed model, of each kind of cost.

    Parameters
    ----------
    costs : DataFrame
        From `tsc_lib.analysis.picks.list_costs`.
    pick : str
        What the pick is called.

    Returns
    -------
    Figure
        A dot for each kind of cost, with the 95 % interval where there is one.
    """
    fig, costs = draw.new_figure(0.4 * len(costs) + 1.2), add_times_less(costs, "share")
    ax = fig.add_subplot()
    draw.guide(ax, x=1)
    draw.mark_means(ax, costs, "times", range(len(costs)), across=True, marker="o", color=SEQUENCE[0])
    for y, times in enumerate(costs.times):
        draw.note(ax, f"{times:.3g}", (times, y), (0, 6), ha="center")
    plain_log(ax)
    least, most = costs.times.min(), costs.times.max()
    ax.set_xlim(min(0.7, 0.7 * least), max(2.0, 1.5 * most))
    draw.name_rows(ax, [f"{row.cost} ({row.source})" for row in costs.itertuples()])
    ax.set_xlabel("times less than the uncompressed model in eager PyTorch")
    draw.say(fig, f"{pick} takes {least:.2g} to {most:.3g} times less than the uncompressed model")
    return fig
