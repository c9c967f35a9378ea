"""Figures that sum the study up: its main table as bars, and its claims beside our results."""

from __future__ import annotations

from textwrap import fill

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tsc_lib.energy import same_source
from tsc_lib.figures.common import (
    drawing,
    families_in,
    guide,
    handle,
    legend_below,
    nothing,
    panels,
    strategy_handles,
    unique,
)
from tsc_lib.figures.palette import QUIET, STRATEGY_COLOURS, styled
from tsc_lib.strategies import BASELINE, annotate
from tsc_lib.tables import VARIANT, at_batch, main_table, over_seeds, succeeded

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
    datasets, models, labels = unique(results.dataset), unique(results.model), unique(rows.label)
    shown = [("accuracy", 100, "accuracy, %"), ("energy_mj_per_sample", 1, f"mJ/series\n({source})")]
    fig, axes = panels(2 * len(models), len(datasets), 1.5, sharex=True)
    for row, (model, (value, factor, title)) in enumerate((m, s) for m in models for s in shown):
        for ax, dataset in zip(axes[row], datasets, strict=True):
            part = rows[(rows.dataset == dataset) & (rows.model == model)]
            _bars(ax, over_seeds(part, value, VARIANT), value, factor, labels)
        axes[row, 0].set_ylabel(f"{model}\n{title}", fontsize=8.5)
    for column, dataset in enumerate(datasets):
        axes[0, column].set_title(dataset)
        axes[-1, column].set_xticks(range(len(labels)), labels, rotation=90, fontsize=8)
    legend_below(fig, strategy_handles(families_in(rows), marker="s"))
    return fig


def _bars(ax: Axes, summary: pd.DataFrame, value: str, factor: float, labels: list[str]) -> None:
    x = summary.label.map(labels.index)
    ax.bar(x, factor * summary[value], 0.75, color=[STRATEGY_COLOURS[f] for f in summary.family])
    ax.vlines(x, factor * summary.low, factor * summary.high, color=QUIET, linewidth=1.4)
    reference = summary.loc[summary.family == BASELINE, value]
    if len(reference):
        guide(ax, y=factor * reference.iloc[0], linestyle=":")
    ax.set_ylim(bottom=0)
    ax.set_xlim(-0.6, len(labels) - 0.4)
    ax.grid(axis="x", visible=False)


@styled
def claims_beside_ours(claims: pd.DataFrame) -> Figure:
    """The published value of every claim that could be tested, beside ours with its interval.

    Parameters
    ----------
    claims : DataFrame
        From `tsc_lib.claims.judge`.

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
        ax.set_yticks(range(len(part)), [fill(text, 48) for text in part.claim], fontsize=8)
        ax.set_ylim(len(part) - 0.5, -0.5)
        ax.set_xlabel(unit)
    handles = [handle(color="k", marker="D", markerfacecolor="white", label="published (of losses: the most)")]
    verdicts = [verdict for verdict in VERDICT_COLOURS if verdict in set(tested.verdict)]
    handles += [handle(color=VERDICT_COLOURS[v], marker="o", linestyle="-", label=f"ours: {v}") for v in verdicts]
    legend_below(fig, handles, columns=2)
    return fig
