"""Figures that sum the study up: its main table as bars, and its claims beside our results."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tsc_lib.analysis.strategies import BASELINE, annotate
from tsc_lib.analysis.tables import VARIANT, at_batch, main_table, over_seeds, succeeded
from tsc_lib.energy import same_source
from tsc_lib.figures.common import (
    bars,
    cell,
    drawing,
    families_in,
    grid,
    guide,
    handle,
    interval_handle,
    legend_below,
    name_rows,
    nothing,
    strategy_handles,
    unique,
)
from tsc_lib.figures.palette import STRATEGY_COLOURS, styled

VERDICT_COLOURS = {
    "reproduced": "#0072B2",
    "same direction": "#56B4E9",
    "not reproduced": "#D55E00",
    "cannot be tested on this machine": "#999999",
}


@styled
def main_bars(results: pd.DataFrame) -> Figure:
    """The study's main table as bars: accuracy and energy of each model under each of the study's strategies.

    Parameters
    ----------
    results : DataFrame
        The results table.

    Returns
    -------
    Figure
        One column of panels per data set, two rows per model; 95 % intervals over the seeds.
    """
    chosen = main_table(results)[["recipe", "runtime"]].drop_duplicates()
    rows = annotate(succeeded(at_batch(results)).merge(chosen))
    source = same_source(rows.energy_source)
    labels = unique(rows.label)
    shown = {"accuracy": "accuracy, %", "energy_mj_per_sample": f"mJ/series\n({source})"}
    lines = {(model, value): f"{model}\n{title}" for model in unique(results.model) for value, title in shown.items()}
    fig, cells = grid(unique(results.dataset), lines, 1.25, below=1.3, sharex=True)
    for ax, dataset, (model, value) in cells:
        summary = over_seeds(cell(rows, dataset, model), value, VARIANT)
        _bars(ax, summary, value, 100 if value == "accuracy" else 1, labels)
        ax.set_xticks(range(len(labels)), labels, rotation=90, fontsize=8)
    legend_below(fig, [*strategy_handles(families_in(rows), marker="s"), interval_handle()])
    return fig


def _bars(ax: Axes, summary: pd.DataFrame, value: str, factor: float, labels: list[str]) -> None:
    x = summary.label.map(labels.index)
    bars(ax, x, summary, value, 0.75, [STRATEGY_COLOURS[f] for f in summary.family], factor)
    reference = summary.loc[summary.family == BASELINE, value]
    if len(reference):
        guide(ax, y=factor * reference.iloc[0], linestyle=":")
    ax.set_ylim(bottom=0)
    ax.set_xlim(-0.6, len(labels) - 0.4)


@styled
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
        return nothing("none of the claims could be tested with this profile")
    units = unique(tested.unit)
    counts = [int((tested.unit == unit).sum()) for unit in units]
    fig = drawing(0.4 * len(tested) + 0.7 * len(units) + 0.5)
    axes = fig.subplots(len(units), 1, squeeze=False, height_ratios=[count + 0.6 for count in counts])[:, 0]
    for ax, unit in zip(axes, units, strict=True):
        part = tested[tested.unit == unit].reset_index(drop=True)
        guide(ax, x=0)
        for y, claim in part.iterrows():
            colour = VERDICT_COLOURS[claim.verdict]
            ax.plot([claim.ours_low, claim.ours_high], [y, y], color=colour, linewidth=1.8)
            ax.plot(claim.ours, y, "o", color=colour, markersize=6)
            ax.plot(claim.published, y, "D", color="k", markerfacecolor="white", markersize=6)
        name_rows(ax, part.claim, 48)
        ax.set_xlabel(unit)
    handles = [handle(color="k", marker="D", markerfacecolor="white", label="published (of losses: the most)")]
    verdicts = [verdict for verdict in VERDICT_COLOURS if verdict in set(tested.verdict)]
    handles += [
        handle(color=VERDICT_COLOURS[v], marker="o", linestyle="-", label=f"ours, 95 % interval: {v}") for v in verdicts
    ]
    legend_below(fig, handles, columns=2)
    return fig
