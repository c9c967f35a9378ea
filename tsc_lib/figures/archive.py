"""Figures over the data sets of an archive: a point is a data set."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tsc_lib.analysis.archive import TRAITS, summarize_savings
from tsc_lib.analysis.quantities import PERMITTED_LOSS
from tsc_lib.analysis.ranking import count_wins
from tsc_lib.analysis.wording import join_items
from tsc_lib.figures import draw
from tsc_lib.figures.palette import COLOURS, INTERVAL, KIND_COLOURS, QUIET, SEQUENCE, Looks
from tsc_lib.figures.scales import plain_log

POINT: Looks = {"linestyle": "none", "marker": "o", "markersize": 4, "alpha": 0.7, "markeredgewidth": 0}


def _scatter_rows(ax: Axes, groups: list[tuple[np.ndarray, str]]) -> None:
    """Each group's values along a row of its own, spread a little, with a bar from quartile to quartile."""
    for row, (values, colour) in enumerate(groups):
        values = values[np.isfinite(values)]
        spread = np.random.default_rng(row).uniform(-0.22, 0.22, len(values))
        ax.plot(values, row + spread, color=colour, **POINT)
        if len(values):
            low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
            ax.hlines(row, low, high, color=INTERVAL, linewidth=2.5, alpha=0.9)
            ax.plot([middle], [row], color=INTERVAL, marker="|", markersize=14, markeredgewidth=2)


@draw.with_style
def savings_over_datasets(savings: pd.DataFrame) -> Figure:
    """CPU time that is left, and points that are lost, of each strategy on each data set.

    Parameters
    ----------
    savings : DataFrame
        Of `tsc_lib.analysis.archive.savings_by_dataset`.

    Returns
    -------
    Figure
        A row for each strategy; a mark is a data set, a bar reaches from quartile to quartile over them. What one data
        set alone has is left out where others have several: it is no distribution.
    """
    if savings.empty:
        return draw.empty_figure("no strategy was measured")
    datasets = savings.groupby("strategy").dataset.transform("nunique")
    savings = savings[datasets >= min(2, datasets.max())]
    names = draw.unique(savings.strategy)
    fig, axes = draw.panels(1, 2, 0.42 * len(names) + 1.0, sharey=True)
    parts = [savings[savings.strategy == name] for name in names]
    for ax, value, factor in zip(axes[0], ("cpu_ratio", "points_lost"), (100, 1), strict=True):
        _scatter_rows(ax, [(factor * part[value].to_numpy(float), COLOURS[part.family.iloc[0]]) for part in parts])
    plain_log(axes[0][0])
    draw.guide(axes[0][0], x=100)
    draw.guide(axes[0][1], x=0)
    draw.guide(axes[0][1], x=PERMITTED_LOSS, linestyle=":")
    axes[0][0].set_xlabel("CPU time left, % of the model in eager")
    axes[0][1].set_xlabel("points of accuracy lost")
    draw.name_rows(axes[0][0], names, 30)
    best = summarize_savings(savings).sort_values("cpu_ratio").iloc[0]
    draw.say(
        fig,
        f"The cheapest strategy loses at most {PERMITTED_LOSS:g} point on {best.within} of {best.datasets} data sets",
    )
    handles = [draw.handle(color=QUIET, marker="o", label="a data set")]
    handles.append(draw.handle(color=INTERVAL, marker="_", markersize=14, label="median and quartiles"))
    draw.legend_below(fig, handles)
    return fig


@draw.with_style
def accuracy_beside_classics(pairs: pd.DataFrame) -> Figure:
    """Our accuracy against that of each classic, a mark for each data set; above the line ours is better.

    Parameters
    ----------
    pairs : DataFrame
        Of `tsc_lib.analysis.archive.beside_classics`.
    """
    if pairs.empty:
        return draw.empty_figure("there is no classic to set beside a transformer")
    classics, ours = draw.unique(pairs.classic), pairs.ours.iloc[0]
    fig, axes = draw.panels(1, len(classics), 3.2, sharex=True, sharey=True)
    ahead, least = [], float(pairs[["accuracy", "classic_accuracy"]].min(axis=None))
    for ax, classic in zip(axes[0], classics, strict=True):
        part = pairs[pairs.classic == classic]
        ax.axline((least, least), slope=1, color=QUIET, linewidth=0.9, zorder=1)
        ax.plot(
            part.classic_accuracy, part.accuracy, color=KIND_COLOURS[part.kind.iloc[0]], **POINT | {"markersize": 5}
        )
        won, drawn, lost = count_wins(part.points)
        if lost > won:
            ahead.append(classic)
        ax.set_title(f"{won} won, {drawn} drawn, {lost} lost", fontweight="normal")
        ax.set_xlabel(f"accuracy of {classic}, %")
        ax.set_aspect("equal", adjustable="box")
    axes[0][0].set_ylabel(f"accuracy of {ours}, %")
    message = "loses more often than it wins" if ahead else "wins at least as often as it loses"
    draw.say(fig, f"{ours} {message} against {join_items(ahead or classics)}")
    return fig


