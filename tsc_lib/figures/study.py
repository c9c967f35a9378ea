"""Figures of the reproduced study: its main table as bars, and its claims beside our results."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tsc_lib.analysis.tables import main_table
from tsc_lib.compress import Family
from tsc_lib.energy import require_same_source
from tsc_lib.figures import draw
from tsc_lib.figures.palette import COLOURS

VERDICT_COLOURS = {
    "reproduced": "#0072B2",
    "same direction": "#56B4E9",
    "not reproduced": "#D55E00",
    "cannot be tested on this machine": "#999999",
}


@draw.with_style
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
    table = main_table(results).sort_values("family", kind="stable")
    labels = draw.unique(table.label)
    shown = {
        "accuracy": "accuracy, %",
        "energy_mj_per_sample": f"mJ/series\n({require_same_source(table.energy_source)})",
    }
    models = draw.unique(results.model)
    lines = {(model, value): f"{model}\n{title}" for model in models for value, title in shown.items()}
    fig, cells = draw.grid(draw.unique(results.dataset), lines, 1.25, below=1.3, sharex=True)
    for ax, dataset, (model, value) in cells:
        _bars(ax, draw.select_case(table, dataset, model), value, labels)
        ax.set_xticks(range(len(labels)), labels, rotation=90, fontsize=8)
    draw.legend_below(fig, [*draw.family_handles(draw.families_in(table), marker="s"), draw.interval_handle()])
    return fig


def _bars(ax: Axes, table: pd.DataFrame, value: str, labels: list[str]) -> None:
    draw.bars(ax, table.label.map(labels.index), table, value, 0.75, [COLOURS[family] for family in table.family])
    reference = table.loc[table.family == Family.BASELINE, value]
    if len(reference):
        draw.guide(ax, y=reference.iloc[0], linestyle=":")
    ax.set_ylim(bottom=0)
    ax.set_xlim(-0.6, len(labels) - 0.4)


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
    return fig
