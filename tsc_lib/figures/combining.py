"""Figures of strategies together: what each step contributes, by what to choose what is removed, and the front."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tsc_lib.analysis.ablation import CRITERIA, TRAININGS
from tsc_lib.analysis.references import STUDY_SAVINGS
from tsc_lib.analysis.tables import at_batch, learned, strategy_table
from tsc_lib.core.stats import pareto_front
from tsc_lib.figures.common import (
    cell,
    families_in,
    grid,
    guide,
    handle,
    legend_below,
    mark,
    nothing,
    plain_log,
    rows_by_model,
    strategy_handles,
    unique,
)
from tsc_lib.figures.palette import QUIET, SEQUENCE, STRATEGY_COLOURS, STRATEGY_MARKERS, instead, styled

TRAINING_MARKERS = dict(zip(TRAININGS, ("x", "o", "D"), strict=True))
TRAINING_COLOURS = dict(zip(TRAININGS, (QUIET, SEQUENCE[0], SEQUENCE[2]), strict=True))


@styled
def savings_by_step(ways: pd.DataFrame) -> Figure:
    """CPU time on the way to a recipe, step by step.

    Parameters
    ----------
    ways : DataFrame
        From `tsc_lib.analysis.ablation.ways_to`.

    Returns
    -------
    Figure
        One column of panels per data set, one row per model; every step multiplies what the one before it left, so the
        axis is logarithmic and equal factors are equally long. Hollow marks are the small batch.
    """
    if ways.empty:
        return nothing("this profile does not run the recipe")
    way, small = at_batch(ways), at_batch(ways, "small")
    names = {model: unique(part.step) for model, part in way.sort_values("position", kind="stable").groupby("model")}
    fig, cells = _rows(way, names, "CPU time \N{DIVISION SIGN} eager fp32", sharex=True)
    for ax, dataset, model in cells:
        steps = names[model]
        for table, shift, face in ((small, 0.2, "white"), (way, -0.1, SEQUENCE[0])):
            part = cell(table, dataset, model)
            y = part.step.map(steps.index) + shift
            mark(ax, part.cpu_ratio, y, across=True, low=part.cpu_ratio_low, high=part.cpu_ratio_high, marker="o",
                 color=SEQUENCE[0], markerfacecolor=face, linestyle="-", linewidth=0.7)  # fmt: skip
        part = cell(way, dataset, model)
        for line in part.itertuples():
            if line.position:
                ax.annotate(f"\N{DIVISION SIGN}{1 / line.factor:.2g}", (line.cpu_ratio, steps.index(line.step) - 0.1),
                            xytext=(6, 3), textcoords="offset points", fontsize=7.5)  # fmt: skip
        plain_log(ax)
    handles = [
        handle(color=SEQUENCE[0], marker="o", linestyle="-", label="large batch, factor of the step"),
        handle(color=SEQUENCE[0], marker="o", markerfacecolor="white", linestyle="-", label="batch of 1"),
        handle(color=SEQUENCE[0], linestyle="-", label="95 % interval over seeds"),
    ]
    legend_below(fig, handles)
    return fig


def _rows(table: pd.DataFrame, names: dict[str, list[str]], xlabel: str, **options: Any) -> tuple[Figure, list]:
    """Panels of data sets and models that have a row for each of the model's names."""
    fig, cells = rows_by_model(unique(table.dataset), names, 0.32, xlabel=xlabel, **options)
    for ax, _, _ in cells:
        ax.margins(x=0.12)
    return fig, cells


@styled
def left_out(table: pd.DataFrame) -> Figure:
    """Accuracy lost by a recipe and by what is left of it without one of its steps.

    Parameters
    ----------
    table : DataFrame
        From `tsc_lib.analysis.ablation.without_each`.

    Returns
    -------
    Figure
        One column of panels per data set, one row per model, with 95 % intervals over the seeds; beside each mark how
        many times less CPU time it takes than eager fp32.
    """
    if table.empty:
        return nothing("this profile does not run the recipe")
    by_model = {model: unique(part.left_out) for model, part in table.groupby("model", sort=False)}
    said = {
        model: [f"without {name}" if name != "nothing" else "the recipe" for name in names]
        for model, names in by_model.items()
    }
    fig, cells = _rows(table, said, "accuracy lost, points", sharex="col")
    for ax, dataset, model in cells:
        guide(ax, x=0)
        names = by_model[model]
        part = cell(table, dataset, model)
        y = part.left_out.map(names.index)
        mark(ax, part.points_lost, y, across=True, low=part.points_lost_low, high=part.points_lost_high, marker="o",
             color=SEQUENCE[0])  # fmt: skip
        for line in part.itertuples():
            ax.annotate(f"1/{1 / line.cpu_ratio:.0f}", (line.points_lost, names.index(line.left_out)), xytext=(0, 5),
                        textcoords="offset points", ha="center", fontsize=7.5)  # fmt: skip
    handles = [
        handle(color=SEQUENCE[0], marker="o", linestyle="-", label="mean, 95 % interval over seeds"),
        handle(color="k", marker="$1/n$", markersize=16, label="share of the CPU time of eager fp32"),
    ]
    legend_below(fig, handles)
    return fig