@draw.with_style
def rank_against_energy(table: pd.DataFrame) -> Figure:
    """Average rank in accuracy against energy of an inference, and the front that none beats.

    Parameters
    ----------
    table : DataFrame
        Of `tsc_lib.analysis.archive.ranks_and_energy`.

    Returns
    -------
    Figure
        Up is a better rank, left is cheaper; 95 % intervals over the data sets.
    """
    table = table.dropna(subset="energy_ratio")
    if table.empty:
        return draw.empty_figure("no contender was measured")
    fig = draw.new_figure(3.4)
    ax = fig.add_subplot()
    front = table[table.front].sort_values("energy_ratio")
    ax.step(100 * front.energy_ratio, front["rank"], where="post", color="#D0D0D0", linewidth=4, zorder=1)
    for row in table.itertuples():
        ends = {"low": 100 * row.energy_ratio_low, "high": 100 * row.energy_ratio_high}
        draw.mark(ax, 100 * row.energy_ratio, row.rank, across=True, **ends, marker="o", color=KIND_COLOURS[row.kind])
        draw.note(ax, row.name, (100 * row.energy_ratio, row.rank), (6, 5), fontsize=8.5)
    plain_log(ax)
    ax.margins(x=0.2, y=0.15)
    ax.invert_yaxis()
    ax.set_xlabel("energy of a series, % of the first network's in eager (ratios within sessions)")
    ax.set_ylabel("average rank in accuracy")
    draw.say(fig, f"{len(front)} of {len(table)} contenders are beaten by none in both accuracy and energy")
    return fig


@draw.with_style
def traits_of_wins(table: pd.DataFrame) -> Figure:
    """Points above each classic against what is known of a data set beforehand.

    Parameters
    ----------
    table : DataFrame
        Of `tsc_lib.analysis.archive.join_traits`.

    Returns
    -------
    Figure
        A row of panels for each classic, a panel for each trait, a mark for each data set.
    """
    if table.empty:
        return draw.empty_figure("there is no classic to set beside a transformer")
    classics, ours = draw.unique(table.classic), table.ours.iloc[0]
    fig, axes = draw.panels(len(classics), len(TRAITS), 1.9, sharey=True, sharex="col")
    for row, classic in zip(axes, classics, strict=True):
        part = table[table.classic == classic]
        for ax, trait in zip(row, TRAITS, strict=True):
            draw.guide(ax, y=0)
            ax.plot(part[trait], part.points, color=KIND_COLOURS[part.kind.iloc[0]], **POINT)
            plain_log(ax)
        row[0].set_ylabel(f"points above\n{classic}")
    for ax, trait in zip(axes[-1], TRAITS, strict=True):
        ax.set_xlabel({"longest": "time steps", "train": "training series"}.get(trait, trait))
    lost = table.groupby("dataset").points.min() < -PERMITTED_LOSS
    where = f"on {int(lost.sum())} of {len(lost)} data sets"
    draw.say(fig, f"{ours} is more than {PERMITTED_LOSS:g} point below a classic {where}")
    return fig


@draw.with_style
def promises_kept(gaps: pd.DataFrame, promises: pd.DataFrame) -> Figure:
    """What validation said beside what came of it on test: of models as trained, and of what searches picked.

    Parameters
    ----------
    gaps : DataFrame
        Of `tsc_lib.analysis.archive.validation_gaps`.
    promises : DataFrame
        Of `tsc_lib.search.results.load_promises`.

    Returns
    -------
    Figure
        Left, validation minus test accuracy, a mark for each data set and seed; right, points lost on test against the
        bound that was promised; below the line it was kept.
    """
    if gaps.empty and promises.empty:
        return draw.empty_figure("no model was trained with validation series")
    fig, axes = draw.panels(1, 2, 2.8)
    models = draw.unique(gaps.model)
    values = [gaps.points[gaps.model == model].to_numpy(float) for model in models]
    _scatter_rows(axes[0][0], [(each, SEQUENCE[place % len(SEQUENCE)]) for place, each in enumerate(values)])
    draw.guide(axes[0][0], x=0)
    draw.name_rows(axes[0][0], models, 20)
    axes[0][0].set_xlabel("validation minus test accuracy, points")
    known = promises.dropna(subset=["bound", "test_drop"])
    if len(known):
        ax = axes[0][1]
        ax.axline((0, 0), slope=1, color=QUIET, linewidth=0.9, zorder=1)
        ax.plot(known.bound, known.test_drop, color=SEQUENCE[0], **POINT | {"markersize": 5})
        ax.set_xlabel("promised to lose at most, points")
        ax.set_ylabel("lost on test, points")
    else:
        draw.explain_empty(axes[0][1], "no search has finished here")
    above = int((gaps.points > 0).sum())
    draw.say(fig, f"Validation was above test for {above} of {len(gaps)} trained models")
    return fig
