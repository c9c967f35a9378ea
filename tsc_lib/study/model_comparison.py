"""All models side by side: networks as trained, some of their variants and the classics, measured in one session."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from tsc_lib import data
from tsc_lib.benchmark import BenchmarkSettings, Candidate, Measurement, Session, run_session, save_inputs
from tsc_lib.benchmark.host import Machine
from tsc_lib.benchmark.inputs import count_in_sweep
from tsc_lib.benchmark.place import find_place
from tsc_lib.compress import CLASSIC, REFERENCE, Variant
from tsc_lib.core.errors import Unfinished, UserError
from tsc_lib.core.files import Json
from tsc_lib.core.spec import Spec
from tsc_lib.core.stats import ratio_interval
from tsc_lib.core.store import StageFailed, run_or_load
from tsc_lib.data import DataSpec
from tsc_lib.study import Study, stages
from tsc_lib.study.classics import ClassicEvaluation, evaluate_classic
from tsc_lib.study.evaluation import Evaluation, Failure
from tsc_lib.study.schema import MODELS, TRAINING_COSTS, accuracies, costs, unseen
from tsc_lib.study.sections import parse_variants
from tsc_lib.study.specs import TrainingRun
from tsc_lib.study.versions import version

logger = logging.getLogger(__name__)

LONGEST_SWEEP_S = 2.0
"""CPU time of a classic's sweep over the sample: a slower one would leave the others a handful of blocks."""


@dataclass(frozen=True)
class Entry(Spec):
    """A variant of one of the models."""

    run: TrainingRun
    variant: Variant

    @property
    def name(self) -> str:
        """What a session calls it, e.g. ``T1: baseline in eager``."""
        return f"{self.run.model}: {self.variant}"


@dataclass(frozen=True)
class ModelsJob(Spec):
    """Variants of several models on one data set, measured side by side on a machine, their energy by a source."""

    entries: tuple[Entry, ...]
    settings: BenchmarkSettings
    machine: Machine
    energy: dict[str, object]


class ModelComparison:
    """What a profile's `side_by_side` asks for, run or loaded like everything else of the study.

    Parameters
    ----------
    study : Study
        Whose models are compared.
    """

    def __init__(self, study: Study) -> None:
        self.study, self.grid = study, study.profile.side_by_side
        self.variants = list(dict.fromkeys([REFERENCE, *parse_variants(self.grid.variants)]))
        self._sessions: dict[tuple[DataSpec, int], Session | str] = {}

    @cached_property
    def entries(self) -> dict[tuple[DataSpec, int], list[Entry]]:
        """What is compared on each data set with each seed, the networks first; the first is the reference."""
        found: dict[tuple[DataSpec, int], list[Entry]] = {}
        for run in sorted(self.study.all_runs, key=lambda run: not self.study.is_network(run)):
            found.setdefault((run.data, run.seed), []).extend(Entry(run, variant) for variant in self.variants_of(run))
        return found

    def variants_of(self, run: TrainingRun) -> list[Variant]:
        """Those of a run's variants that are compared."""
        if not self.study.is_network(run):
            return [CLASSIC]
        names = {"dataset": run.data.name, "model": run.model}
        return [
            each
            for each in self.variants
            if each == REFERENCE or not self.study.profile.excludes(**names, **each.names)
        ]

    def evaluate(self, entry: Entry) -> Evaluation | ClassicEvaluation | Failure:
        """How an entry classifies the test set, or why it does not."""
        if entry.variant != CLASSIC:
            return self.study.evaluate(entry.run, entry.variant)
        try:
            with self.study.where(entry.run):
                return evaluate_classic(entry.run)
        except (StageFailed, UserError) as failure:
            if isinstance(failure, Unfinished):
                raise
            return Failure(entry.variant, f"failed: {failure}")

    def settings(self, spec: DataSpec) -> BenchmarkSettings:
        """How the models are measured on a data set."""
        own = self.study.settings(spec)
        return dataclasses.replace(own, blocks=self.grid.blocks, max_seconds=self.grid.max_seconds)

    def measure(self, spec: DataSpec, seed: int) -> Session | str:
        """The session of all models on a data set with a seed, or why it failed."""
        if (spec, seed) not in self._sessions:
            with self.study.where(self.entries[spec, seed][0].run):
                self._sessions[spec, seed] = self._measure(spec, seed)
        return self._sessions[spec, seed]

    def _measure(self, spec: DataSpec, seed: int) -> Session | str:
        settings, folders = self.settings(spec), {}
        for entry in self.entries[spec, seed]:
            found = self.evaluate(entry)
            if not isinstance(found, Failure) and not self._too_slow(found, settings):
                folders[entry] = found.folder
        try:
            return measure_models(folders, settings)
        except (StageFailed, UserError) as failure:
            return f"failed: {failure}"

    @staticmethod
    def _too_slow(found: Evaluation | ClassicEvaluation, settings: BenchmarkSettings) -> str:
        """Why a classic is not measured; empty if it is."""
        if not isinstance(found, ClassicEvaluation):
            return ""
        one = found.answering.cpu_seconds / len(found.true)
        count = max(count_in_sweep(min(settings.series, len(found.true)), size) for size in settings.batch_sizes)
        if one * count <= LONGEST_SWEEP_S:
            return ""
        return f"not measured: {count} series would take {one * count:.0f} s of CPU time, {one:.2g} s each"

    @cached_property
    def _table(self) -> pd.DataFrame:
        rows = [row for spec, seed in self.entries for row in self._rows(spec, seed)]
        return pd.DataFrame(rows, columns=MODELS)

    def table(self) -> pd.DataFrame:
        """One row per data set, model, variant, seed and batch size; `schema.MODELS` tells the columns.

        Costs are measured with the profile's first seed alone, whose models cost what those of the others do.
        """
        return self._table.copy()

    def _rows(self, spec: DataSpec, seed: int) -> Iterator[dict[str, object]]:
        settings, failed, measured = self.settings(spec), "", {}
        if seed == self.study.profile.seeds[0]:
            session = self.measure(spec, seed)
            if isinstance(session, str):
                failed = session
            else:
                measured = {(one.name, one.batch_size): one for one in session.measurements}
        for entry in self.entries[spec, seed]:
            copies = self.study.list_copies(spec)
            found, kind = self.evaluate(entry), "classic" if entry.variant == CLASSIC else "network"
            row: dict[str, object] = {**entry.run.names, "kind": kind, **entry.variant.names, "status": found.status}
            if not isinstance(found, Failure):
                row |= accuracies(found.true, found.predicted, None) | unseen(found.correct, copies)
                row |= {"test_series": len(found.true), "accuracy_valid": self._validation(entry)}
                row["status"] = self._too_slow(found, settings) or failed or "ok"
            if isinstance(found, Evaluation):
                row |= {
                    "params": found.size.params,
                    "macs": found.size.macs,
                    "model_bytes": found.conversion.model_bytes,
                }
            for size in settings.batch_sizes:
                own = measured.get((entry.name, size))
                yield row | {"batch_size": size, "threads": settings.threads} | (read_costs(own) if own else {})

    def _validation(self, entry: Entry) -> float | None:
        """The validation accuracy of the epoch that was kept, of a network as trained."""
        if entry.variant != REFERENCE:
            return None
        return next(epoch["valid_accuracy"] for epoch in self.study.train(entry.run) if epoch["best"])

    def predictions(self) -> pd.DataFrame:
        """One row per model, variant, seed and test series: its class and the one that is predicted."""
        tables = []
        for (spec, _), entries in self.entries.items():
            known = self.study.summarize(spec)
            classes = np.array(() if isinstance(known, str) else known.classes)
            for entry in entries:
                found = self.evaluate(entry)
                if not isinstance(found, Failure):
                    names = {**entry.run.names, **entry.variant.names, "series": range(len(found.true))}
                    answers = {"true": classes[found.true], "predicted": classes[found.predicted]}
                    tables.append(pd.DataFrame(names | answers))
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    def training_costs(self) -> pd.DataFrame:
        """One row per trained or fitted model; `schema.TRAINING_COSTS` tells the columns."""
        rows = [{**run.names, **self._training_cost(run)} for run in self.study.all_runs]
        return pd.DataFrame(rows, columns=TRAINING_COSTS)

    def _training_cost(self, run: TrainingRun) -> dict[str, object]:
        kind: dict[str, object] = {"kind": "network" if self.study.is_network(run) else "classic"}
        try:
            reading = stages.read_training_cost(run) if self.study.is_network(run) else evaluate_classic(run).fitting
            if reading is None:  # its parts are known, but not their energy
                epochs = self.study.train(run)
                spent = {name: sum(epoch[name] for epoch in epochs) for name in ("seconds", "cpu_seconds")}
                return {**kind, **spent, "status": "ok"}
        except (StageFailed, UserError) as failure:
            return {**kind, "status": f"failed: {failure}"}
        energy = {"joules": reading.joules, "energy_source": reading.source, "energy_backend": reading.backend}
        return {**kind, "seconds": reading.seconds, "cpu_seconds": reading.cpu_seconds, **energy, "status": "ok"}


