"""Figures of what inference costs: by strategy, beside the modelled energy, and against itself."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tsc_lib.analysis.quantities import add_times_less, control_deviations
from tsc_lib.analysis.rows import CASE_KEYS, batch_kinds, drop_failures, name_batches, select_batch
from tsc_lib.analysis.tables import BANDS, representatives
from tsc_lib.compress import Family
from tsc_lib.energy import require_same_source
from tsc_lib.figures import draw
from tsc_lib.figures.palette import LOOKS, QUIET
from tsc_lib.figures.scales import plain_log


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
        drawn = table.loc[table.dataset == panel.dataset, BANDS].to_numpy(float)
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
    plain_log(ax)


@draw.with_style
def energy_beside_model(results: pd.DataFrame) -> Figure:
    """How many times less energy by the chosen source against how many times less the counted operations stand for.

    Parameters
    ----------
    results : DataFrame
        The results table.

    Returns
    -------
    Figure
        One mark for each data set, model and representative of a family, at the large batch, with the 95 % interval of
        the source's ratio over the seeds; the model has none. Each ratio is to eager fp32 by its own source. On the
        line both agree; above it the model promises more.
    """
    table = representatives(results)
    source = require_same_source(table.energy_source)
    table = table[(table.family != Family.BASELINE) & table.modelled_ratio.notna() & table.energy_ratio.notna()]
    table = add_times_less(table, "energy_ratio")
    if table.empty:
        return draw.empty_figure("this profile compresses no model")
    fig = draw.new_figure(4.4)
    ax, models = fig.add_subplot(), draw.unique(results.model)
    for row in table.sort_values("family", ascending=False, kind="stable").to_dict("records"):
        looks = {**LOOKS[row["family"]], **draw.face(models.index(row["model"]))}
        height = 1 / row["modelled_ratio"]
        ax.plot([row["times_low"], row["times_high"]], [height, height], color=looks["color"], linewidth=1, zorder=2)
        ax.plot(row["times"], height, linestyle="none", markersize=6, zorder=3, **looks)
    ends = [0.8 / max(table.energy_ratio.max(), table.modelled_ratio.max())]
    ends.append(1.25 / min(table.energy_ratio.min(), table.modelled_ratio.min()))
    ax.plot(ends, ends, color=QUIET, linewidth=0.9, zorder=1)
    for which in "xy":
        plain_log(ax, which)
    ax.set_xlim(*ends)
    ax.set_ylim(*ends)
    ax.set_xlabel(f"times less energy than eager fp32, {source}")
    ax.set_ylabel("times less, modelled from operations")
    more = int((table.modelled_ratio < table.energy_ratio).sum())
    draw.say(fig, f"The model of counted operations promises more than is {source} for {more} of {len(table)} variants")
    handles = [*draw.family_handles(table), *draw.model_handles(models)]
    interval = draw.handle(color=QUIET, marker="_", markersize=12, label="95 % interval over seeds")
    agree = draw.handle(color=QUIET, linestyle="-", label="both agree")
    draw.legend_below(fig, [*handles, interval, agree], columns=5)
    return fig


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
            heights = y - np.linspace(0.1, 0.34, len(found))
            draw.mark(ax, found.aa_ratio, heights, across=True, low=found.aa_ratio_low, high=found.aa_ratio_high,
                      marker="o", color="k", markersize=3.5)  # fmt: skip
        ax.set_title(name_batches(drawn))
        ax.set_xlabel("CPU time, second loading ÷ first")
    limit = max(0.05, *np.abs(windows.ratio.quantile([0.01, 0.99]) - 1))
    axes[0, 0].set_xlim(1 - limit, 1 + limit)
    draw.name_rows(axes[0, 0], [f"{dataset}, {model}" for dataset, model in cases])
    off = pd.concat([control_deviations(results, which) for which in kinds])
    said = f"is off by at most {off.percent.max():.1f} %, and {100 * off.holds.mean():.0f} % of the intervals hold 1"
    draw.say(fig, f"A model against itself {said}" if len(off) else "No session has a control")
    beyond = (np.abs(windows.ratio - 1) > limit).mean()
    handles = [
        draw.handle(color="k", marker="o", markersize=4, label="a session's estimate, 95 % interval"),
        draw.handle(color=QUIET, marker=".", label=f"one block ({100 * beyond:.0f} % lie outside)"),
        draw.handle(color=QUIET, alpha=0.4, marker="s", markersize=9, label="1 ± 3 %"),
    ]
    draw.legend_below(fig, handles)
    return fig
