"""Figures of what inference costs and what strategies save, weighed against accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from tsc_lib.analysis.strategies import BASELINE
from tsc_lib.analysis.tables import (
    CELL,
    at_batch,
    batch_name,
    batches,
    energy_table,
    learned,
    over_seeds,
    representatives,
    strategy_table,
    succeeded,
)
from tsc_lib.core.stats import pareto_front
from tsc_lib.energy import same_source
from tsc_lib.figures.common import (
    cell,
    change,
    drawing,
    families_in,
    grid,
    guide,
    handle,
    interval_handle,
    legend_below,
    mark,
    name_rows,
    nothing,
    panels,
    plain_log,
    rows_by_model,
    strategy_handles,
    unique,
)
from tsc_lib.figures.palette import QUIET, STRATEGY_COLOURS, STRATEGY_MARKERS, instead, styled

NUMBER_PLACES: tuple[dict[str, Any], ...] = (
    {"xytext": (4, -11), "ha": "left"},
    {"xytext": (-4, 4), "ha": "right"},
    {"xytext": (4, 4), "ha": "left"},
    {"xytext": (-4, -11), "ha": "right"},
)
"""Where numbers stand beside their marks in turn, since neighbours on a front may nearly coincide."""


@styled
def energy_by_strategy(results: pd.DataFrame) -> Figure:
    """Energy of one inference by strategy at the large batch, one variant of each family.

    Parameters
    ----------
    results : DataFrame
        The results table.

    Returns
    -------
    Figure
        One column of panels per data set, one row per model; dark intervals are over the seeds, the pale bars what the
        source itself is unsure of. Where a counter told idle power, hollow marks are net of it.
    """
    table = energy_table(results)
    source = same_source(table.energy_source)
    ordered = table.sort_values("family", kind="stable").groupby("model")
    labels = {model: unique(part.label) for model, part in ordered}
    fig, cells = rows_by_model(unique(table.dataset), labels, 0.33, xlabel=f"mJ/series ({source})", sharex="col")
    for ax, dataset, model in cells:
        _energy_panel(ax, cell(table, dataset, model), labels[model])
        drawn = table.loc[table.dataset == dataset, ["source_low", "source_high", "net"]].to_numpy(dtype=float)
        if len(drawn := drawn[drawn > 0]):
            ax.set_xlim(0.8 * drawn.min(), 1.25 * drawn.max())
    handles = [
        handle(color="#BBBBBB", linestyle="-", linewidth=5, label="what the source itself is unsure of"),
        handle(color="k", marker="o", label="mean, 95 % interval over seeds; change against fp32"),
    ]
    if table.net.notna().any():
        handles.append(handle(color="k", marker="o", markerfacecolor="w", label="net of idle power"))
    legend_below(fig, handles, columns=2)
    return fig


def _energy_panel(ax: Axes, table: pd.DataFrame, labels: list[str]) -> None:
    for line in table.itertuples():
        y = labels.index(line.label)
        looks: dict[str, Any] = {"marker": STRATEGY_MARKERS[line.family], "color": STRATEGY_COLOURS[line.family]}
        ends = [line.source_low, line.source_high]
        ax.plot(ends, [y, y], color="#D5D5D5", linewidth=6, solid_capstyle="butt", zorder=1)
        mark(ax, line.energy_mj_per_sample, y, across=True, low=line.low, high=line.high, zorder=3, **looks)
        if np.isfinite(line.net):
            ax.plot(line.net, y, markerfacecolor="w", markersize=4.5, zorder=2, **looks)
        if line.family != BASELINE:
            ax.annotate(change(line.energy_ratio), (line.energy_mj_per_sample, y), xytext=(0, 4),
                        textcoords="offset points", ha="center", fontsize=7.5)  # fmt: skip
    plain_log(ax)


@styled
def energy_beside_model(results: pd.DataFrame) -> Figure:
    """Energy by the chosen source beside what the counted operations stand for: two quantities, each on its own axis.

    Parameters
    ----------
    results : DataFrame
        The results table.

    Returns
    -------
    Figure
        One row of panels per data set, one variant of each family at the large batch; the source's energy at the left
        with 95 % intervals over the seeds, the modelled energy at the right, which has none.
    """
    rows = representatives(results)
    source = same_source(rows.energy_source)
    datasets, models = unique(results.dataset), unique(results.model)
    labels = unique(rows.sort_values("family", kind="stable").label)
    fig, axes = panels(len(datasets), 2, 0.34 * len(labels) + 0.5, sharey=True)
    views = (("energy_mj_per_sample", "energy_ratio"), ("energy_modelled_mj_per_sample", None))
    for line, dataset in zip(axes, datasets, strict=True):
        for ax, (energy, ratio) in zip(line, views, strict=True):
            plain_log(ax)
            for number, model in enumerate(models):
                _view(ax, cell(rows, dataset, model), energy, ratio, labels, hollow=number > 0)
            ax.margins(x=0.2)
        line[0].set_title(dataset, loc="left")
    axes[-1, 0].set_xlabel(f"{source}, mJ/series")
    axes[-1, 1].set_xlabel("modelled, mJ/series (another quantity)")
    name_rows(axes[0, 0], labels, 30)
    handles = [
        handle(color="k", marker="o", markerfacecolor="w" if number else "k", label=f"{model}, change against fp32")
        for number, model in enumerate(models)
    ]
    legend_below(fig, [*handles, handle(color=QUIET, linestyle="-", label="95 % interval over seeds")])
    return fig


def _view(ax: Axes, rows: pd.DataFrame, energy: str, ratio: str | None, labels: list[str], hollow: bool) -> None:
    """Marks of one model, above the row's line or below it, each with its change against eager fp32."""
    by = [*CELL, "family", "label"]
    fp32 = rows.loc[rows.family == BASELINE, energy].mean()
    for line in over_seeds(rows, energy, by).itertuples():
        value, y = getattr(line, energy), labels.index(line.label) + (0.2 if hollow else -0.12)
        colour = STRATEGY_COLOURS[line.family]
        mark(ax, value, y, across=True, low=line.low, high=line.high, marker=STRATEGY_MARKERS[line.family],
             color=colour, markerfacecolor="w" if hollow else colour)  # fmt: skip
        part = rows[rows.label == line.label]
        against_fp32 = np.exp(np.log(part[ratio]).mean()) if ratio else value / fp32
        if line.family != BASELINE and np.isfinite(against_fp32):
            end = line.high if np.isfinite(line.high) else value  # clear of the interval
            ax.annotate(change(against_fp32), (end, y), xytext=(6, 0), textcoords="offset points", va="center",
                        fontsize=7.5)  # fmt: skip


