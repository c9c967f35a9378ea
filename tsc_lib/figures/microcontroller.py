"""The figure of models on microcontrollers."""

from __future__ import annotations

from itertools import cycle
from textwrap import fill

import pandas as pd
from matplotlib.figure import Figure

from tsc_lib.analysis.microcontrollers import SMALL_KB
from tsc_lib.figures import draw
from tsc_lib.figures.palette import QUIET, SEQUENCE, Looks
from tsc_lib.figures.scales import plain_log
from tsc_lib.microcontroller import PROCESSORS

MARKERS = ("o", "s", "D", "^", "v", "P")

COSTS = {"ram_kb": "RAM, kB", "flash_kb": "flash, kB", "modelled_mj": "modelled energy, mJ per series"}


@draw.with_style
def accuracy_against_memory(summary: pd.DataFrame, published: pd.DataFrame) -> Figure:
    """Accuracy against RAM, flash and modelled energy, and what others measured of other networks on the same device.

    Parameters
    ----------
    summary : DataFrame
        Of `tsc_lib.analysis.microcontrollers.summarize_emulations`; its first processor with a device is drawn.
    published : DataFrame
        Of `tsc_lib.analysis.microcontrollers.list_published`.

    Returns
    -------
    Figure
        A row of panels for each data set, with 95 % intervals, and below the energies a panel of measured ones.
    """
    rows = summary.dropna(subset="modelled_mj")
    if rows.empty:
        return draw.empty_figure("no model ran on a microcontroller")
    processor = rows.processor.iloc[0]
    device = PROCESSORS[processor].device
    assert device is not None  # else nothing were modelled
    rows = rows[rows.processor == processor]
    datasets, variants = draw.unique(rows.dataset), draw.unique(rows.variant)
    looks: dict[str, Looks] = {
        name: {"color": SEQUENCE[n % len(SEQUENCE)], "marker": MARKERS[n % len(MARKERS)]}
        for n, name in enumerate(variants)
    }
    fig = draw.new_figure(2.1 * len(datasets) + 1.5)
    axes = fig.subplots(len(datasets) + 1, len(COSTS), height_ratios=[*[1] * len(datasets), 0.35], sharey="row")
    for line, dataset in zip(axes, datasets, strict=False):
        for ax, cost in zip(line, COSTS, strict=True):
            for row in rows[rows.dataset == dataset].itertuples():
                low, high = row.accuracy_low, row.accuracy_high
                draw.mark(ax, getattr(row, cost), row.accuracy, low=low, high=high, **looks[row.variant])
            if cost in SMALL_KB:
                draw.guide(ax, x=SMALL_KB[cost], linestyle=":")
        line[0].set_ylabel(f"{dataset}\naccuracy, %")
    _draw_published(axes[-1, -1], published[published.processor == processor])
    for ax in axes[-1, :-1]:
        ax.set_axis_off()
    for column, label in zip(axes.T, COSTS.values(), strict=True):
        for ax in column[1:]:
            ax.sharex(column[0])
        plain_log(column[0])
        column[0].margins(x=0.2)
        column[len(datasets) - 1].set_xlabel(label)
    draw.say(fig, _say(rows, processor))
    handles = [draw.handle(**look, label=fill(name, 52)) for name, look in looks.items()]
    limits = draw.handle(
        color=QUIET, marker="|", markersize=10, label=" and ".join(f"{v} kB" for v in SMALL_KB.values())
    )
    draw.legend_below(fig, [*handles, limits, draw.interval_handle()], columns=2)
    return fig


def _draw_published(ax: draw.Axes, published: pd.DataFrame) -> None:
    """Others' measured energies, on an axis of their own under the modelled ones."""
    ax.set_ylim(0, 1)
    ax.set_yticks([])
    ax.grid(axis="y", visible=False)
    for row, height in zip(published.itertuples(), cycle((6, -13)), strict=False):  # names of neighbours would overlap
        draw.mark(ax, row.measured_mj, 0.5, marker="x", color=QUIET)
        draw.note(ax, row.task, (row.measured_mj, 0.5), (0, height), ha="center", color=QUIET)
    ax.set_xlabel("measured by others, int8, mJ", color=QUIET)


def _say(rows: pd.DataFrame, processor: str) -> str:
    """How many of the variants fit into a small microcontroller."""
    fits = (rows.ram_kb <= SMALL_KB["ram_kb"]) & (rows.flash_kb <= SMALL_KB["flash_kb"])
    sizes = f"{SMALL_KB['flash_kb']} kB of flash and {SMALL_KB['ram_kb']} kB of RAM"
    return f"{int(fits.sum())} of {len(rows)} programs for {processor} fit into {sizes}"
