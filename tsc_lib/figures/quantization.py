"""Figures of quantization: int8 beside fp32 on the same runtime, and layer by layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tsc_lib.analysis.rows import annotate, batch_kinds, drop_failures, name_batches, select_batch
from tsc_lib.analysis.tables import strategy_table
from tsc_lib.compress import Family
from tsc_lib.energy import require_same_source
from tsc_lib.figures import draw
from tsc_lib.figures.palette import COLOURS, LOOKS, QUIET, SEQUENCE, Looks

INT8 = [Family.DYNAMIC, Family.STATIC]

KINDS = ("query, key, value", "attention output", "expand", "contract", "classifier", "embedding", "router")
KIND_LOOKS: dict[str, Looks] = {
    kind: {"color": colour, "marker": marker} for kind, colour, marker in zip(KINDS, SEQUENCE, "osD^vPX", strict=True)
}
"""Looks of the kinds of linear layers."""


@draw.with_style
def int8_accuracy(results: pd.DataFrame) -> Figure:
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
    rows, table = (
        found[found.family.isin(INT8)]
        for found in (annotate(drop_failures(select_batch(results))), strategy_table(results))
    )
    if rows.empty:
        return draw.empty_figure("nothing was quantized in this profile")
    names, models = ["model", "family", "runtime"], draw.unique(rows.model)
    kinds = rows[names].drop_duplicates().itertuples(index=False, name=None)
    lines = sorted(kinds, key=lambda kind: models.index(kind[0]))
    options: dict[str, Any] = {"xlabel": "accuracy lost, points", "sharey": True, "sharex": True}
    fig, cells = draw.grid(draw.unique(results.dataset), {None: ""}, 0.42 * len(lines) + 0.7, **options)
    for ax, dataset, _ in cells:
        draw.guide(ax, x=0)
        runs, means = (dict(list(part[part.dataset == dataset].groupby(names))) for part in (rows, table))
        for y, line in enumerate(lines):
            if line in runs:
                looks = LOOKS[line[1]]
                draw.spread(ax, runs[line], "accuracy_drop", y, **looks, markersize=2.5, elinewidth=0.6)
                draw.mark_means(ax, means[line], "points_lost", y - 0.12, across=True, **looks, elinewidth=1.8)
    draw.name_rows(cells[0][0], [f"{model}, {family}, {runtime}" for model, family, runtime in lines])
    marks = (("mean over seeds, 95 % interval", 7), ("each seed, 95 % over test series", 3.5))
    draw.legend_below(fig, [draw.handle(color=QUIET, marker="^", markersize=size, label=text) for text, size in marks])
    return fig


@draw.with_style
def int8_cost(results: pd.DataFrame, value: str, title: str) -> Figure:
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
    shown = {which: strategy_table(results, which) for which in batch_kinds(results)}
    plain = [Family.BASELINE, Family.RUNTIME]
    shown = {which: table[table.family.isin([*plain, *INT8])] for which, table in shown.items()}
    table = shown["large"]
    runtimes = draw.unique(table[table.family.isin(INT8)].runtime)
    if not runtimes:
        return draw.empty_figure("nothing was quantized in this profile")
    if value.startswith("energy"):
        title = f"{title} ({require_same_source(table.energy_source)})"
    lines = {
        (model, which): f"{model}\n{name_batches(sized)}\n{title}"
        for which, sized in shown.items()
        for model in draw.unique(table.model)
    }
    groups = {runtime: draw.families_in(table[table.runtime == runtime]) for runtime in runtimes}
    fig, cells = draw.grid(draw.unique(results.dataset), lines, 1.6, below=0.6, sharex=True)
    for ax, dataset, (model, which) in cells:
        _cost_bars(ax, draw.select_case(shown[which], dataset, model), value, groups)
    ratio = draw.handle(color="k", marker=r"$\times$", markersize=5, label="CPU time ÷ fp32 in the same runtime")
    families = draw.family_handles(table, marker="s")
    draw.legend_below(fig, [*families, draw.interval_handle(), ratio], columns=3)
    return fig


def _cost_bars(ax: Axes, table: pd.DataFrame, value: str, groups: dict[str, list[Family]]) -> None:
    ticks, place = [], 0.0
    for runtime, families in groups.items():
        for i, family in enumerate(families):
            x = place + i * 0.5
            for bar in table[(table.runtime == runtime) & (table.family == family)].head(1).to_dict("records"):
                draw.bars(ax, [x], pd.DataFrame([bar]), value, 0.46, COLOURS[family])
                if family in INT8 and np.isfinite(bar["cpu_ratio_to_fp32"]):
                    top = np.nanmax([bar[value], bar[f"{value}_high"]])
                    text = f"×{bar['cpu_ratio_to_fp32']:.2f}"
                    draw.note(ax, text, (x, top), (0, 2), ha="center", fontsize=8.5)
        ticks.append(place + 0.25 * (len(families) - 1))
        place += 0.5 * len(families) + 0.3
    ax.set_xticks(ticks, list(groups), rotation=90 if len(groups) > 2 else 0)
    ax.set_xlim(-0.4, place - 0.4)
    ax.margins(y=0.18)
    ax.set_ylim(bottom=0)


@draw.with_style
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
    rows = drop_failures(table)
    if rows.empty:
        return draw.empty_figure("this profile compares no static int8 whose layers can be looked into")
    rows = rows.assign(model=rows.model + ", " + rows.recipe + "\n" + rows.runtime)
    return _by_layer(rows, "sqnr_db", "signal ÷ noise, dB")


@draw.with_style
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
        return draw.empty_figure("this profile trains no model")
    return _by_layer(table, "divergence", "divergence, nats", logarithmic=True)


def _by_layer(rows: pd.DataFrame, value: str, title: str, logarithmic: bool = False) -> Figure:
    fig, cells = draw.case_grid(rows, title, 2.3, xlabel="encoder layer", sharey="row")
    for ax, _, _, part in cells:
        if not part.block.notna().any():
            draw.explain_empty(ax, "not run" if part.empty else "not told")  # the latter where a runtime tells nothing
            continue
        for kind, of_kind in part.groupby("kind", sort=False):
            of_kind = of_kind.sort_values("block")
            if logarithmic:  # a layer that changes no answer has no place on the axis
                of_kind = of_kind[of_kind[value] > 0]
            ax.plot(of_kind.block, of_kind[value], linewidth=0.8, markersize=4.5, **KIND_LOOKS[kind])
        last = int(part.block.max())
        step = 1 if last < 8 else 3
        places = list(range(1, last, step))
        start = {0: "start"} if (part.block == 0).any() else {}
        ax.set_xticks([*start, *places, last], [*start.values(), *map(str, places), "end"])
        if logarithmic:
            ax.set_yscale("log")
    kinds = set(rows.kind)
    draw.legend_below(fig, [draw.handle(**looks, label=kind) for kind, looks in KIND_LOOKS.items() if kind in kinds])
    return fig