@styled
def saving_against_loss(results: pd.DataFrame) -> Figure:
    """CPU time saved against accuracy lost, every variant at the large batch.

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
    table = strategy_table(learned(results))
    table = table[table.family != BASELINE].assign(saved=lambda t: 100 * (1 - t.cpu_ratio))
    lines = {model: f"{model}\nCPU time saved, %" for model in unique(results.model)}
    xlabel = "accuracy lost, points"
    fig, cells = grid(unique(results.dataset), lines, 2.4, xlabel=xlabel, sharey=True, sharex="col")
    for ax, dataset, model in cells:
        guide(ax, x=0)
        guide(ax, y=0)
        part = cell(table, dataset, model)
        if part.empty:
            instead(ax, "not run" if cell(results, dataset, model).empty else "collapsed to one class")
        for line in part.itertuples():
            x, y = line.points_lost, line.saved
            colour = STRATEGY_COLOURS[line.family]
            ax.hlines(y, line.points_lost_low, line.points_lost_high, color=colour, linewidth=0.6, alpha=0.6)
            ends = [100 * (1 - ratio) for ratio in (line.cpu_ratio_low, line.cpu_ratio_high)]
            ax.vlines(x, *ends, color=colour, linewidth=0.6, alpha=0.6)
            ax.plot(x, y, STRATEGY_MARKERS[line.family], color=colour, markersize=5.5,
                    markerfacecolor=colour if line.tuned else "white")  # fmt: skip
        if len(lost := table.loc[table.dataset == dataset, "points_lost"]):
            ax.set_xlim(*_around(lost))
    if len(table):
        cells[0][0].set_ylim(*_around(table.saved))
    tuned = handle(color=QUIET, marker="o", label="filled: fine-tuned")
    crosses = handle(color=QUIET, marker="+", markersize=10, label="95 % intervals")
    legend_below(fig, [*strategy_handles(families_in(table)), tuned, crosses])
    return fig


def _around(values: pd.Series) -> tuple[float, float]:
    """Limits that hold all values and 0; wide intervals may run out of them."""
    low, high = min(values.min(), 0), max(values.max(), 0)
    margin = 0.12 * (high - low) + 0.5
    return low - margin, high + margin


@styled
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
    datasets, models = unique(results.dataset), unique(results.model)
    fig = drawing(2.7 * len(datasets) + 0.5)
    axes = fig.subplots(len(datasets), 2, squeeze=False, width_ratios=[1.7, 1])
    for (ax, key), dataset in zip(axes, datasets, strict=True):
        part = table[table.dataset == dataset]
        front = part[pareto_front(part.cpu_ms_per_sample, part.accuracy)].sort_values("cpu_ms_per_sample")
        ax.vlines(front.cpu_ms_per_sample, front.accuracy_low, front.accuracy_high, color="#C8C8C8", zorder=0)
        ax.step(front.cpu_ms_per_sample, front.accuracy, where="post", color=QUIET, linewidth=1, zorder=1)
        for line in part.sort_values("family", ascending=False, kind="stable").itertuples():  # fp32 on top
            colour = STRATEGY_COLOURS[line.family]
            face = colour if line.model == models[0] else "white"
            ax.plot(line.cpu_ms_per_sample, line.accuracy, STRATEGY_MARKERS[line.family], color=colour,
                    markerfacecolor=face, markersize=5.5)  # fmt: skip
        _name_front(ax, key, front)
        plain_log(ax)
        ax.margins(y=0.12)
        ax.set_title(dataset, loc="left")
        ax.set_ylabel("accuracy, %")
    axes[-1, 0].set_xlabel("CPU time, ms per series")
    kinds = [
        handle(color="k", marker="o", markerfacecolor="k" if model == models[0] else "white", label=model)
        for model in models
    ]
    legend_below(fig, [*strategy_handles(families_in(table)), *kinds, interval_handle()])
    return fig


def _name_front(ax: Axes, key: Axes, front: pd.DataFrame) -> None:
    key.set_axis_off()
    lines = []
    for number, line in enumerate(front.itertuples(), 1):
        where = NUMBER_PLACES[number % len(NUMBER_PLACES)]
        ax.annotate(str(number), (line.cpu_ms_per_sample, line.accuracy), textcoords="offset points", fontsize=8.5,
                    fontweight="bold", path_effects=[withStroke(linewidth=2, foreground="w")], **where)  # fmt: skip
        lines.append(f"{number}  {line.model}, {line.label}: {line.accuracy:.1f} %")
    key.text(0, 1, "\n".join(lines), va="top", fontsize=7.5, linespacing=1.5, transform=key.transAxes)


@styled
def aa_control(windows: pd.DataFrame, results: pd.DataFrame) -> Figure:
    """What the measurement makes of no difference: the reference loaded twice and measured against itself.

    Parameters
    ----------
    windows : DataFrame
        Columns `dataset`, `model`, `seed`, `batch_size` and `ratio`, one row per block.
    results : DataFrame
        The results table, for each session's estimate.

    Returns
    -------
    Figure
        One panel per batch size: pale dots are blocks, black ones the sessions' estimates with their 95 % intervals.
    """
    if windows.empty:
        return nothing("no benchmark session was run")
    kinds = batches(results)
    cells = list(windows.groupby(CELL, sort=False).groups)
    fig, axes = panels(1, len(kinds), 0.42 * len(cells) + 0.8, sharey=True, sharex=True)
    spread = np.random.default_rng(0)
    for ax, which in zip(axes[0], kinds, strict=True):
        sessions = succeeded(at_batch(results, which)).drop_duplicates([*CELL, "seed"])
        drawn = at_batch(windows, which)
        ax.axvspan(0.97, 1.03, color=QUIET, alpha=0.15, linewidth=0)
        guide(ax, x=1)
        for y, (dataset, model) in enumerate(cells):
            blocks = cell(drawn, dataset, model).ratio
            ax.plot(blocks, y + spread.uniform(0.02, 0.38, len(blocks)), ".", color=QUIET, markersize=2.5, alpha=0.5)
            found = cell(sessions, dataset, model)
            mark(ax, found.aa_ratio, y - 0.12 * np.arange(len(found)) / max(len(found) - 1, 1) * 2 - 0.1, across=True,
                 low=found.aa_ratio_low, high=found.aa_ratio_high, marker="o", color="k", markersize=3.5)  # fmt: skip
        ax.set_title(batch_name(drawn))
        ax.set_xlabel("CPU time, second loading ÷ first")
    limit = max(0.05, *np.abs(windows.ratio.quantile([0.01, 0.99]) - 1))
    axes[0, 0].set_xlim(1 - limit, 1 + limit)
    name_rows(axes[0, 0], [f"{dataset}, {model}" for dataset, model in cells])
    beyond = (np.abs(windows.ratio - 1) > limit).mean()
    handles = [
        handle(color="k", marker="o", markersize=4, label="a session's estimate, 95 % interval"),
        handle(color=QUIET, marker=".", label=f"one block ({100 * beyond:.0f} % lie outside)"),
        handle(color=QUIET, alpha=0.4, marker="s", markersize=9, label="1 ± 3 %"),
    ]
    legend_below(fig, handles)
    return fig
