"""Figures of strategies together: what each step contributes, what is removed by which criterion, and early exits."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from tsc_lib.analysis.ablation import CRITERIA, TRAININGS
from tsc_lib.analysis.quantities import average
from tsc_lib.analysis.rows import name_batches, select_batch, select_variant
from tsc_lib.compress import Variant
from tsc_lib.figures import draw
from tsc_lib.figures.palette import INTERVAL, QUIET, SEQUENCE, Looks
from tsc_lib.figures.scales import plain_log

TRAINING_LOOKS: dict[str, Looks] = {
    training: {"marker": marker, "color": colour}
    for training, marker, colour in zip(TRAININGS, "xoD", (QUIET, SEQUENCE[0], SEQUENCE[2]), strict=True)
}
THE_END = "#D9D9D9"
"""Grey of series that leave at no exit."""


@draw.with_style
def savings_by_step(ways: pd.DataFrame) -> Figure:
    """CPU time on the way to a recipe: a waterfall, in which each step falls from what the one before it left.

    Parameters
    ----------
    ways : DataFrame
        From `tsc_lib.analysis.ablation.ways_to`.

    Returns
    -------
    Figure
        One column of panels per data set, one row per model; every step multiplies what the one before it left, so the
        axis is logarithmic and equal factors are equally long. Bars are the large batch, with the factor of each step;
        hollow marks the small batch.
    """
    if ways.empty:
        return draw.empty_figure("this profile does not run the recipe")
    way, small = select_batch(ways), select_batch(ways, "small")
    ordered = way.sort_values("position", kind="stable")
    names = {model: draw.unique(part.step) for model, part in ordered.groupby("model")}
    fig, cells = draw.named_rows(way, names, 0.32, xlabel="CPU time \N{DIVISION SIGN} eager fp32", sharex=True)
    for ax, dataset, model, large in cells:
        ax.margins(x=0.12)
        before = 1.0
        for line in large.sort_values("position", kind="stable").itertuples():
            y = names[model].index(line.step)
            if line.position:
                ax.barh(y, before - line.cpu_ratio, 0.55, left=line.cpu_ratio, color=SEQUENCE[4])
                ax.plot([before, before], [y - 1, y + 0.3], color=QUIET, linewidth=0.7)
                less, at = line.factor < 1, max(before, line.cpu_ratio)
                factor = (
                    f"\N{DIVISION SIGN}{1 / line.factor:.2g}" if less else f"\N{MULTIPLICATION SIGN}{line.factor:.2g}"
                )
                draw.note(ax, factor, (at, y), (4 if less else 12, 0), va="center")
            before = line.cpu_ratio
        for part, face in ((draw.select_case(small, dataset, model), "white"), (large, SEQUENCE[0])):
            looks: Looks = {"marker": "o", "color": SEQUENCE[0], "markerfacecolor": face, "markersize": 4}
            draw.mark_means(ax, part, "cpu_ratio", part.step.map(names[model].index), across=True, **looks)
        plain_log(ax)
    left = way[way.position == way.groupby(["dataset", "model"]).position.transform("max")].cpu_ratio
    draw.say(fig, f"Together the steps leave 1/{1 / left.max():.0f} to 1/{1 / left.min():.0f} of the CPU time")
    looks = {"color": SEQUENCE[0], "linestyle": "-"}
    handles = [
        draw.handle(color=SEQUENCE[4], marker="s", markersize=9, label="what a step takes away, and its factor"),
        draw.handle(**looks, marker="o", label="large batch"),
        draw.handle(**looks, marker="o", markerfacecolor="white", label=name_batches(small)),
        draw.handle(**looks, label="95 % interval over seeds"),
    ]
    draw.legend_below(fig, handles)
    return fig


@draw.with_style
def ablation(table: pd.DataFrame) -> Figure:
    """Accuracy lost by a recipe and by what is left of it without one of its steps.

    Parameters
    ----------
    table : DataFrame
        From `tsc_lib.analysis.ablation.without_each`.

    Returns
    -------
    Figure
        One column of panels per data set, one row per model, with 95 % intervals over the seeds; beside each mark how
        many times less CPU time it takes than eager fp32.
    """
    if table.empty:
        return draw.empty_figure("this profile does not run the recipe")
    said = table.left_out.map(lambda name: f"without {name}" if name != "nothing" else "the recipe")
    table = table.assign(left_out=said)
    names = {model: draw.unique(part.left_out) for model, part in table.groupby("model", sort=False)}
    fig, cells = draw.named_rows(table, names, 0.32, xlabel="accuracy lost, points", sharex="col")
    for ax, _, model, part in cells:
        ax.margins(x=0.12)
        draw.guide(ax, x=0)
        y = part.left_out.map(names[model].index)
        draw.mark_means(ax, part, "points_lost", y, across=True, marker="o", color=SEQUENCE[0])
        for line in part.itertuples():
            at = (line.points_lost, names[model].index(line.left_out))
            share = f"1/{1 / line.cpu_ratio:.2g}" if line.cpu_ratio < 1 else f"{line.cpu_ratio:.2g}"
            draw.note(ax, share, at, (0, 5), ha="center")
    handles = [
        draw.handle(color=SEQUENCE[0], marker="o", linestyle="-", label="mean, 95 % interval over seeds"),
        draw.handle(color="k", marker="$1/n$", markersize=16, label="share of the CPU time of eager fp32"),
    ]
    draw.legend_below(fig, handles)
    return fig


@draw.with_style
def importance_criteria(table: pd.DataFrame) -> Figure:
    """Accuracy lost by removal according to each criterion, beside removal at random, at equal multiply-adds.

    Parameters
    ----------
    table : DataFrame
        From `tsc_lib.analysis.ablation.criteria`.

    Returns
    -------
    Figure
        One column of panels per data set, one row per model; as pruned, fine-tuned and distilled, with 95 % intervals
        over the seeds.
    """
    if table.empty:
        return draw.empty_figure("this profile does not compare criteria of importance")
    names = [name for name in CRITERIA if name in set(table.criterion)]
    fig, cells = draw.case_grid(table, "accuracy lost, points", 2.0, sharex=True, sharey="row", below=0.3)
    for ax, _, _, part in cells:
        draw.guide(ax, y=0)
        for place, training in enumerate(TRAININGS):
            line = part[part.training == training]
            x = line.criterion.map(names.index) + 0.2 * (place - 1)
            draw.mark_means(ax, line, "points_lost", x, **TRAINING_LOOKS[training], markersize=5)
        ax.set_xticks(range(len(names)), names, rotation=35, ha="right")
        ax.grid(axis="x", visible=False)
    present = set(table.training)
    handles = [draw.handle(**looks, label=name) for name, looks in TRAINING_LOOKS.items() if name in present]
    interval = draw.handle(color=QUIET, marker="|", markersize=10, label="95 % interval over seeds")
    draw.legend_below(fig, [*handles, interval])
    draw.say(fig, _say_criteria(table))
    return fig


def _say_criteria(table: pd.DataFrame) -> str:
    """What the best criterion is worth beside removal at random, as pruned and after the longest training."""
    keys = ["dataset", "model", "training"]
    random = table[table.criterion == "random"].set_index(keys).points_lost
    others = table[table.criterion != "random"].set_index(keys)
    gains = others.assign(gain=random.reindex(others.index) - others.points_lost).dropna(subset="gain").reset_index()
    if gains.empty:
        return f"{table.criterion.nunique()} criteria of importance, and none at random beside them"
    said = []
    for training in [name for name in TRAININGS if name in set(gains.training)]:
        means = {name: average(part, "gain") for name, part in gains[gains.training == training].groupby("criterion")}
        best = max(means, key=lambda name: means[name])
        said.append(f"{training} {means[best]:+.1f} ({best})".replace("-", "\N{MINUS SIGN}"))
    return f"Points that the best criterion keeps beyond random removal: {', '.join(said)}"


@draw.with_style
def exit_shares(places: pd.DataFrame) -> Figure:
    """Shares of the test series that leave at each exit, mean over the seeds, one bar for every variant.

    Parameters
    ----------
    places : DataFrame
        Of `tsc_lib.study.early_exit.places_left`.

    Returns
    -------
    Figure
        Each part of a bar says after how many layers series leave; right of the bars are the mean and the 95th
        percentile of a series' multiply-accumulates, relative to the uncompressed model.
    """
    rows = places[places.threshold.notna().groupby([places.recipe, places.runtime]).transform("any")]
    if rows.empty:
        return draw.empty_figure("this profile has no early exits")
    names = rows[["recipe", "runtime"]].drop_duplicates().itertuples(index=False, name=None)
    variants = [Variant.parse(*name) for name in names]
    options: dict[str, Any] = {"xlabel": "share of the test series, %", "sharex": True, "sharey": True}
    fig, cells = draw.case_grid(rows, "", 0.7 + 0.4 * len(variants), **options)
    for ax, _, _, of_case in cells:
        for y, variant in enumerate(variants):
            part, start = select_variant(of_case, variant), 0.0
            for place, group in part.groupby("place"):
                share, layers = 100 * group.left_test.mean(), group.layers.iloc[0]
                colour = SEQUENCE[int(place) - 1] if group.threshold.notna().any() else THE_END
                ax.barh(y, share, 0.6, left=start, color=colour)
                if share > 12:
                    shade = "white" if colour != THE_END else "black"
                    ax.text(start + share / 2, y, f"{layers:g}", ha="center", va="center", color=shade, fontsize=8)
                start += share
            if len(part):
                mean, tail = (100 * (part[f"macs_{name}"] / part.reference_macs).mean() for name in ("mean", "p95"))
                ax.text(103, y, f"{mean:.0f} / {tail:.0f}", va="center", color=INTERVAL, fontsize=8)
        ax.set_xlim(0, 138)
        ax.set_xticks(range(0, 101, 25))
        ax.grid(axis="y", visible=False)
        draw.name_rows(ax, [variant.label for variant in variants], width=24)
    exits = int(rows[rows.threshold.notna()].place.max())
    handles = [Patch(color=SEQUENCE[i], label=f"leave at exit {i + 1}") for i in range(exits)]
    handles.append(Patch(color=THE_END, label="go to the end (number: layers executed)"))
    handles.append(Patch(alpha=0, label="right: MACs, % of uncompressed, mean / 95th percentile"))
    draw.legend_below(fig, handles, columns=2)
    return fig
