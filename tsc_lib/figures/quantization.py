"""Figures of quantization: int8 beside fp32 on the same runtime, and layer by layer."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tsc_lib.analysis.strategies import BASELINE, DYNAMIC, RUNTIME, STATIC, annotate
from tsc_lib.analysis.tables import CELL, VARIANT, at_batch, batch_name, batches, over_seeds, succeeded
from tsc_lib.energy import same_source
from tsc_lib.figures.common import (
    bars,
    cell,
    families_in,
    grid,
    guide,
    handle,
    interval_handle,
    legend_below,
    mark,
    name_rows,
    nothing,
    strategy_handles,
    unique,
)
from tsc_lib.figures.palette import QUIET, SEQUENCE, STRATEGY_COLOURS, STRATEGY_MARKERS, instead, styled

FAMILIES_SHOWN = [BASELINE, RUNTIME, DYNAMIC, STATIC]
"""Uncompressed models in eager and in other runtimes, and their int8."""

KIND_COLOURS = dict(
    zip(("query, key, value", "attention output", "expand", "contract", "classifier"), SEQUENCE, strict=False)
)
KIND_MARKERS = dict(zip(KIND_COLOURS, "osD^v", strict=True))
"""Looks of the kinds of linear layers."""


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
    ways = [(f, r) for f in families_in(rows) for r in unique(rows[rows.family == f].runtime)]
    lines = [(model, *way) for model in unique(rows.model) for way in ways]
    height = 0.42 * len(lines) + 0.7
    fig, cells = grid(
        unique(results.dataset), {None: ""}, height, xlabel="accuracy lost, points", sharey=True, sharex=True
    )
    for ax, dataset, _ in cells:
        guide(ax, x=0)
        for y, (model, family, runtime) in enumerate(lines):
            part = cell(rows, dataset, model)
            _points_lost(ax, part[(part.family == family) & (part.runtime == runtime)], y, family)
    name_rows(cells[0][0], [f"{model}, {family}, {runtime}" for model, family, runtime in lines])
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
        Its name with the unit, for the axis; the source of an energy is added.

    Returns
    -------
    Figure
        One column of panels per data set, one row per model and kind of batch, and in each a group of bars for every
        runtime; over each int8 bar its ratio in CPU time to the group's fp32; 95 % intervals over the seeds.
    """
    rows = _quantized(results)
    if rows.family.isin([DYNAMIC, STATIC]).sum() == 0:
        return nothing("nothing was quantized in this profile")
    if value.startswith("energy"):
        title = f"{title} ({same_source(rows.energy_source)})"
    sized = {which: _quantized(at_batch(results, which)) for which in batches(results)}
    lines = {
        (model, which): f"{model}\n{batch_name(table)}\n{title}"
        for which, table in sized.items()
        for model in unique(rows.model)
    }
    runtimes = unique(rows[rows.family.isin([DYNAMIC, STATIC])].runtime)
    groups = {runtime: families_in(rows[rows.runtime == runtime]) for runtime in runtimes}
    fig, cells = grid(unique(results.dataset), lines, 1.6, below=0.6, sharex=True)
    for ax, dataset, (model, which) in cells:
        _cost_bars(ax, cell(sized[which], dataset, model), value, groups)
    ratio = handle(color="k", marker=r"$\times$", markersize=5, label="CPU time ÷ fp32 in the same runtime")
    legend_below(fig, [*strategy_handles(families_in(rows), marker="s"), interval_handle(), ratio], columns=3)
    return fig


def _cost_bars(ax: Axes, rows: pd.DataFrame, value: str, groups: dict[str, list[str]]) -> None:
    ticks, place = [], 0.0
    for runtime, families in groups.items():
        here = rows[rows.runtime == runtime]
        summary = over_seeds(here, value, VARIANT).drop_duplicates("family").set_index("family")
        # Paired within each session, which a quotient of the bars would not be.
        ratios = over_seeds(here, "cpu_ratio", VARIANT, geometric=True).drop_duplicates("family").set_index("family")
        fp32 = [family for family in (BASELINE, RUNTIME) if family in summary.index]
        for i, family in enumerate(families):
            if family not in summary.index:
                continue
            x, bar = place + i * 0.5, summary.loc[[family]]
            bars(ax, x, bar, value, 0.46, STRATEGY_COLOURS[family])
            if family not in fp32 and fp32:
                text = f"×{ratios.cpu_ratio[family] / ratios.cpu_ratio[fp32[0]]:.2f}"
                top = np.nanmax(bar[[value, "high"]])
                ax.annotate(text, (x, top), xytext=(0, 2), textcoords="offset points", ha="center", fontsize=8.5)
        ticks.append(place + 0.25 * (len(families) - 1))
        place += 0.5 * len(families) + 0.3
    ax.set_xticks(ticks, list(groups), rotation=90 if len(groups) > 2 else 0)
    ax.set_xlim(-0.4, place - 0.4)
    ax.margins(y=0.18)
    ax.set_ylim(bottom=0)


@styled
def layer_errors(table: pd.DataFrame) -> Figure:
    """Signal-to-quantization-noise ratio of every int8 layer of the graphs that run, by its place in the network.

    Parameters
    ----------
    table : DataFrame
        Of `tsc_lib.study.layer_sensitivity.error_table`.

    Returns
    -------
    Figure
        One column of panels per data set, one row per model and variant; the noise of all layers before is included.
    """
    rows = succeeded(table)
    if rows.empty:
        return nothing("this profile compares no static int8 whose layers can be looked into")
    rows = rows.assign(model=rows.model + ", " + rows.recipe + "\n" + rows.runtime)
    return _by_layer(rows, "sqnr_db", "signal ÷ noise, dB")


@styled
def sensitivity_map(table: pd.DataFrame) -> Figure:
    """What int8 of one linear layer alone does to the answers, for every layer, by its place in the network.

    Parameters
    ----------
    table : DataFrame
        Of `tsc_lib.study.layer_sensitivity.sensitivity_table`.

    Returns
    -------
    Figure
        One column of panels per data set, one row per model; the divergence from fp32's probabilities is on a
        logarithmic axis.
    """
    if table.empty:
        return nothing("this profile trains no model")
    return _by_layer(table, "divergence", "divergence, nats", logarithmic=True)


def _by_layer(rows: pd.DataFrame, value: str, title: str, logarithmic: bool = False) -> Figure:
    models = {model: f"{model}\n{title}" for model in unique(rows.model)}
    fig, cells = grid(unique(rows.dataset), models, 2.3, xlabel="encoder layer", sharey="row")
    for ax, dataset, model in cells:
        part = cell(rows, dataset, model)
        if not part.block.notna().any():
            instead(ax, "not run" if part.empty else "not told")  # the latter where a runtime tells nothing
            continue
        for kind, of_kind in part.groupby("kind", sort=False):
            of_kind = of_kind.sort_values("block")
            if logarithmic:  # a layer that changes no answer has no place on the axis
                of_kind = of_kind[of_kind[value] > 0]
            ax.plot(of_kind.block, of_kind[value], linewidth=0.8, color=KIND_COLOURS[kind], marker=KIND_MARKERS[kind],
                    markersize=4.5)  # fmt: skip
        last = int(part.block.max())
        step = 1 if last < 8 else 3
        places = list(range(1, last, step))
        ax.set_xticks([*places, last], [*map(str, places), "end"])
        if logarithmic:
            ax.set_yscale("log")
    kinds = [kind for kind in KIND_COLOURS if kind in set(rows.kind)]
    legend_below(fig, [handle(color=KIND_COLOURS[k], marker=KIND_MARKERS[k], label=k) for k in kinds])
    return fig
