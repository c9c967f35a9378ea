"""Figures of pruning: accuracy and time against the pruned share, masks against removal, and what was removed where."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from tsc_lib.analysis.strategies import MASKS, REFERENCE_RUNTIME, REMOVAL, annotate
from tsc_lib.analysis.tables import CELL, at_batch, batch_name, batches, over_seeds, reference_rows, succeeded
from tsc_lib.figures.common import (
    cell,
    grid,
    guide,
    handle,
    interval_handle,
    legend_below,
    mark,
    nothing,
    panels,
    unique,
)
from tsc_lib.figures.palette import MODEL_LINES, MODEL_MARKERS, QUIET, STRATEGY_COLOURS, styled

NORM_LINES = {"l1": "-", "l2": "--", "taylor": "-.", "activation": (0, (5, 1, 1, 1, 1, 1)), "random": ":"}
NORM_MARKERS = {"l1": "o", "l2": "s", "taylor": "^", "activation": "D", "random": "x"}
NORM_NAMES = {"l1": "L1", "l2": "L2", "taylor": "Taylor"}
PRUNING = [*CELL, "family", "norm", "ratio", "tuned"]


def _pruned(results: pd.DataFrame) -> pd.DataFrame:
    rows = annotate(succeeded(results))
    return rows[rows.family.isin([MASKS, REMOVAL]) & (rows.runtime == REFERENCE_RUNTIME)]


@styled
def accuracy_against_ratio(results: pd.DataFrame) -> Figure:
    """Test accuracy against the pruned share, masks beside removal, L1 beside L2, before and after fine-tuning.

    Parameters
    ----------
    results : DataFrame
        The results table.

    Returns
    -------
    Figure
        One column of panels per data set; for every model a row as pruned and, if there is any, a row fine-tuned.
    """
    rows = _pruned(at_batch(results))
    if rows.empty:
        return nothing("nothing was pruned in this profile")
    baseline = over_seeds(reference_rows(at_batch(results)), "accuracy", CELL)
    table = over_seeds(rows, "accuracy", PRUNING)
    lines = {
        (model, tuned): f"{model}, {'fine-tuned' if tuned else 'as pruned'}\naccuracy, %"
        for model, tuned in rows.groupby(["model", "tuned"]).groups
    }
    fig, cells = grid(unique(results.dataset), lines, 1.65, xlabel="pruned share, %", sharex=True, sharey="col")
    for ax, dataset, (model, tuned) in cells:
        for level in cell(baseline, dataset, model).itertuples():
            ax.axhspan(100 * level.low, 100 * level.high, color=QUIET, alpha=0.15, linewidth=0)
            guide(ax, y=100 * level.accuracy)
        part = cell(table, dataset, model)
        _accuracy_lines(ax, part[part.tuned == tuned])
        _ratio_axis(ax, table)  # the panels share it, though not every ratio is in each
    unpruned = handle(color=QUIET, linestyle="-", label="unpruned")
    legend_below(fig, [*_strategy_norm_handles(table), unpruned, interval_handle()], columns=6)
    return fig


def _accuracy_lines(ax: Axes, table: pd.DataFrame) -> None:
    lines = list(table.groupby(["family", "norm"], sort=False, observed=True))
    for i, ((family, norm), line) in enumerate(lines):
        line = line.sort_values("ratio")
        x = 100 * line.ratio + 1.6 * (i - (len(lines) - 1) / 2)  # side by side, so that intervals stay apart
        colour = STRATEGY_COLOURS[family]
        mark(ax, x, 100 * line.accuracy, low=100 * line.low, high=100 * line.high, color=colour, linewidth=1.2,
             linestyle=NORM_LINES[norm], marker=NORM_MARKERS[norm], markersize=4.5)  # fmt: skip


def _ratio_axis(ax: Axes, table: pd.DataFrame) -> None:
    shares = sorted(100 * table.ratio.unique())
    ax.set_xticks(shares)
    if shares:
        ax.set_xlim(shares[0] - 8, shares[-1] + 8)


def _strategy_norm_handles(table: pd.DataFrame) -> list:
    pairs = table[["family", "norm"]].drop_duplicates().itertuples(index=False)
    return [
        handle(
            color=STRATEGY_COLOURS[f],
            marker=NORM_MARKERS[n],
            linestyle=NORM_LINES[n],
            label=f"{f}, {NORM_NAMES.get(n, n)}",
        )
        for f, n in pairs
    ]


@styled
def speed_against_ratio(results: pd.DataFrame) -> Figure:
    """CPU time relative to the unpruned model against the pruned share, masks beside removal.

    Parameters
    ----------
    results : DataFrame
        The results table.

    Returns
    -------
    Figure
        One column of panels per data set, one row per batch size; the band is the A/A control: what the measurement
        makes of no difference at all. Criteria, tuned and untuned models have the same shapes and are averaged.
    """
    rows = _pruned(results)
    if rows.empty:
        return nothing("nothing was pruned in this profile")
    models, sized = unique(rows.model), {which: at_batch(results, which) for which in batches(results)}
    lines = {which: f"{batch_name(table)}\nCPU time ÷ unpruned" for which, table in sized.items()}
    fig, cells = grid(unique(results.dataset), lines, 2.1, xlabel="pruned share, %", sharex=True, sharey=True)
    for ax, dataset, which in cells:
        here = sized[which][sized[which].dataset == dataset]
        ax.axhspan(here.aa_ratio_low.min(), here.aa_ratio_high.max(), color=QUIET, alpha=0.25, linewidth=0)
        guide(ax, y=1)
        _speed_lines(ax, _pruned(here), models)
    cells[0][0].set_ylim(0, 1.1 * max(rows.cpu_ratio.max(), 1.05))  # wide intervals may run out at the top
    handles = [
        handle(color=STRATEGY_COLOURS[f], marker=MODEL_MARKERS[i], linestyle=MODEL_LINES[i], label=f"{f}, {m}")
        for f in (MASKS, REMOVAL)
        for i, m in enumerate(models)
    ]
    noise = handle(color=QUIET, alpha=0.4, marker="s", markersize=9, label="A/A control")
    legend_below(fig, [*handles, interval_handle(), noise], columns=6)
    return fig


def _speed_lines(ax: Axes, rows: pd.DataFrame, models: list[str]) -> None:
    by = ["model", "family", "ratio"]
    ratios = ["cpu_ratio", "cpu_ratio_low", "cpu_ratio_high"]
    per_seed = rows.groupby([*by, "seed"], observed=True, as_index=False)[ratios].agg(_geometric)
    table = over_seeds(per_seed, "cpu_ratio", by, geometric=True)
    for (family, model), line in table.groupby(["family", "model"], observed=True):
        i = models.index(model)
        x = 100 * line.ratio + 1.6 * (i - (len(models) - 1) / 2)
        mark(ax, x, line.cpu_ratio, low=line.low, high=line.high, color=STRATEGY_COLOURS[family], linewidth=1.2,
             marker=MODEL_MARKERS[i], linestyle=MODEL_LINES[i], markersize=4.5)  # fmt: skip
    _ratio_axis(ax, rows)


def _geometric(ratios: pd.Series) -> float:
    return float(np.exp(np.log(ratios).mean()))


@styled
def removed_structure(removed: pd.DataFrame, recipe: str) -> Figure:
    """Which heads and feed-forward neurons a removal kept in every layer of one seed's models.

    Parameters
    ----------
    removed : DataFrame
        Columns `dataset`, `model`, `seed`, `recipe`, `layer`, `part` ("heads" or "neurons"), `index`, `kept`.
    recipe : str
        Which recipe.

    Returns
    -------
    Figure
        One row of panels per data set and model: heads at the left, neurons at the right.
    """
    part = removed[removed.recipe == recipe] if len(removed) else removed
    if part.empty:
        return nothing(f"{recipe} was not run in this profile")
    seed = part.seed.min()
    part = part[part.seed == seed]
    units = list(part.groupby(CELL, sort=False))
    colours = ListedColormap(["#E8E8E8", STRATEGY_COLOURS[REMOVAL]])
    fig, axes = panels(len(units), 2, 1.15, width_ratios=[1, 3.2])
    for row, ((dataset, model), of_unit) in enumerate(units):
        for ax, kind in zip(axes[row], ("heads", "neurons"), strict=True):
            kept = of_unit[of_unit.part == kind].astype({"kept": float}).pivot_table("kept", "layer", "index")
            ax.imshow(kept.to_numpy(float), cmap=colours, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
            ax.grid(False)
            ax.set_yticks([0, len(kept) - 1], ["1", str(len(kept))])
            ax.set_xticks([0, kept.shape[1] - 1], ["1", str(kept.shape[1])])
            ax.set_title(f"{dataset}, {model}: {int(kept.to_numpy().sum())} of {kept.size} {kind}", fontsize=8.5)
        axes[row, 0].set_title(axes[row, 0].get_title().split(": ")[1], fontsize=8.5)
        axes[row, 0].set_ylabel("layer")
    axes[-1, 0].set_xlabel("attention head")
    axes[-1, 1].set_xlabel("feed-forward neuron")
    fig.suptitle(f"Kept by {recipe}, seed {seed}", fontsize=9.5, fontweight="bold")
    kinds = [handle(color=colours(i), marker="s", markersize=8, label=t) for i, t in ((1, "kept"), (0, "removed"))]
    legend_below(fig, kinds)
    return fig
