"""Which shape a transformer should have: sizes of a model by validation accuracy and the cost of an inference."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pandas as pd

from tsc_lib import data
from tsc_lib.benchmark import Session
from tsc_lib.compress import BASELINE, Variant
from tsc_lib.core.errors import UserError
from tsc_lib.core.stats import proportion_interval
from tsc_lib.core.store import StageFailed
from tsc_lib.study import stages
from tsc_lib.study.evaluation import Evaluation
from tsc_lib.study.model_comparison import Entry, ModelComparison, measure_models, read_costs
from tsc_lib.study.specs import TrainingRun
from tsc_lib.study.study import Study

logger = logging.getLogger(__name__)

COLUMNS = [
    *["dataset", "model", "seed", "tokens", "params", "macs", "batch_size"],
    *["accuracy_valid", "accuracy_valid_low", "accuracy_valid_high"],
    *["cpu_ms_per_sample", "cpu_ms_per_sample_low", "cpu_ms_per_sample_high", "status"],
]


def sweep_shapes(study: Study) -> pd.DataFrame:
    """Train and measure every shape of a profile's section `shapes`, or load what is stored.

    All shapes of a data set and seed are measured in one session. What a training keeps is judged on validation series,
    so a refit is left out; the test set is not looked at.

    Parameters
    ----------
    study : Study
        Whose data sets and seeds are used.

    Returns
    -------
    DataFrame
        `COLUMNS`: a row for each data set, shape, seed and batch size. ``cpu_ms_per_sample`` is the CPU time of one
        series, a trimmed geometric mean over the blocks of the session with its 95 % interval; ``accuracy_valid`` has
        Wilson's over the validation series.
    """
    return pd.DataFrame(_rows(study), columns=COLUMNS)


def _rows(study: Study) -> Iterator[dict[str, object]]:
    grid = study.profile.shapes
    variant = Variant(BASELINE, grid.runtime)
    for spec, choice, seed in study.list_seeded(grid.datasets):
        settings = ModelComparison(study).settings(spec)
        entries: dict[Entry, Evaluation | str] = {}
        for place, model in enumerate(grid.models):
            run = TrainingRun(spec, model, study.profile.train_of(choice, model).change({"refit": False}), seed)
            logger.info("shape %s", run.label, extra={"runs": (place, len(grid.models))})
            try:
                entries[Entry(run, variant)] = stages.evaluate(run, variant)
            except StageFailed as failure:
                entries[Entry(run, variant)] = f"failed: {failure}"
        folders = {entry: found.folder for entry, found in entries.items() if isinstance(found, Evaluation)}
        try:
            session: Session | str = measure_models(folders, settings)
        except (StageFailed, UserError) as failure:
            session = f"failed: {failure}"
        for entry, found in entries.items():
            row = _describe(entry, found)
            for size in settings.batch_sizes:
                yield row | {"batch_size": size} | _cost(session, entry, size, found)


def _describe(entry: Entry, found: Evaluation | str) -> dict[str, object]:
    if isinstance(found, str):
        return {**entry.run.names}
    folder, history = stages.train(entry.run)
    model = stages.load_model(folder)
    kept = next(epoch for epoch in history if epoch["best"])
    row: dict[str, object] = {**entry.run.names, "params": found.size.params, "macs": found.size.macs}
    if (accuracy := kept["valid_accuracy"]) is not None:
        series = len(data.load(entry.run.data).valid)
        row |= proportion_interval(round(accuracy * series), series).columns("accuracy_valid")
    return row | {"tokens": model.network.config.count_tokens(model.reference_length)[0]}


def _cost(session: Session | str, entry: Entry, size: int, found: Evaluation | str) -> dict[str, object]:
    if isinstance(found, str) or isinstance(session, str):
        return {"status": found if isinstance(found, str) else session}
    [measured] = [m for m in session.measurements if (m.name, m.batch_size) == (entry.name, size)]
    return read_costs(measured)
