"""One search: what it looks for, and what happens in one trial of it, the cheap part first.

A trial builds its shape and counts multiply-accumulates, then times it, then trains. After the first two it ends if
something cheaper is known to keep the accuracy; during the third Optuna's successive halving ends it if others were
better after as many epochs. Only the training and validation series take part.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from tsc_lib import data, runtimes, training
from tsc_lib.benchmark.host import Machine, machine
from tsc_lib.compress import BASELINE, REFERENCE, Variant
from tsc_lib.compress.distillation import Distill
from tsc_lib.core.errors import UserError
from tsc_lib.core.spec import Spec
from tsc_lib.core.store import StageFailed
from tsc_lib.data import DataSpec
from tsc_lib.models.compressed import CompressedModel, count_macs
from tsc_lib.models.zoo import ARCHITECTURES
from tsc_lib.search.choice import paired_drop
from tsc_lib.search.cost import COMPILED, Gauge
from tsc_lib.search.space import Limits, Point, suggest
from tsc_lib.study import stages
from tsc_lib.study.stages import TrainingRun
from tsc_lib.study.versions import version
from tsc_lib.training import TrainSpec

OBJECTIVES = ("energy", "time", "latency", "size")

TOKENS = 3000
"""Tokens of the uncompressed model in a large batch: as many as fill the caches of a core."""

HOPELESS_MACS, HOPELESS_COST = 4.0, 1.25
"""How many times the multiply-accumulates, or the cost, of a recipe that surely keeps the accuracy end a trial."""

HALVING = optuna.pruners.SuccessiveHalvingPruner(min_resource=4, reduction_factor=2)


class OutOfTime(StageFailed):
    """The budget ended during a training, whose checkpoint stays."""


class Pruned(StageFailed):
    """Others were better after as many epochs."""


@dataclass(frozen=True)
class SearchSpec(Spec):
    """What is searched for.

    Attributes
    ----------
    data : DataSpec
        The data set.
    model : str
        Name of the architecture that is compressed.
    train : TrainSpec
        Settings of its training.
    seeds : tuple of int
        Seeds of that training; trials use the first, and the finalists are made and judged on all of them.
    objective : {"energy", "time", "latency", "size"}
        What is to become small.
    batch_size : int
        Series per call, for which energy and time are measured.
    max_drop : float
        Points of accuracy that may be lost.
    version : tuple of int
        Of the search itself and of all that it makes and measures.
    machine : Machine
        On which that is done.
    """

    data: DataSpec
    model: str
    train: TrainSpec
    seeds: tuple[int, ...]
    objective: str
    batch_size: int
    max_drop: float
    version: tuple[int, ...] = field(default_factory=lambda: version("search", *COMPILED))
    machine: Machine = field(default_factory=machine)

    def __post_init__(self) -> None:
        if self.model not in ARCHITECTURES:
            raise UserError(f"unknown model {self.model!r}; the models are {', '.join(ARCHITECTURES)}")
        if self.objective not in OBJECTIVES:
            raise UserError(
                f"unknown objective {self.objective!r}; use {', '.join(OBJECTIVES[:-1])} or {OBJECTIVES[-1]}"
            )
        if not 0 <= self.max_drop <= 100:
            raise UserError(f"--max-drop is in points of accuracy, from 0 to 100, not {self.max_drop:g}")
        if not self.seeds or min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise UserError(f"a search needs different seeds, from 0 up, not {list(self.seeds)}")
        if self.batch_size < 1:
            raise UserError(f"--batch-size must be at least 1, not {self.batch_size}")


class Search:
    """The trials of one search.

    Parameters
    ----------
    spec : SearchSpec
        What is searched for.
    """

    def __init__(self, spec: SearchSpec) -> None:
        self.spec = spec
        self.runs = [TrainingRun(spec.data, spec.model, spec.train, seed) for seed in spec.seeds]
        self.dataset = data.load(spec.data)
        self._right: dict[int, np.ndarray] = {}

    @classmethod
    def open(
        cls,
        dataset: str,
        scaling: str,
        gaps: str,
        model: str,
        seeds: list[int],
        epochs: int,
        objective: str,
        batch_size: int | None,
        max_drop: float,
    ) -> Search:
        """The search that the command line describes; without a `batch_size` a large one is chosen by the length."""
        found = data.resolve(dataset, scaling=scaling, gaps=gaps)
        size = batch_size if batch_size is not None else large_batch(data.load(found))
        return cls(SearchSpec(found, model, TrainSpec(epochs=epochs), tuple(seeds), objective, size, max_drop))

    @property
    def timed_batch(self) -> int:
        """Series per call in what is timed."""
        return 1 if self.spec.objective == "latency" else self.spec.batch_size

    @cached_property
    def gauge(self) -> Gauge:
        """The short benchmark."""
        return Gauge(self.runs[0], self.timed_batch)

    @cached_property
    def limits(self) -> Limits:
        """What bounds the space."""
        lengths = [*self.dataset.train.lengths, *self.dataset.valid.lengths]
        return Limits(self._baseline.network.config, min(lengths), max(lengths), self.spec.train.epochs)

    @cached_property
    def _baseline(self) -> CompressedModel:
        return stages.compress_model(self.runs[0], BASELINE)[1]

    def right(self, run: TrainingRun, variant: Variant) -> np.ndarray:
        """Which validation series a variant of a run classifies rightly, bool (series,)."""
        predictor = runtimes.load(stages.evaluate(run, variant).folder, variant.runtime)
        logits = training.classify(predictor, self.dataset.valid, self.dataset.equal_length)
        return logits.argmax(axis=1) == self.dataset.valid.y

    def reference_right(self, run: TrainingRun) -> np.ndarray:
        """The same of the uncompressed model."""
        if run.seed not in self._right:
            self._right[run.seed] = self.right(run, REFERENCE)
        return self._right[run.seed]

    def run(self, trial: optuna.Trial, deadline: float) -> float:
        """One trial: the logarithm to base 2 of its cost, and one more for every point beyond the permitted drop.

        Parameters
        ----------
        trial : optuna.Trial
            Gets the recipe and what was measured as user attributes.
        deadline : float
            In seconds of `time.time`; a training is left for later when it has passed.

        Raises
        ------
        optuna.TrialPruned
            If the trial ended early, or its recipe cannot be made; the attribute ``why`` says which.
        OutOfTime
            If the deadline passed.
        """
        point = suggest(trial, self.limits)
        recipe = str(point.recipe)
        trial.set_user_attr("recipe", recipe)
        try:
            earlier = trial.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.RUNNING))
            if any(other.number < trial.number and other.user_attrs.get("recipe") == recipe for other in earlier):
                raise Pruned("it was tried before, or another process is at it")
            return self._try(trial, point, deadline)
        except OutOfTime:
            raise
        except (UserError, StageFailed) as failure:
            trial.set_user_attr("why", str(failure))
            raise optuna.TrialPruned(str(failure)) from None

    def _try(self, trial: optuna.Trial, point: Point, deadline: float) -> float:
        torch.set_num_threads(1)
        run, note = self.runs[0], trial.set_user_attr
        _, shape = stages.compress_model(run, point.structure)
        whole = count_macs(self._baseline.network, shape.reference_length)
        macs = count_macs(shape.network, shape.reference_length) / whole
        note("macs", macs)
        safe = self._safe(trial.study)
        if safe and self.spec.objective != "size" and macs > HOPELESS_MACS * safe["macs"]:
            raise Pruned("more multiply-accumulates than a recipe that keeps the accuracy")
        runtime, cost = self.gauge.cheapest(shape, self.spec.objective)
        note("runtime", runtime)
        note("cost", cost)
        if safe and cost > HOPELESS_COST * safe["cost"]:
            raise Pruned("more expensive than a recipe that keeps the accuracy")
        before = self.reference_right(run)
        [learning] = point.training
        assert isinstance(learning, Distill)
        epochs = learning.epochs
        watch = self._watch(trial, cost, before.mean(), epochs, deadline)
        _, model = stages.compress_model(run, point.recipe, watch=watch)
        evaluate = training.evaluator(model.network)
        logits = training.classify(evaluate, self.dataset.valid, self.dataset.equal_length)
        right = logits.argmax(axis=1) == self.dataset.valid.y
        drop, error = paired_drop([before], [right])
        for name, value in (("valid_accuracy", float(right.mean())), ("drop", drop), ("error", error)):
            note(name, value)
        return self._value(cost, drop)

    def _value(self, cost: float, drop: float, trained: float = 1.0) -> float:
        return float(np.log2(cost) + trained * max(0.0, drop - self.spec.max_drop))

    def _watch(
        self, trial: optuna.Trial, cost: float, reference: float, epochs: int, deadline: float
    ) -> training.Watch:
        def watch(history: list[dict[str, Any]]) -> None:
            best, done = max(entry["valid_accuracy"] for entry in history), len(history)
            # Small shapes learn more slowly: what is missing counts by the share of the training that is done.
            value = self._value(cost, 100 * (reference - best), done / epochs)
            trial.report(value, done)
            if trial.should_prune():
                raise Pruned(f"others were better after {done} epochs")
            if time.time() > deadline:
                raise OutOfTime("the budget ended")

        return watch

    def _safe(self, study: optuna.Study) -> dict[str, Any] | None:
        """What is known of the cheapest trial that keeps to the permitted drop with a standard error to spare."""
        sure = [facts for facts in completed(study) if facts["drop"] + facts["error"] <= self.spec.max_drop]
        return min(sure, key=lambda facts: facts["cost"], default=None)


def large_batch(dataset: data.Dataset) -> int:
    """The power of two nearest to `TOKENS` tokens of eight steps, from 1 to 256, for series of the median length."""
    tokens = max(1.0, float(np.median(dataset.train.lengths)) / ARCHITECTURES["T1"]["patch"])
    return int(2 ** np.clip(round(np.log2(TOKENS / tokens)), 0, 8))


def completed(study: optuna.Study) -> list[dict[str, Any]]:
    """What the trials found whose recipes were trained to their end."""
    return [trial.user_attrs for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))]


def storage_of(journal: Path) -> optuna.storages.JournalStorage:
    """Optuna's journal: lines of JSON to which several processes append, none of them a pickle."""
    backend = JournalFileBackend(str(journal))
    return optuna.storages.JournalStorage(backend)


def unfinished(trials: list[FrozenTrial]) -> list[dict[str, Any]]:
    """Parameters of the trials that a kill or the end of the budget cut short, each once, unless tried since."""
    left: list[dict[str, Any]] = []
    others = [_parameters(trial) for trial in trials if trial.state != TrialState.FAIL]
    for parameters in (_parameters(trial) for trial in trials if trial.state == TrialState.FAIL):
        if parameters and parameters not in [*others, *left]:
            left.append(parameters)
    return left


def _parameters(trial: FrozenTrial) -> dict[str, Any]:
    """What was chosen for a trial, or of one that waits, what will be."""
    return trial.params or trial.system_attrs.get("fixed_params", {})
