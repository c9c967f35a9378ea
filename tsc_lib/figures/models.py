"""Figures of models beside each other, transformers and classics: colours are kinds of models, markers models."""

from __future__ import annotations

from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from tsc_lib.analysis.contenders import TRANSFORMERS, as_accurate, cheapest_by_use, choose_reference, find_front
from tsc_lib.analysis.ranking import LEVEL, Ranking
from tsc_lib.analysis.rows import name_batches
from tsc_lib.energy import require_same_source
from tsc_lib.figures import draw
from tsc_lib.figures.palette import KIND_COLOURS, QUIET, Looks
from tsc_lib.figures.scales import plain_log

MARKERS = ("o", "s", "D", "^", "v", "P", "X", "h", "<", ">", "p", "*")
"""Of the models, in the order in which a table has them."""

FRONT = "#D0D0D0"

FORMS = {"trained": "full", "exported": "none", "compressed": "left"}
"""How marks are filled, by what became of the model."""


def looks_of(table: pd.DataFrame) -> dict[str, Looks]:
    """Colour and marker of every model of a table with columns `model` and `kind`."""
    kinds = dict(zip(table.model, table.kind, strict=True))
    return {
        model: {"color": KIND_COLOURS[kind], "marker": MARKERS[place % len(MARKERS)]}
        for place, (model, kind) in enumerate(kinds.items())
    }


@draw.with_style
def accuracy_against_energy(table: pd.DataFrame) -> Figure:
    """Accuracy against the energy of an inference, every model in every form, and the front that none beats.

    Parameters
    ----------
    table : DataFrame
        Of `tsc_lib.analysis.contenders.contender_table`.

    Returns
    -------
    Figure
        A row of panels for each data set, single series beside large batches; 95 % intervals of accuracy over seeds and
        test series, of energy over the seeds. A thin line joins the forms of one model.
    """
    rows = table.dropna(subset="energy_mj_per_sample")
    if rows.empty:
        return draw.empty_figure("no model was measured")
    looks, datasets, fronts = looks_of(rows), draw.unique(rows.dataset), find_front(rows)
    sizes = sorted(rows.which.unique(), reverse=True)  # small, large
    fig, axes = draw.panels(len(datasets), len(sizes), 2.35, sharey="row", sharex=True)
    source = require_same_source(rows.energy_source)
    for row, dataset in zip(axes, datasets, strict=True):
        for ax, which in zip(row, sizes, strict=True):
            part, front = (each[(each.dataset == dataset) & (each.which == which)] for each in (rows, fronts))
            ax.step(front.energy_mj_per_sample, front.accuracy, where="post", color=FRONT, linewidth=4, zorder=1)
            for model, forms in part.groupby("model", sort=False):
                _forms(ax, forms, looks[model])
            plain_log(ax)
            ax.margins(y=0.1)
            ax.set_title(f"{dataset}, {name_batches(part)}" if len(part) else dataset, fontweight="normal")
        row[0].set_ylabel("accuracy, %")
    for ax in axes[-1]:
        ax.set_xlabel(f"energy, mJ per series ({source})")
    panels = fronts.assign(classic=~fronts.kind.isin(TRANSFORMERS)).groupby(["dataset", "which"]).classic.any()
    draw.say(fig, f"A classic is on {panels.sum() or 'none'} of {len(panels)} fronts")
    handles = [draw.handle(**style, label=model) for model, style in looks.items()]
    shown = [form for form in FORMS if form in set(rows.form)]
    handles += [draw.handle(color=QUIET, marker="o", fillstyle=FORMS[form], label=form) for form in shown]
    front = draw.handle(color=FRONT, linestyle="-", linewidth=4, label="front: none beats these")
    draw.legend_below(
        fig, [*handles, front, draw.handle(color=QUIET, marker="+", markersize=10, label="95 % interval")]
    )
    return fig