@styled
def importance_criteria(table: pd.DataFrame) -> Figure:
    """Accuracy lost by removal according to each criterion, beside removal at random, at equal multiply-adds.

    Parameters
    ----------
    table : DataFrame
        From `tsc_lib.analysis.ablation.criteria`.

    Returns
    -------
    Figure
        One column of panels per data set, one row per model; as pruned, fine-tuned and distilled, with 95 % intervals
        over the seeds.
    """
    if table.empty:
        return nothing("this profile does not compare criteria of importance")
    names = [name for name in CRITERIA if name in set(table.criterion)]
    models = {model: f"{model}\naccuracy lost, points" for model in unique(table.model)}
    fig, cells = grid(unique(table.dataset), models, 2.0, sharex=True, sharey="row", below=0.3)
    for ax, dataset, model in cells:
        guide(ax, y=0)
        part = cell(table, dataset, model)
        for place, training in enumerate(TRAININGS):
            line = part[part.training == training]
            x = line.criterion.map(names.index) + 0.2 * (place - 1)
            mark(ax, x, line.points_lost, low=line.points_lost_low, high=line.points_lost_high,
                 marker=TRAINING_MARKERS[training], color=TRAINING_COLOURS[training], markersize=5)  # fmt: skip
        ax.set_xticks(range(len(names)), names, rotation=35, ha="right")
        ax.grid(axis="x", visible=False)
    present = [training for training in TRAININGS if training in set(table.training)]
    handles = [handle(color=TRAINING_COLOURS[t], marker=TRAINING_MARKERS[t], label=t) for t in present]
    legend_below(fig, [*handles, handle(color=QUIET, marker="|", markersize=10, label="95 % interval over seeds")])
    return fig


GOALS = {"large": (20, "a twentieth"), "small": (12, "a twelfth")}
"""Which part of the CPU time is aimed at, by batch size."""


@styled
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
        the seeds. The dotted lines are the energy that the study states to be left, which is not CPU time.
    """
    part, goal = GOALS[which]
    table = strategy_table(learned(results), which)
    lines = {model: f"{model}\naccuracy lost, points" for model in unique(table.model)}
    xlabel = "CPU time \N{DIVISION SIGN} eager fp32"
    fig, cells = grid(unique(results.dataset), lines, 2.6, xlabel=xlabel, sharex=True, sharey="row")
    for ax, dataset, model in cells:
        guide(ax, y=1, linestyle="--")
        for saved in STUDY_SAVINGS.values():
            guide(ax, x=1 - saved / 100, linestyle=":")
        _front(ax, cell(table, dataset, model))
        guide(ax, x=1 / part, color="k")
        plain_log(ax)
        ax.set_ylim(max(-8, table.points_lost.min() - 1), min(15, table.points_lost.max() + 1))
    handles = [
        *strategy_handles(families_in(table)),
        handle(color=QUIET, linestyle=":", label="the study, energy"),
        handle(color="k", linestyle="-", label=goal),
        handle(color=QUIET, linestyle="--", label="1 point"),
        handle(color=QUIET, marker="+", markersize=10, label="95 % intervals"),
    ]
    legend_below(fig, handles)
    return fig


def _front(ax: Axes, part: pd.DataFrame) -> None:
    if part.empty:
        instead(ax, "not run")
        return
    front = part[pareto_front(part.cpu_ratio, -part.points_lost)].sort_values("cpu_ratio")
    ax.step(front.cpu_ratio, front.points_lost, where="post", color=QUIET, linewidth=1, zorder=1)
    for line in front.itertuples():
        colour = STRATEGY_COLOURS[line.family]
        ax.vlines(line.cpu_ratio, line.points_lost_low, line.points_lost_high, color=colour, linewidth=0.8, alpha=0.7)
        ax.hlines(line.points_lost, line.cpu_ratio_low, line.cpu_ratio_high, color=colour, linewidth=0.8, alpha=0.7)
    for line in part.sort_values("family", ascending=False, kind="stable").itertuples():
        colour = STRATEGY_COLOURS[line.family]
        ax.plot(line.cpu_ratio, line.points_lost, STRATEGY_MARKERS[line.family], color=colour, markersize=5,
                markerfacecolor=colour if line.tuned else "white")  # fmt: skip
