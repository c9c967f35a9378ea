"""Figures of pruning: accuracy and time against the pruned share, masks against removal, and what was removed where."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from tsc_lib.analysis.quantities import over_seeds
from tsc_lib.analysis.rows import CASE_KEYS, annotate, batch_kinds, drop_failures, name_batches, select_batch
from tsc_lib.analysis.tables import keep_pruned, strategy_table
from tsc_lib.compress import Family
from tsc_lib.figures import draw
from tsc_lib.figures.palette import COLOURS, QUIET, Looks, look_of_model

NORM_LOOKS: dict[str, Looks] = {
    "l1": {"linestyle": "-", "marker": "o"},
    "l2": {"linestyle": "--", "marker": "s"},
    "taylor": {"linestyle": "-.", "marker": "^"},
    "activation": {"linestyle": (0, (5, 1, 1, 1, 1, 1)), "marker": "D"},
    "random": {"linestyle": ":", "marker": "x"},
}
NORM_NAMES = {"l1": "L1", "l2": "L2", "taylor": "Taylor"}


@draw.with_style
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
    table = strategy_table(results)
    pruned, baseline = keep_pruned(table), table[table.family == Family.BASELINE]
    if pruned.empty:
        return draw.empty_figure("nothing was pruned in this profile")
    lines = {
        (model, tuned): f"{model}\n{'fine-tuned' if tuned else 'as pruned'}\naccuracy, %"
        for model, tuned in pruned.groupby(["model", "tuned"]).groups
    }
    datasets = draw.unique(results.dataset)
    fig, cells = draw.grid(datasets, lines, 1.65, xlabel="pruned share, %", sharex=True, sharey="col")
    for ax, dataset, (model, tuned) in cells:
        for level in draw.select_case(baseline, dataset, model).itertuples():
            ax.axhspan(level.accuracy_low, level.accuracy_high, color=QUIET, alpha=0.15, linewidth=0)
            draw.guide(ax, y=level.accuracy)
        part = draw.select_case(pruned[pruned.tuned == tuned], dataset, model)
        groups = list(part.groupby(["family", "norm"], sort=False, observed=True))
        for i, ((family, norm), line) in enumerate(groups):
            line = line.sort_values("ratio")
            _line(ax, line, "accuracy", i, len(groups), color=COLOURS[family], **NORM_LOOKS[norm])
        _ratio_axis(ax, pruned)  # the panels share it, though not every ratio is in each
    handles = [
        draw.handle(color=COLOURS[family], label=f"{family}, {NORM_NAMES.get(norm, norm)}", **NORM_LOOKS[norm])
        for family, norm in pruned.sort_values("family")[["family", "norm"]].drop_duplicates().itertuples(index=False)
    ]
    unpruned = draw.handle(color=QUIET, linestyle="-", label="unpruned")
    draw.legend_below(fig, [*handles, unpruned, draw.interval_handle()], columns=6)
    return fig


def _line(ax: Axes, line: pd.DataFrame, value: str, number: int, of: int, **looks: Any) -> None:
    """A line of means over the ratio, side by side with the others, so that intervals stay apart."""
    x = 100 * line.ratio + 1.6 * (number - (of - 1) / 2)
    draw.mark_means(ax, line, value, x, linewidth=1.2, markersize=4.5, **looks)


def _ratio_axis(ax: Axes, table: pd.DataFrame) -> None:
    shares = sorted(100 * table.ratio.unique())
    ax.set_xticks(shares)
    if shares:
        ax.set_xlim(shares[0] - 8, shares[-1] + 8)


@draw.with_style
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
    rows = keep_pruned(annotate(drop_failures(results)))
    if rows.empty:
        return draw.empty_figure("nothing was pruned in this profile")
    models, sized = draw.unique(rows.model), {which: select_batch(results, which) for which in batch_kinds(results)}
    lines = {which: f"{name_batches(table)}\nCPU time ÷ unpruned" for which, table in sized.items()}
    fig, cells = draw.grid(draw.unique(results.dataset), lines, 2.1, xlabel="pruned share, %", sharex=True, sharey=True)
    for ax, dataset, which in cells:
        here = sized[which][sized[which].dataset == dataset]
        ax.axhspan(here.aa_ratio_low.min(), here.aa_ratio_high.max(), color=QUIET, alpha=0.25, linewidth=0)
        draw.guide(ax, y=1)
        _speed_lines(ax, keep_pruned(annotate(drop_failures(here))), models)
    cells[0][0].set_ylim(0, 1.1 * max(rows.cpu_ratio.max(), 1.05))  # wide intervals may run out at the top
    handles = [
        draw.handle(**{**look_of_model(i), "color": COLOURS[f]}, label=f"{f}, {m}")
        for f in (Family.MASKS, Family.REMOVAL)
        for i, m in enumerate(models)
    ]
    noise = draw.handle(color=QUIET, alpha=0.4, marker="s", markersize=9, label="A/A control")
    draw.legend_below(fig, [*handles, draw.interval_handle(), noise], columns=6)
    return fig


def _speed_lines(ax: Axes, rows: pd.DataFrame, models: list[str]) -> None:
    by = ["model", "family", "ratio"]
    ratios = ["cpu_ratio", "cpu_ratio_low", "cpu_ratio_high"]
    logs = np.log(rows[ratios]).join(rows[[*by, "seed"]])
    per_seed = np.exp(logs.groupby([*by, "seed"], observed=True)[ratios].mean()).reset_index()
    table = over_seeds(per_seed, by, ratios=["cpu_ratio"])
    for (family, model), line in table.groupby(["family", "model"], observed=True):
        i = models.index(model)
        looks = {**look_of_model(i), "color": COLOURS[family]}
        _line(ax, line, "cpu_ratio", i, len(models), **looks)
    _ratio_axis(ax, rows)


@draw.with_style
def kept_structure(removed: pd.DataFrame, recipe: str) -> Figure:
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
        return draw.empty_figure(f"{recipe} was not run in this profile")
    seed = part.seed.min()
    part = part[part.seed == seed]
    units = list(part.groupby(CASE_KEYS, sort=False))
    colours = ListedColormap(["#E8E8E8", COLOURS[Family.REMOVAL]])
    fig, axes = draw.panels(len(units), 2, 1.15, width_ratios=[1, 3.2])
    for row, ((dataset, model), of_unit) in enumerate(units):
        for ax, kind in zip(axes[row], ("heads", "neurons"), strict=True):
            kept = of_unit[of_unit.part == kind].astype({"kept": float}).pivot_table("kept", "layer", "index")
            ax.imshow(kept.to_numpy(float), cmap=colours, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
            ax.grid(False)
            ax.set_yticks([0, len(kept) - 1], ["1", str(len(kept))])
            ax.set_xticks([0, kept.shape[1] - 1], ["1", str(kept.shape[1])])
            case = f"{dataset}, {model}: " if kind == "neurons" else ""
            ax.set_title(f"{case}{int(kept.to_numpy().sum())} of {kept.size} {kind}", fontsize=8.5)
        axes[row, 0].set_ylabel("layer")
    axes[-1, 0].set_xlabel("attention head")
    axes[-1, 1].set_xlabel("feed-forward neuron")
    fig.suptitle(f"Kept by {recipe}, seed {seed}", fontsize=9.5, fontweight="bold")
    kinds = [draw.handle(color=colours(i), marker="s", markersize=8, label=t) for i, t in ((1, "kept"), (0, "removed"))]
    draw.legend_below(fig, kinds)
    return fig
