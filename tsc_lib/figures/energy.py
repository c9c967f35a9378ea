"""Figures of what inference costs: by strategy, beside the modelled energy, and against itself."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tsc_lib.analysis.rows import CASE_KEYS, batch_kinds, drop_failures, name_batches, select_batch
from tsc_lib.analysis.tables import representatives
from tsc_lib.compress import Family
from tsc_lib.energy import require_same_source
from tsc_lib.figures import draw
from tsc_lib.figures.palette import LOOKS, QUIET


@draw.with_style
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
        source itself is unsure of. Where a counter told idle power, hollow marks are net of it. Changes against fp32
        are geometric means over the seeds.
    """
    table = representatives(results)
    source = require_same_source(table.energy_source)
    labels = {model: draw.unique(part.label) for model, part in table.groupby("model")}
    fig, cells = draw.named_rows(table, labels, 0.33, xlabel=f"mJ/series ({source})", sharex="col")
    for panel in cells:
        _energy_panel(panel.ax, panel.rows, labels[panel.model])
        bands = table.loc[table.dataset == panel.dataset, table.columns.str.match("energy_(low|high|net)_mj")]
        drawn = bands.to_numpy(dtype=float)
        if len(drawn := drawn[drawn > 0]):
            panel.ax.set_xlim(0.8 * drawn.min(), 1.25 * drawn.max())
    handles = [
        draw.handle(color="#BBBBBB", linestyle="-", linewidth=5, label="what the source itself is unsure of"),
        draw.handle(color="k", marker="o", label="mean, 95 % interval over seeds; change against fp32"),
    ]
    if table.energy_net_mj_per_sample.notna().any():
        handles.append(draw.handle(color="k", marker="o", markerfacecolor="w", label="net of idle power"))
    draw.legend_below(fig, handles, columns=2)
    return fig


def _energy_panel(ax: Axes, table: pd.DataFrame, labels: list[str]) -> None:
    for line in table.itertuples():
        y, looks, mean = labels.index(line.label), LOOKS[line.family], line.energy_mj_per_sample
        ends = [line.energy_low_mj_per_sample, line.energy_high_mj_per_sample]
        ax.plot(ends, [y, y], color="#D5D5D5", linewidth=6, solid_capstyle="butt", zorder=1)
        low, high = line.energy_mj_per_sample_low, line.energy_mj_per_sample_high
        draw.mark(ax, mean, y, across=True, low=low, high=high, zorder=3, **looks)
        if np.isfinite(line.energy_net_mj_per_sample):
            ax.plot(line.energy_net_mj_per_sample, y, markerfacecolor="w", markersize=4.5, zorder=2, **looks)
        if line.family != Family.BASELINE:
            draw.note(ax, draw.format_change(line.energy_ratio), (mean, y), (0, 4), ha="center")
    draw.plain_log(ax)


@draw.with_style
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
        with 95 % intervals over the seeds, the modelled energy at the right, which has none. Changes against fp32 are
        geometric means over the seeds.
    """
    table = representatives(results)
    source = require_same_source(table.energy_source)
    datasets, models = draw.unique(results.dataset), draw.unique(results.model)
    labels = draw.unique(table.label)
    fig, axes = draw.panels(len(datasets), 2, 0.34 * len(labels) + 0.5, sharey=True)
    for line, dataset in zip(axes, datasets, strict=True):
        for ax, energy, ratio in zip(line, ("energy", "energy_modelled"), ("energy", "modelled"), strict=True):
            draw.plain_log(ax)
            for number, model in enumerate(models):
                rows = draw.select_case(table, dataset, model)
                _model_marks(ax, rows, f"{energy}_mj_per_sample", f"{ratio}_ratio", labels, hollow=number > 0)
            ax.margins(x=0.2)
        line[0].set_title(dataset, loc="left")
    axes[-1, 0].set_xlabel(f"{source}, mJ/series")
    axes[-1, 1].set_xlabel("modelled, mJ/series (another quantity)")
    draw.name_rows(axes[0, 0], labels, 30)
    handles = [
        draw.handle(
            color="k", marker="o", markerfacecolor="w" if number else "k", label=f"{model}, change against fp32"
        )
        for number, model in enumerate(models)
    ]
    draw.legend_below(fig, [*handles, draw.handle(color=QUIET, linestyle="-", label="95 % interval over seeds")])
    return fig


def _model_marks(ax: Axes, rows: pd.DataFrame, energy: str, ratio: str, labels: list[str], hollow: bool) -> None:
    """Marks of one model, above the row's line or below it, each with its change against eager fp32."""
    for line in rows.to_dict("records"):
        value, y = line[energy], labels.index(line["label"]) + (0.2 if hollow else -0.12)
        low, high = line.get(f"{energy}_low", np.nan), line.get(f"{energy}_high", np.nan)
        looks = {**LOOKS[line["family"]], "markerfacecolor": "w" if hollow else LOOKS[line["family"]]["color"]}
        draw.mark(ax, value, y, across=True, low=low, high=high, **looks)
        if line["family"] != Family.BASELINE and np.isfinite(line[ratio]):
            end = high if np.isfinite(high) else value  # clear of the interval
            draw.note(ax, draw.format_change(line[ratio]), (end, y), (6, 0), va="center")


@draw.with_style
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
        return draw.empty_figure("no benchmark session was run")
    kinds = batch_kinds(results)
    cases = list(windows.groupby(CASE_KEYS, sort=False).groups)
    fig, axes = draw.panels(1, len(kinds), 0.42 * len(cases) + 0.8, sharey=True, sharex=True)
    jitter = np.random.default_rng(0)
    for ax, which in zip(axes[0], kinds, strict=True):
        sessions = drop_failures(select_batch(results, which)).drop_duplicates([*CASE_KEYS, "seed"])
        drawn = select_batch(windows, which)
        ax.axvspan(0.97, 1.03, color=QUIET, alpha=0.15, linewidth=0)
        draw.guide(ax, x=1)
        for y, (dataset, model) in enumerate(cases):
            blocks = draw.select_case(drawn, dataset, model).ratio
            ax.plot(blocks, y + jitter.uniform(0.02, 0.38, len(blocks)), ".", color=QUIET, markersize=2.5, alpha=0.5)
            found = draw.select_case(sessions, dataset, model)
            heights = y - 0.12 * np.arange(len(found)) / max(len(found) - 1, 1) * 2 - 0.1
            draw.mark(ax, found.aa_ratio, heights, across=True, low=found.aa_ratio_low, high=found.aa_ratio_high,
                      marker="o", color="k", markersize=3.5)  # fmt: skip
        ax.set_title(name_batches(drawn))
        ax.set_xlabel("CPU time, second loading ÷ first")
    limit = max(0.05, *np.abs(windows.ratio.quantile([0.01, 0.99]) - 1))
    axes[0, 0].set_xlim(1 - limit, 1 + limit)
    draw.name_rows(axes[0, 0], [f"{dataset}, {model}" for dataset, model in cases])
    beyond = (np.abs(windows.ratio - 1) > limit).mean()
    handles = [
        draw.handle(color="k", marker="o", markersize=4, label="a session's estimate, 95 % interval"),
        draw.handle(color=QUIET, marker=".", label=f"one block ({100 * beyond:.0f} % lie outside)"),
        draw.handle(color=QUIET, alpha=0.4, marker="s", markersize=9, label="1 ± 3 %"),
    ]
    draw.legend_below(fig, handles)
    return fig