def _forms(ax: Axes, forms: pd.DataFrame, style: Looks) -> None:
    """A model's marks with their intervals, joined from the dearest to the cheapest."""
    x, y, colour = forms.energy_mj_per_sample, forms.accuracy, style["color"]
    ax.hlines(y, forms.energy_mj_per_sample_low, forms.energy_mj_per_sample_high, color=colour, linewidth=1, alpha=0.8)
    ax.vlines(x, forms.accuracy_low, forms.accuracy_high, color=colour, linewidth=1, alpha=0.8)
    ordered = forms.sort_values("energy_mj_per_sample")
    ax.plot(ordered.energy_mj_per_sample, ordered.accuracy, color=colour, linewidth=0.6, alpha=0.6)
    for form in forms.itertuples():
        filled: Looks = {"fillstyle": FORMS[form.form], "markerfacecoloralt": "white"}
        ax.plot(form.energy_mj_per_sample, form.accuracy, linestyle="none", markersize=6.5, **style, **filled)


@draw.with_style
def critical_difference(ranking: Ranking | None) -> Figure:
    """Average ranks over the data sets; a bar joins models that the tests do not tell apart.

    Parameters
    ----------
    ranking : Ranking or None
        Of `tsc_lib.analysis.contenders.rank_contenders`.

    Returns
    -------
    Figure
        The better rank at the right. Under each name stands the p-value against the best model, after Holm's
        correction for all pairs.
    """
    if ranking is None:
        return draw.empty_figure("there is one model, and nothing to rank")
    ranks, cliques = ranking.ranks, ranking.cliques
    half, halo = -(-len(ranks) // 2), [withStroke(linewidth=2, foreground="w")]
    depth = 0.5 + 0.22 * len(cliques)  # of the bars, below which the names begin
    fig = draw.new_figure(0.75 + 0.42 * depth + 0.36 * half)
    ax = fig.add_subplot()
    for side, end, names in (("right", 1, ranks.index[:half]), ("left", len(ranks), ranks.index[half:][::-1])):
        for place, name in enumerate(names):
            y, x = depth + 0.9 * place + 0.3, ranks[name]
            ax.plot([x, x, end], [0, y, y], color=QUIET, linewidth=0.9, clip_on=False)
            label = f"{name}  {x:.2f}" if side == "left" else f"{x:.2f}  {name}"
            options: dict[str, Any] = {"ha": side, "annotation_clip": False, "path_effects": halo}
            draw.note(ax, label, (end, y), (0, 1.5), va="bottom", fontsize=9, **options)
            draw.note(ax, _p_value(ranking, name), (end, y), (0, -2), va="top", color=QUIET, **options)
    for place, names in enumerate(cliques):
        ends = [ranks[names[0]] - 0.04, ranks[names[-1]] + 0.04]
        ax.plot(ends, [0.3 + 0.22 * place] * 2, color="k", linewidth=3.5, solid_capstyle="butt", clip_on=False)
    ax.set_xlim(len(ranks), 1)
    ax.set_ylim(depth + 0.9 * half, 0)
    ax.set_yticks([])
    ax.grid(visible=False)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.xaxis.tick_top()
    ax.spines[["top", "bottom", "left"]].set_visible(False)
    ax.spines["top"].set_visible(True)
    ax.set_title(_message(ranking), pad=16)
    return fig


def _p_value(ranking: Ranking, name: str) -> str:
    best = ranking.ranks.index[0]
    if name == best:
        return "the best rank"
    pairs = ranking.pairs
    p = pairs.p_holm[(pairs["first"] == best) & (pairs.second == name)].iloc[0]
    return f"p = {p:.2g} to {best}" if p >= 1e-4 else f"p < 0.0001 to {best}"


def _message(ranking: Ranking) -> str:
    """What the diagram shows, in one line."""
    models = f"{len(ranking.ranks)} models"
    if ranking.datasets < ranking.needed:
        sets = "One data set" if ranking.datasets == 1 else f"{ranking.datasets} data sets"
        return f"{sets} cannot rank {models}: at least {ranking.needed} are needed"
    told = int((ranking.pairs.p_holm < LEVEL).sum())
    return f"{told} of {len(ranking.pairs)} pairs are told apart on {ranking.datasets} data sets (average rank)"


@draw.with_style
def points_beside(table: pd.DataFrame) -> Figure:
    """Points of accuracy above or below one model, on the same test series.

    Parameters
    ----------
    table : DataFrame
        Of `tsc_lib.analysis.contenders.points_beside`.

    Returns
    -------
    Figure
        A panel for each data set, a line for each model; 95 % intervals over seeds and test series together.
    """
    if table.empty:
        return draw.empty_figure("there is one model, and nothing to set beside it")
    models, datasets = draw.unique(table.model), draw.unique(table.dataset)
    xlabel = f"points above {table.reference.iloc[0]}"
    fig, cells = draw.grid(datasets, {None: ""}, 0.28 * len(models) + 0.6, xlabel=xlabel, sharey=True)
    for ax, dataset, _ in cells:
        draw.guide(ax, x=0)
        for row in table[table.dataset == dataset].itertuples():
            face = "white" if row.verdict == "not told apart" else KIND_COLOURS[row.kind]
            ends = {"low": row.points_low, "high": row.points_high}
            looks = {"color": KIND_COLOURS[row.kind], "marker": "o", "markerfacecolor": face}
            draw.mark(ax, row.points, models.index(row.model), across=True, **ends, **looks)
    draw.name_rows(cells[0][0], models, 26)
    sure = int((table.verdict != "not told apart").sum())
    title = f"{sure} of {len(table)} differences from {table.reference.iloc[0]} are sure"
    draw.say(fig, title)
    handles = [
        draw.handle(color=QUIET, marker="o", label="surely better or worse"),
        draw.handle(color=QUIET, marker="o", markerfacecolor="white", label="not told apart"),
        draw.handle(color=QUIET, marker="_", markersize=12, label="95 % interval, over seeds and test series"),
    ]
    draw.legend_below(fig, handles)
    return fig


@draw.with_style
def training_paid_back(table: pd.DataFrame) -> Figure:
    """CPU time of training and of all classifications since, by how many there were: the lowest line is the cheapest.

    Parameters
    ----------
    table : DataFrame
        Of `tsc_lib.analysis.contenders.contender_table`, with the CPU time of training.

    Returns
    -------
    Figure
        A panel for each data set, a line for each model in its cheapest form at the large batch; where two lines cross,
        a dearer training is paid back. Dotted lines are of models that are less accurate than the reference by more
        than a point.
    """
    rows = table[table.which == "large"].dropna(subset=["train_cpu_s", "cpu_ms_per_sample"])
    if rows.empty:
        return draw.empty_figure("no model's training was timed")
    looks, cheapest = looks_of(rows), cheapest_by_use(table)
    rows = rows.assign(line=as_accurate(table).map({True: "-", False: ":"}))
    rows = rows.loc[rows.groupby(["dataset", "model"], sort=False).cpu_ms_per_sample.idxmin()]
    counts = np.logspace(0, 9, 91)
    xlabel = "classifications since"
    fig, cells = draw.grid(draw.unique(rows.dataset), {None: "CPU seconds in all"}, 3.0, xlabel=xlabel, sharey=True)
    for ax, dataset, _ in cells:
        for row in rows[rows.dataset == dataset].itertuples():
            total = row.train_cpu_s + counts * row.cpu_ms_per_sample / 1000
            ax.plot(counts, total, row.line, markevery=30, markersize=5, linewidth=1.2, **looks[row.model])
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xticks([1, 1e3, 1e6, 1e9])
        first, *others = cheapest[cheapest.dataset == dataset].to_dict("records")
        words = [
            f"cheapest: {first['name']}",
            *(f"from {_round(other['since'])} on {other['name']}" for other in others),
        ]
        ax.set_title(f"{dataset}\n{fill(', '.join(words), 36)}", fontsize=8.5, fontweight="normal")
        for other in others:
            draw.guide(ax, x=other["since"], linestyle=":")
    dearer = int((cheapest.groupby("dataset").size() > 1).sum())
    title = f"Much use pays a dearer training back on {dearer} of {cheapest.dataset.nunique()} data sets"
    draw.say(fig, title)
    handles = [draw.handle(**style, label=model) for model, style in looks.items()]
    label = f"less accurate than {choose_reference(table)}"
    draw.legend_below(fig, [*handles, draw.handle(color=QUIET, linestyle=":", label=label)])
    return fig


def _round(count: float) -> str:
    return f"{float(f'{count:.1g}'):,.0f}"
