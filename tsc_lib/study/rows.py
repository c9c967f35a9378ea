"""The rows of the results table that are about one run: made of its records, and kept once all of them are there.

Making them takes longer than reading them: each has an interval from a bootstrap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tsc_lib.benchmark import BenchmarkSettings
from tsc_lib.benchmark.host import Machine
from tsc_lib.benchmark.place import find_place
from tsc_lib.compress import REFERENCE, Variant
from tsc_lib.core.files import Json
from tsc_lib.core.spec import Spec
from tsc_lib.core.store import NotStored, StageFailed, only_loading, run_or_load
from tsc_lib.study import stages
from tsc_lib.study.evaluation import Evaluation
from tsc_lib.study.runs import Runs
from tsc_lib.study.schema import COLUMNS, costs, qualities
from tsc_lib.study.specs import TrainingRun
from tsc_lib.study.versions import version

Row = dict[str, Any]
Columns = dict[str, list[Any]]
"""Values of the rows, by `COLUMNS`."""


@dataclass(frozen=True)
class RowsJob(Spec):
    """All rows of a run, measured on a machine, its energy by a source."""

    run: TrainingRun
    variants: tuple[Variant, ...]
    settings: BenchmarkSettings
    machine: Machine
    energy: dict[str, object]


def load_rows(study: Runs, run: TrainingRun) -> Columns:
    """All rows of a run, from the store if they are there; what failed is tried again the next time."""
    variants = tuple(study.variants_of(run))
    with study.where(run):
        place = find_place()
    job = RowsJob(run, variants, study.settings(run.data), place.machine, place.energy)
    versions = version("rows", *(variant.runtime for variant in variants))

    def keep(columns: Columns) -> Columns:
        def work(folder: Path) -> Json:
            return {"columns": {name: [_plain(value) for value in values] for name, values in columns.items()}}

        record = run_or_load("rows", versions, run.label, job, work)[1]
        return {name: [np.nan if value == "nan" else value for value in v] for name, v in record["columns"].items()}

    try:
        with only_loading():
            return keep({})
    except NotStored:
        rows = list(make_rows(study, run))
        columns = {name: [row.get(name) for row in rows] for name in COLUMNS}
        return keep(columns) if set(columns["status"]) == {"ok"} else columns


def make_rows(study: Runs, run: TrainingRun, wanted: Sequence[Variant] | None = None) -> Iterator[Row]:
    """The rows of some of a run's variants, by default all, at every batch size."""
    reference, session, failed = study.evaluate(run, REFERENCE), None, ""
    variants = [variant for variant in study.variants_of(run) if wanted is None or variant in wanted]
    settings, copies = study.settings(run.data), study.list_copies(run.data)
    try:
        session = study.benchmark(run, None if wanted is None or study.is_done(run) else variants)
    except StageFailed as failure:
        failed = f"failed: {failure}"
    measured = {(each.variant, each.batch_size): each for each in session.measurements} if session else {}
    for variant in variants:
        evaluation = study.evaluate(run, variant)
        names: Row = {**run.names, **variant.names}
        found = qualities(evaluation, reference, copies) if isinstance(evaluation, Evaluation) else {}
        for batch_size in settings.batch_sizes:
            row = names | {"batch_size": batch_size, "threads": settings.threads, "status": evaluation.status}
            if isinstance(evaluation, Evaluation):
                own = measured.get((variant, batch_size))
                reading = stages.compute_modelled_energy(evaluation, batch_size)
                row |= {**found, **(costs(own) if own else {})}
                row["energy_modelled_mj_per_sample"] = 1000 * reading.joules_per_inference
                row["status"] = own.status if own else failed
            yield row


def _plain(value: object) -> object:
    """A value as JSON has it, which knows no NaN."""
    if isinstance(value, np.generic):
        value = value.item()
    return "nan" if isinstance(value, float) and np.isnan(value) else value