def measure_models(folders: Mapping[Entry, Path], settings: BenchmarkSettings) -> Session:
    """Measure variants of several models in one session, or load the session; the first is the reference.

    Parameters
    ----------
    folders : mapping of Entry to Path
        What is measured on one data set, and where `tsc_lib.runtimes.load` finds it.
    settings : BenchmarkSettings
        How to measure.

    Raises
    ------
    StageFailed
        If the session failed.
    UserError
        If there is nothing to measure.
    """
    entries = tuple(folders)
    if not entries:
        raise UserError("no model could be evaluated")
    run = entries[0].run

    def work(folder: Path) -> Json:
        dataset, inputs = data.load(run.data), folder / "inputs.npz"
        save_inputs(inputs, dataset.test.x, equal_length=dataset.equal_length, settings=settings)
        reference, *candidates = [
            Candidate.of_model(entry.name, folders[entry], entry.variant.runtime, settings.threads) for entry in entries
        ]
        logger.info("%s: measuring %d models and variants side by side", run.data.name, len(entries))
        return {"session": run_session(reference, candidates, inputs, settings).to_json()}

    place = find_place()
    job = ModelsJob(entries, settings, place.machine, place.energy)
    versions = version("side-by-side", *(entry.variant.runtime for entry in entries))
    _, record = run_or_load("side-by-side", versions, f"{run.data.name}-s{run.seed}", job, work)
    return Session.from_json(record["session"], {entry.name: entry.variant for entry in entries})


def read_costs(measured: Measurement) -> dict[str, object]:
    """The columns of `MODELS` that a measurement fills, and other costs."""
    row: dict[str, object] = {**costs(measured), "status": measured.status}
    if measured.ok:
        for name, key in (("cpu_ms_per_sample", "cpu_s"), ("energy_mj_per_sample", "joules")):
            values = 1000 * measured.per_sweep(key) / measured.series_per_sweep
            values = values[np.isfinite(values)]
            if row[name] is not None:
                row |= ratio_interval(values, np.ones_like(values)).columns(name)
    return row
