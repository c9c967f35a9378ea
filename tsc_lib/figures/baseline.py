"""Figures of the uncompressed models: how they learned, how good they are, what they confuse, what they cost."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from tsc_lib.analysis.quantities import over_seeds
from tsc_lib.analysis.references import class_name
from tsc_lib.analysis.rows import CASE_KEYS, batch_kinds, name_batches, select_batch, select_reference
from tsc_lib.data.preprocess import natural_key
from tsc_lib.energy import require_same_source
from tsc_lib.figures import draw
from tsc_lib.figures.palette import QUIET, SPLIT_COLOURS, look_of_model

COSTS = {
    "params": ("Parameters", 1),
    "macs": ("Multiply-adds per series", 1),
    "model_bytes": ("Size, kB", 1e-3),
    "cpu_ms_per_sample": ("CPU time, ms per series", 1),
    "energy_mj_per_sample": ("{source} energy, mJ per series", 1),
}
"""Columns of the results that are costs: their title with the unit, and the factor to that unit."""


@draw.with_style
def learning_curves(histories: pd.DataFrame) -> Figure:
    """Loss and validation accuracy by epoch, one thin line for each seed, the chosen epoch marked.

    Parameters
    ----------
    histories : DataFrame
        Columns `dataset`, `model`, `seed`, `epoch`, `train_loss`, `valid_loss`, `valid_accuracy`, `best`.

    Returns
    -------
    Figure
        One column of panels per data set; for every model a row of losses and, if validation series were kept, a row
        of accuracies.
    """
    shown = {"loss": "cross-entropy", "accuracy": "valid accuracy, %"}
    models = draw.unique(histories.model)
    judged = set(histories.dropna(subset="valid_accuracy").model)
    lines = {
        (model, what): f"{model}\n{title}"
        for model in models
        for what, title in shown.items()
        if what == "loss" or model in judged
    }
    fig, cells = draw.grid(draw.unique(histories.dataset), lines, 1.55, xlabel="epoch", sharex="col")
    for ax, dataset, (model, what) in cells:
        for _, run in draw.select_case(histories, dataset, model).groupby("seed"):
            value, factor = ("valid_loss", 1) if what == "loss" else ("valid_accuracy", 100)
            if what == "loss":
                ax.plot(run.epoch, run.train_loss, color=SPLIT_COLOURS["train"], linewidth=1)
            ax.plot(run.epoch, factor * run[value], color=SPLIT_COLOURS["valid"], linewidth=1)
            best = run[run.best]
            ax.plot(best.epoch, factor * best[value], "o", color=SPLIT_COLOURS["valid"], markersize=4.5)
        if what == "loss":
            ax.set_ylim(bottom=0)
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    handles = [draw.handle(color=SPLIT_COLOURS[s], linestyle="-", label=s) for s in ("train", "valid")]
    draw.legend_below(fig, [*handles, draw.handle(color=SPLIT_COLOURS["valid"], marker="o", label="chosen epoch")])
    return fig


@draw.with_style
def accuracy_beside_references(results: pd.DataFrame, references: pd.DataFrame) -> Figure:
    """Test accuracy and macro-F1 of the models, beside what others published on the same split.

    Parameters
    ----------
    results : DataFrame
        The results table.
    references : DataFrame
        From `tsc_lib.analysis.references.reference_accuracies`.

    Returns
    -------
    Figure
        One panel per data set: small dots are seeds with Wilson intervals, large ones their mean with Student's.
    """
    rows = select_reference(select_batch(results))
    table = over_seeds(rows, CASE_KEYS, means=["accuracy", "f1_macro"])
    datasets, models = draw.unique(rows.dataset), draw.unique(rows.model)
    references = references[references.dataset.isin(datasets)]
    order = references.groupby("method").accuracy.mean().sort_values(ascending=False)
    titles = {"accuracy": "accuracy", "f1_macro": "macro-F1"}
    ours = look_of_model(0)["color"]
    lines = [(model, value) for model in models for value in titles]
    height = 0.27 * (len(lines) + len(order)) + 0.7
    fig, cells = draw.grid(datasets, {None: ""}, height, xlabel="test set, %", sharey=True)
    for ax, dataset, _ in cells:
        for y, (model, value) in enumerate(lines):
            runs = draw.select_case(rows, dataset, model)
            draw.spread(ax, runs, value, y, 100, marker=".", color=QUIET, markersize=4, elinewidth=0.7)
            mean = draw.select_case(table, dataset, model)
            looks = {"marker": look_of_model(models.index(model))["marker"], "color": ours, "elinewidth": 1.6}
            draw.mark_means(ax, mean, value, y - 0.1, across=True, factor=100, **looks)
        for other in references[references.dataset == dataset].itertuples():
            face = "white" if other.version else QUIET
            place = len(lines) + order.index.get_loc(other.method)
            draw.mark(ax, 100 * other.accuracy, place, marker="d", color=QUIET, markerfacecolor=face)
        ax.axhline(len(lines) - 0.5, color=QUIET, linewidth=0.8)
    draw.name_rows(cells[0][0], [*(f"{model} {titles[value]}" for model, value in lines), *order.index])
    handles = [draw.handle(color=ours, marker="o", label="ours: mean and 95 % interval, seeds small")]
    if len(order):
        handles.append(draw.handle(color=QUIET, marker="d", label="published, same data"))
    if references.version.any():
        label = "published, padded to one length"
        handles.append(draw.handle(color=QUIET, marker="d", markerfacecolor="white", label=label))
    draw.legend_below(fig, handles, columns=3)
    return fig


@draw.with_style
def confusion_matrices(predictions: pd.DataFrame, dataset: str) -> Figure:
    """Of each true class, the share (%) that was given every class; all seeds together.

    Parameters
    ----------
    predictions : DataFrame
        Columns `dataset`, `model`, `true`, `predicted`.
    dataset : str
        Which data set.

    Returns
    -------
    Figure
        One panel per model.
    """
    part = predictions[predictions.dataset == dataset]
    models = draw.unique(part.model)
    classes = draw.unique(pd.concat([part.true, part.predicted]))
    classes.sort(key=natural_key)
    names = [class_name(dataset, label) for label in classes]
    size, widest = len(classes), max(map(len, names))
    fig = draw.new_figure(0.9 + 0.26 * max(size, 4) + 0.07 * widest)
    axes = fig.subplots(1, len(models), squeeze=False, sharey=True)[0]
    worst, said = 0.0, "no class is taken for another"
    for ax, model in zip(axes, models, strict=True):
        of_model = part[part.model == model]
        counts = pd.crosstab(of_model.true, of_model.predicted).reindex(index=classes, columns=classes, fill_value=0)
        share = (100 * counts.div(counts.sum(axis=1).replace(0, np.nan), axis=0)).to_numpy()
        wrong = np.nan_to_num(share) * (1 - np.eye(size))
        if wrong.max() > worst:
            worst, (true, other) = wrong.max(), np.unravel_index(wrong.argmax(), wrong.shape)
            said = f"{model} takes {names[true]} for {names[other]} most often, in {worst:.0f} % of the cases"
        seaborn.heatmap(share, ax=ax, cmap="Blues", vmin=0, vmax=100, cbar=False, xticklabels=names, yticklabels=names,
                        annot=np.where(share >= 0.5, np.char.mod("%.0f", share), ""), fmt="",
                        annot_kws={"fontsize": 7.5})  # fmt: skip
        ax.tick_params(axis="x", labelrotation=0 if widest < 4 else 90)
        ax.tick_params(axis="y", labelrotation=0)
        ax.set_title(model)
        ax.set_xlabel("predicted class")
    axes[0].set_ylabel("true class")
    draw.say(fig, f"{dataset}: {said}")
    fig.colorbar(axes[0].collections[0], ax=list(axes), label="% of the true class", shrink=0.8, pad=0.02)
    return fig


@draw.with_style
def model_cost(results: pd.DataFrame) -> Figure:
    """What the uncompressed models cost: parameters, multiply-adds, bytes, CPU time and energy.

    Parameters
    ----------
    results : DataFrame
        The results table.

    Returns
    -------
    Figure
        One panel per cost; time at every batch size, energy at the largest, with 95 % intervals over the seeds.
    """
    rows = select_reference(results)
    datasets, models, kinds = draw.unique(rows.dataset), draw.unique(rows.model), batch_kinds(results)
    source = str(require_same_source(rows.energy_source)).capitalize()
    wanted = [(column, "") for column in ("params", "macs", "model_bytes")]
    wanted += [("cpu_ms_per_sample", kind) for kind in kinds] + [("energy_mj_per_sample", "large")]
    fig, axes = draw.panels(-(-len(wanted) // 3), 3, 1.9)
    for ax, (column, kind) in zip(axes.flat, wanted, strict=False):
        chosen = select_reference(select_batch(results, kind or "large"))
        _cost_bars(ax, chosen, column, datasets, models)
        title = COSTS[column][0].format(source=source)
        ax.set_title(f"{title}\n{name_batches(chosen)}" if kind else title, fontsize=8)
    for ax in axes.flat[len(wanted) :]:
        ax.set_axis_off()
    handles = [draw.handle(color=look_of_model(i)["color"], marker="s", label=m) for i, m in enumerate(models)]
    draw.legend_below(fig, [*handles, draw.interval_handle()])
    return fig


def _cost_bars(ax: Axes, rows: pd.DataFrame, column: str, datasets: list[str], models: list[str]) -> None:
    factor = COSTS[column][1]
    width = 0.8 / len(models)
    for i, model in enumerate(models):
        summary = over_seeds(rows[rows.model == model], ["dataset"], means=[column])
        summary = summary.set_index("dataset").reindex(datasets)
        x = np.arange(len(datasets)) + (i - (len(models) - 1) / 2) * width
        draw.bars(ax, x, summary, column, width * 0.92, look_of_model(i)["color"], factor)
    ax.set_xticks(range(len(datasets)), [_short(name) for name in datasets], fontsize=7.5)
    if column in ("params", "macs"):
        ax.yaxis.set_major_formatter(EngFormatter(sep="\N{THIN SPACE}"))
    ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.set_ylim(bottom=0)


def _short(name: str) -> str:
    """A long name of two words on two lines: RefrigerationDevices."""
    return re.sub("(.*[a-z])([A-Z])", r"\1\n\2", name) if len(name) > 9 else name
