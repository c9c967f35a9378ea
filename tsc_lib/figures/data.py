"""Figures of the data sets: class balance, example series, lengths."""

from __future__ import annotations

import math
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tsc_lib.figures import draw
from tsc_lib.figures.palette import QUIET, SEQUENCE, SPLIT_COLOURS, SPLIT_MARKERS

MOST_CHANNELS = 6
"""Channels of a multivariate series that are drawn."""


@draw.with_style
def class_balance(counts: pd.DataFrame) -> Figure:
    """Share of every class in train, validation and test, with the numbers of series.

    Parameters
    ----------
    counts : DataFrame
        From `tsc_lib.analysis.data_tables.class_counts`.

    Returns
    -------
    Figure
        One panel per data set.
    """
    datasets = draw.unique(counts.dataset)
    sizes = [counts[counts.dataset == d]["class"].nunique() for d in datasets]
    fig = draw.new_figure(0.6 * len(datasets) + 0.27 * sum(sizes) + 0.4)
    axes = fig.subplots(len(datasets), 1, squeeze=False, height_ratios=[size + 1.2 for size in sizes], sharex=True)
    for ax, dataset in zip(axes[:, 0], datasets, strict=True):
        part = counts[counts.dataset == dataset]
        names = draw.unique(part["class"])
        for offset, (split, colour) in zip((-0.2, 0, 0.2), SPLIT_COLOURS.items(), strict=True):
            share = part[part.split == split].set_index("class").share.loc[names]
            ax.plot(share, np.arange(len(names)) + offset, SPLIT_MARKERS[split], color=colour, markersize=4.5)
        for y, name in enumerate(names):
            of_class = part[part["class"] == name].set_index("split").series
            text = " / ".join(str(of_class[split]) for split in SPLIT_COLOURS)
            ax.text(1.01, y, text, transform=ax.get_yaxis_transform(), va="center", fontsize=8.5)
        ax.set_yticks(range(len(names)), names)
        ax.set_ylim(len(names) - 0.4, -0.6)
        ax.set_title(dataset, loc="left")
        ax.text(1.01, 1.02, "train / valid / test", transform=ax.transAxes, va="bottom", fontsize=8, color=QUIET)
    axes[-1, 0].set_xlim(0, 1.05 * counts.share.max())
    axes[-1, 0].set_xlabel("share of the split, % of series")
    handles = [draw.handle(color=colour, marker=SPLIT_MARKERS[s], label=s) for s, colour in SPLIT_COLOURS.items()]
    draw.legend_below(fig, handles)
    return fig


@draw.with_style
def example_series(examples: pd.DataFrame, dataset: str) -> Figure:
    """A few training series of every class, as the model receives them.

    Parameters
    ----------
    examples : DataFrame
        From `tsc_lib.analysis.data_tables.example_series`.
    dataset : str
        The data set's name, for the title.

    Returns
    -------
    Figure
        One panel per class: several series if they have one channel, else the channels of one series.
    """
    classes = draw.unique(examples["class"])
    columns = min(4, len(classes))
    rows = math.ceil(len(classes) / columns)
    fig, axes = draw.panels(rows, columns, 1.35, sharey=True, sharex=True)
    several = examples.channel.max() > 0
    for ax, name in zip(axes.flat, classes, strict=False):
        part = examples[examples["class"] == name]
        if several:
            part = part[(part.series == part.series.iloc[0]) & (part.channel < MOST_CHANNELS)]
        lines = part.groupby("channel" if several else "series", sort=False)
        for colour, (_, line) in zip(SEQUENCE, lines, strict=False):
            ax.plot(line.step, line.value, color=colour, linewidth=0.8, alpha=0.8)
        ax.set_title(fill(f"class {name}" if name.isdigit() else name, 22), fontsize=8.5, fontweight="normal")
        ax.margins(x=0.01)
    for ax in axes.flat[len(classes) :]:
        ax.set_axis_off()
    # The last row may be short: then the panels above its gap carry the time axis.
    for ax in axes.flat[max(len(classes) - columns, 0) : len(classes)]:
        ax.tick_params(labelbottom=True)
    shown = f"one series per class, its first {MOST_CHANNELS} channels at most" if several else "a few per class"
    fig.suptitle(f"{dataset}: training series, {shown}", fontsize=9.5, fontweight="bold")
    fig.supxlabel("time step", fontsize=9)
    fig.supylabel("scaled value", fontsize=9)
    return fig


@draw.with_style
def series_lengths(lengths: pd.DataFrame) -> Figure:
    """How long the series are, in train (with validation) and in test.

    Parameters
    ----------
    lengths : DataFrame
        From `tsc_lib.analysis.data_tables.series_lengths`.

    Returns
    -------
    Figure
        One panel per data set.
    """
    lines = {None: "share of the split, %"}
    fig, cells = draw.grid(draw.unique(lengths.dataset), lines, 2.0, xlabel="length, time steps")
    for ax, dataset, _ in cells:
        _length_panel(ax, lengths[lengths.dataset == dataset])
    if lengths.groupby("dataset").length.nunique().max() > 1:
        draw.legend_below(fig, [draw.handle(color=SPLIT_COLOURS[s], marker="s", label=s) for s in ("train", "test")])
    return fig


def _length_panel(ax: Axes, lengths: pd.DataFrame) -> None:
    shortest, longest = lengths.length.min(), lengths.length.max()
    if shortest == longest:
        ax.bar([longest], [100], width=0.06 * longest, color=QUIET)
        ax.set_xlim(0, 2 * longest)
        ax.set_xticks([0, longest, 2 * longest])
        draw.note(ax, f"every series:\n{longest} steps", (longest, 60), (8, 0), fontsize=8.5)
        return
    edges = list(np.linspace(0, longest, 28))
    for split in ("train", "test"):
        values = lengths[lengths.split.isin(["train", "valid"] if split == "train" else ["test"])].length
        weights = np.full(len(values), 100 / len(values))
        ax.hist(values, edges, weights=weights, histtype="stepfilled", color=SPLIT_COLOURS[split], alpha=0.25)
        ax.hist(values, edges, weights=weights, histtype="step", color=SPLIT_COLOURS[split], linewidth=1.3)
