"""Figures of quantization: int8 beside fp32 on the same runtime."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tsc_lib.figures.common import (
    families_in,
    guide,
    handle,
    legend_below,
    mark,
    nothing,
    panels,
    strategy_handles,
    unique,
)
from tsc_lib.figures.palette import QUIET, STRATEGY_COLOURS, STRATEGY_MARKERS, styled
from tsc_lib.strategies import BASELINE, DYNAMIC, RUNTIME, STATIC, annotate
from tsc_lib.tables import CELL, VARIANT, at_batch, batch_name, batches, over_seeds, succeeded

PAIRS = {"eager": (BASELINE, DYNAMIC), "inductor": (RUNTIME, STATIC)}
"""Each number format beside fp32 on its own runtime: eager, and the compiled one."""

FAMILIES_SHOWN = [family for pair in PAIRS.values() for family in pair]


def _quantized(results: pd.DataFrame) -> pd.DataFrame:
    rows = annotate(succeeded(results))
    return rows[rows.family.isin(FAMILIES_SHOWN)]


@styled
def quantized_accuracy(results: pd.DataFrame) -> Figure:
    """Percentage points of accuracy lost by int8, against fp32 of the same trained model.

    Parameters
    ----------
    results : DataFrame
        The results table.

    Returns
    -------
    Figure
        One panel per data set; small marks are seeds with a paired bootstrap, large ones their mean with Student's
        interval.
    """
    rows = _quantized(at_batch(results))
    rows = rows[rows.family.isin([DYNAMIC, STATIC])]
    if rows.empty:
        return nothing("nothing was quantized in this profile")
    datasets, models = unique(results.dataset), unique(rows.model)
    lines = [(model, family) for model in models for family in families_in(rows)]
    fig, axes = panels(1, len(datasets), 0.42 * len(lines) + 0.7, sharey=True, sharex=True)
    for ax, dataset in zip(axes[0], datasets, strict=True):
        guide(ax, x=0)
        for y, (model, family) in enumerate(lines):
            chosen = (rows.dataset == dataset) & (rows.model == model) & (rows.family == family)
            _points_lost(ax, rows[chosen], y, family)
        ax.set_title(dataset)
        ax.set_xlabel("accuracy lost, points")
    axes[0, 0].set_yticks(range(len(lines)), [f"{model}, {family}" for model, family in lines])
    axes[0, 0].set_ylim(len(lines) - 0.5, -0.5)
    marks = (("mean over seeds, 95 % interval", 7), ("each seed, 95 % over test series", 3.5))
    legend_below(fig, [handle(color=QUIET, marker="^", markersize=size, label=text) for text, size in marks])
    return fig


def _points_lost(ax: Axes, rows: pd.DataFrame, y: float, family: str) -> None:
    if rows.empty:
        return
    style = {"marker": STRATEGY_MARKERS[family], "color": STRATEGY_COLOURS[family]}
    if len(rows) > 1:
        spread = y + np.linspace(0.1, 0.36, len(rows))
        low, high = rows.accuracy_drop_low, rows.accuracy_drop_high
        mark(ax, rows.accuracy_drop, spread, across=True, low=low, high=high, **style, markersize=2.5, elinewidth=0.6)
    mean = over_seeds(rows, "accuracy_drop", CELL).iloc[0]
    mark(ax, mean.accuracy_drop, y - 0.12, across=True, low=mean.low, high=mean.high, **style, elinewidth=1.8)


@styled
def quantized_cost(results: pd.DataFrame, value: str, title: str) -> Figure:
    """A cost of int8 beside fp32 on the same runtime, at every batch size.

    Parameters
    ----------
    results : DataFrame
        The results table.
    value : str
        The column of the cost, e.g. "cpu_ms_per_sample".
    title : str
        Its name with the unit, for the axis.

    Returns
    -------
    Figure
        One column of panels per data set, one row per model and kind of batch; over each int8 bar its ratio in CPU
        time to fp32 at its left; 95 % intervals over the seeds.
    """
    rows = _quantized(results)
    if rows.family.isin([DYNAMIC, STATIC]).sum() == 0:
        return nothing("nothing was quantized in this profile")
    datasets = unique(results.dataset)
    kinds = [(model, which) for which in batches(results) for model in unique(rows.model)]
    fig, axes = panels(len(kinds), len(datasets), 1.6, sharex=True)
    for row, (model, which) in enumerate(kinds):
        sized = _quantized(at_batch(results, which))
        for ax, dataset in zip(axes[row], datasets, strict=True):
            _cost_bars(ax, sized[(sized.dataset == dataset) & (sized.model == model)], value)
        axes[row, 0].set_ylabel(f"{model}, {batch_name(sized)}\n{title}", fontsize=8)
    for column, dataset in enumerate(datasets):
        axes[0, column].set_title(dataset)
    legend_below(fig, strategy_handles(families_in(rows), marker="s"))
    return fig


def _cost_bars(ax: Axes, rows: pd.DataFrame, value: str) -> None:
    summary = over_seeds(rows, value, VARIANT).drop_duplicates("family").set_index("family")
    # Paired within each session, which a quotient of the bars would not be.
    ratios = over_seeds(rows, "cpu_ratio", VARIANT, geometric=True).drop_duplicates("family").set_index("family")
    pairs = {runtime: pair for runtime, pair in PAIRS.items() if set(pair) & set(summary.index)}
    for group, pair in enumerate(pairs.values()):
        for i, family in enumerate(pair):
            if family not in summary.index:
                continue
            x, bar = group * 1.3 + i * 0.5, summary.loc[family]
            ax.bar(x, bar[value], 0.46, color=STRATEGY_COLOURS[family])
            ax.vlines(x, bar.low, bar.high, color="#777777", linewidth=1.6)
            if i and pair[0] in summary.index:
                text = f"×{ratios.cpu_ratio[family] / ratios.cpu_ratio[pair[0]]:.2f}"
                top = np.nanmax([bar[value], bar.high])
                ax.annotate(text, (x, top), xytext=(0, 2), textcoords="offset points", ha="center", fontsize=8.5)
    ax.set_xticks([group * 1.3 + 0.25 for group in range(len(pairs))], list(pairs))
    ax.set_xlim(-0.5, max(1, len(pairs)) * 1.3 - 0.3)
    ax.margins(y=0.18)
    ax.set_ylim(bottom=0)
    ax.grid(axis="x", visible=False)
