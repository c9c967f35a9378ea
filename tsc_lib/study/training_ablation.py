"""What each option of the training contributes: the default beside itself with one option off, or one more on."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from tsc_lib.core.stats import crossed_mean_interval, geometric_mean_interval
from tsc_lib.core.store import StageFailed
from tsc_lib.data import DataSpec, load
from tsc_lib.study import stages
from tsc_lib.study.specs import TrainingRun
from tsc_lib.study.study import Study
from tsc_lib.training import AUGMENTATIONS, Augmentations, TrainSpec

logger = logging.getLogger(__name__)

DEFAULT = "default"

TRIED: Mapping[str, Sequence[object]] = {
    "optimizer": ("adam", "adamw", "schedulefree", "fame"),
    "weight_decay": (0.05,),
    "schedule": ("cosine",),
    "clip": (1.0,),
    "average": (0.99,),
    "filter_norm": (),
    "label_smoothing": (0.1,),
    "mixing": (0.2,),
}
"""Values that an option is tried with where the default does not have it; augmentation is tried method by method."""

COLUMNS = ["option", "switched", "dataset", "model", "seed", "valid_accuracy", "cpu_seconds", "status"]


def list_options(default: TrainSpec, equal_length: bool = False) -> dict[str, tuple[str, TrainSpec]]:
    """The default and its neighbours by name: how each is switched, ``default``, ``off`` or ``on``, and its settings.

    Which epoch is kept is no option here: the series that would judge it are those that choose it. Nor is what leaves
    series of `equal_length` as they are, if all are.

    Examples
    --------
    >>> options = list_options(TrainSpec(augment="shift > noise", clip=1.0))
    >>> [name for name, (switched, _) in options.items() if switched == "off"]
    ['without clip=1.0', 'without shift', 'without noise']
    """
    default = default.change({"refit": False})
    found = {DEFAULT: (DEFAULT, default)}
    for name, values in TRIED.items():
        own, off = getattr(default, name), getattr(TrainSpec(), name)
        if own != off and name != "optimizer":  # there is always an optimiser
            found[f"without {name}={own}"] = ("off", default.change({name: off}))
        elif own == off or name == "optimizer":
            found |= {f"{name}={value}": ("on", default.change({name: value})) for value in values if value != own}
    methods = default.augment
    idle = {each.name for each in (*methods, *AUGMENTATIONS.values()) if equal_length and each.needs_lengths}
    for each in (one for one in methods if one.name not in idle):
        found[f"without {each}"] = ("off", default.change({"augment": (one for one in methods if one != each)}))
    present = {each.name for each in methods}
    for name in sorted(set(AUGMENTATIONS) - present - idle):
        found[name] = ("on", default.change({"augment": Augmentations((*methods, *Augmentations.parse(name)))}))
    # Without a decay AdamW is Adam, so that such a neighbour would be the default once more.
    return {name: each for name, each in found.items() if name == DEFAULT or each[1] != default}


def ablate_training(datasets: Sequence[DataSpec], model: str, seeds: Sequence[int], default: TrainSpec) -> pd.DataFrame:
    """Train a model with the default settings and with each of their neighbours, or load what is stored.

    Parameters
    ----------
    datasets : sequence of DataSpec
        From `tsc_lib.data.resolve`.
    model : str
        Name of an architecture.
    seeds : sequence of int
        One training each.
    default : TrainSpec
        Such as `tsc_lib.training.find_train_spec` gives; a refit, which leaves nothing to judge by, is left out.

    Returns
    -------
    DataFrame
        `COLUMNS`: a row for each option of `list_options`, data set and seed. ``valid_accuracy`` is that of the epoch
        that was kept, never of the test set; where the best is kept, it is too high by the same choice everywhere.
        ``cpu_seconds`` are those of the whole training, on the machine that trained.
    """
    return pd.DataFrame(_rows(datasets, model, seeds, default), columns=COLUMNS)


def ablate_study(study: Study) -> pd.DataFrame:
    """`ablate_training` as a profile's section `shapes` asks for it, on each data set with its own settings."""
    grid, model = study.profile.shapes, study.profile.shapes.training_of
    tables = [
        ablate_training([spec], model, study.profile.seeds_of(choice), study.profile.train_of(choice, model))
        for spec, choice in study.choices.items()
        if model and spec.name in (grid.datasets or study.data_specs)
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)


def _rows(
    datasets: Sequence[DataSpec], model: str, seeds: Sequence[int], default: TrainSpec
) -> Iterator[dict[str, object]]:
    options = {spec: list_options(default, load(spec).equal_length) for spec in datasets}
    total = len(seeds) * sum(map(len, options.values()))
    done = 0
    for seed in seeds:
        for spec in datasets:
            for option, (switched, settings) in options[spec].items():
                run = TrainingRun(spec, model, settings, seed)
                logger.info("%s, %s", run.label, option, extra={"runs": (done, total)})
                done += 1
                row: dict[str, object] = {"option": option, "switched": switched, **run.names, "status": "ok"}
                try:
                    history = stages.train(run)[1]
                except StageFailed as failure:
                    yield {**row, "status": f"failed: {failure}"}
                    continue
                kept = next(epoch for epoch in history if epoch["best"])
                seconds = sum(epoch["cpu_seconds"] for epoch in history)
                yield {**row, "valid_accuracy": kept["valid_accuracy"], "cpu_seconds": seconds}


def summarize_ablation(table: pd.DataFrame) -> pd.DataFrame:
    """What each option changes, over all data sets and seeds.

    Parameters
    ----------
    table : DataFrame
        Of `ablate_training`.

    Returns
    -------
    DataFrame
        Columns `option`, `switched`, `points`, `points_low`, `points_high`, `cpu_ratio`, `datasets` and `seeds`, the
        best option first. ``points`` is the validation accuracy less the default's of the same data set and seed, in
        percentage points, its mean with a 95 % interval over data sets and seeds; ``cpu_ratio`` the geometric mean of
        the training's CPU time ÷ the default's. An option counts on those data sets where no seed of it failed.
    """
    rows = []
    default = _by_run(table[table.option == DEFAULT])
    for (option, switched), part in table.groupby(["option", "switched"], sort=False):
        own = _by_run(part)
        change = 100 * (own.valid_accuracy - default.valid_accuracy).dropna(axis="columns")
        if option == DEFAULT or change.empty:
            continue
        points = crossed_mean_interval(change)
        ratios = (own.cpu_seconds / default.cpu_seconds)[change.columns]
        cost = geometric_mean_interval(ratios.to_numpy().ravel())[0]
        rows.append((option, switched, *points, cost, change.shape[1], change.shape[0]))
    names = ["option", "switched", "points", "points_low", "points_high", "cpu_ratio", "datasets", "seeds"]
    found = pd.DataFrame(rows, columns=names)
    return found.sort_values("points", ascending=False, kind="stable", ignore_index=True)


def _by_run(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy and CPU time by seed (rows) and data set (columns)."""
    return table.pivot_table(["valid_accuracy", "cpu_seconds"], "seed", "dataset", dropna=False)
