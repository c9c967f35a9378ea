"""One search, and what happens in one trial of it, the cheap part first.

A trial builds its shape and counts multiply-accumulates, then times it, then trains. After the first two it ends if
something cheaper is known to keep the accuracy; during the third Optuna's successive halving ends it if others were
better after as many epochs. Only the training and validation series take part.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import optuna
import torch
from optuna.trial import FrozenTrial, TrialState

from tsc_lib import data, runtimes, training
from tsc_lib.compress import BASELINE, REFERENCE, Recipe, Variant
from tsc_lib.core.errors import UserError
from tsc_lib.core.store import StageFailed
from tsc_lib.models.compressed import CompressedModel, measure_size
from tsc_lib.search.quick_benchmark import TOO_LARGE, QuickBenchmark, TooLarge
from tsc_lib.search.request import SearchRequest
from tsc_lib.search.selection import paired_drop
from tsc_lib.search.space import NARROW, Bounds, Parameters, Proposal, get_longest_training, suggest
from tsc_lib.study import stages
from tsc_lib.study.specs import TrainingRun

HOPELESS_MACS, HOPELESS_COST = 4.0, 1.25
"""How many times the multiply-accumulates, or the cost, of a recipe that surely keeps the accuracy end a trial."""


class OutOfTime(StageFailed):
    """The budget ended during a training, whose checkpoint stays."""


class Pruned(StageFailed):
    """The trial is not worth going on with."""


@dataclass(frozen=True)
class TrainedRecipe:
    """A recipe in a runtime, with what is known of it once it is trained.

    Attributes
    ----------
    recipe, runtime : str
        The variant.
    macs, cost : float
        Multiply-accumulates and cost, as shares of the uncompressed model's.
    valid_accuracy : float
        Share of the validation series that are classified rightly.
    drop, error : float
        Points of that accuracy lost against the uncompressed model with as much further training, and their standard
        error over the series.
    """

    recipe: str
    runtime: str
    macs: float
    cost: float
    valid_accuracy: float
    drop: float
    error: float


class Search:
    """The trials of one search.

    Parameters
    ----------
    request : SearchRequest
        What is searched for.
    """

    def __init__(self, request: SearchRequest) -> None:
        self.request, self.spec = request, request.resolve()
        self.runs = self.spec.runs
        self.dataset = data.load(self.runs[0].data)
        if not len(self.dataset.valid):
            raise UserError(
                f"a search is decided on validation series, and {self.dataset.name} has none: no class has two "
                "different training series; add series, or choose a recipe by hand with 'run'"
            )
        self._reference_correct: dict[int, np.ndarray] = {}

    @cached_property
    def benchmark(self) -> QuickBenchmark:
        """The short benchmark, at the batch size that the objective asks for."""
        size = 1 if self.spec.objective == "latency" else self.spec.batch_size
        spec = self.spec
        return QuickBenchmark(self.runs[0], size, spec.objective, spec.runtimes, (spec.max_ram, spec.max_flash))

    @cached_property
    def bounds(self) -> Bounds:
        """What bounds the space."""
        lengths = [*self.dataset.train.lengths, *self.dataset.valid.lengths]
        plan = self.runs[0].train.plan(len(self.dataset.train))
        return Bounds(self._baseline.network.config, min(lengths), max(lengths), plan.epochs * plan.passes)

    @cached_property
    def extra(self) -> Recipe:
        """The further training of the model that trials are compared with."""
        return get_longest_training(self.bounds.epochs)

    @cached_property
    def _baseline(self) -> CompressedModel:
        return stages.compress_model(self.runs[0], BASELINE)[1]

    def correct(self, run: TrainingRun, variant: Variant, part: Literal["valid", "kept"] = "valid") -> np.ndarray:
        """Which series of a part of its data a variant of a run classifies rightly, bool (series,)."""
        predictor, dataset = runtimes.load(stages.evaluate(run, variant).folder, variant.runtime), data.load(run.data)
        split = dataset.valid if part == "valid" else dataset.kept
        return np.asarray(training.classify(predictor, split, dataset.equal_length).argmax(axis=1) == split.y)

    def reference(self, run: TrainingRun, extra: Recipe) -> Variant:
        """The uncompressed model, trained further unless validation prefers what it was before.

        Parameters
        ----------
        run : TrainingRun
            What trained it.
        extra : Recipe
            The further training, which candidates get too.
        """
        return max(REFERENCE, Variant(extra, REFERENCE.runtime), key=lambda each: self.correct(run, each).mean())

    def reference_correct(self, run: TrainingRun) -> np.ndarray:
        """Which validation series the model classifies rightly that trials are compared with."""
        if run.seed not in self._reference_correct:
            self._reference_correct[run.seed] = self.correct(run, self.reference(run, self.extra))
        return self._reference_correct[run.seed]

    def run(self, trial: optuna.Trial, deadline: float) -> float:
        """One trial: the logarithm to base 2 of its cost, and one more for every point beyond the permitted drop.

        Parameters
        ----------
        trial : optuna.Trial
            Gets the fields of a `TrainedRecipe` as user attributes, as far as it comes.
        deadline : float
            In seconds of `time.time`; a training is left for later when it has passed.

        Raises
        ------
        optuna.TrialPruned
            If the trial ended early, or its recipe cannot be made; the attribute ``why`` says which.
        OutOfTime
            If the deadline passed.
        """
        proposal = suggest(trial, self.bounds)
        trial.set_user_attr("recipe", str(proposal.recipe))
        same = [str(proposal.recipe), str(proposal.recipe + NARROW)]
        try:
            earlier = trial.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.RUNNING))
            if any(other.number < trial.number and other.user_attrs.get("recipe") in same for other in earlier):
                raise Pruned("it was tried before, or another process is at it")
            return self._try(trial, proposal, deadline)
        except OutOfTime:
            raise
        except (UserError, StageFailed) as failure:
            trial.set_user_attr("why", str(failure))
            raise optuna.TrialPruned(str(failure)) from None

    def _try(self, trial: optuna.Trial, proposal: Proposal, deadline: float) -> float:
        torch.set_num_threads(1)
        run, note = self.runs[0], trial.set_user_attr
        _, shape = stages.compress_model(run, proposal.structure)
        macs = measure_size(shape).macs / measure_size(self._baseline).macs
        note("macs", macs)
        safe = self._find_safe(trial.study)
        if safe and self.spec.objective != "size" and macs > HOPELESS_MACS * safe.macs:
            raise Pruned("more multiply-accumulates than a recipe that keeps the accuracy")
        recipe = proposal.recipe
        try:
            runtime, cost = self.benchmark.find_cheapest(shape)
        except TooLarge:
            recipe += NARROW
            runtime, cost = self.benchmark.find_cheapest(stages.compress_model(run, proposal.structure + NARROW)[1])
        note("recipe", str(recipe))
        note("runtime", runtime)
        note("cost", cost)
        if safe and cost > HOPELESS_COST * safe.cost:
            raise Pruned("more expensive than a recipe that keeps the accuracy")
        before = self.reference_correct(run)
        watch = self._watch(trial, cost, before.mean(), proposal.epochs, deadline)
        _, model = stages.compress_model(run, proposal.recipe, watch=watch)
        if recipe == proposal.recipe:
            logits = training.classify(
                training.make_predictor(model.network), self.dataset.valid, self.dataset.equal_length
            )
            after = logits.argmax(axis=1) == self.dataset.valid.y
        else:
            after = self.correct(run, Variant(recipe, runtime))
        drop, error = paired_drop([before], [after])
        for name, value in (("valid_accuracy", float(after.mean())), ("drop", drop), ("error", error)):
            note(name, value)
        return self._score(cost, drop)

    def _score(self, cost: float, drop: float, done: float = 1.0) -> float:
        return float(np.log2(cost) + done * max(0.0, drop - self.spec.max_drop))

    def _watch(
        self, trial: optuna.Trial, cost: float, reference: float, epochs: int, deadline: float
    ) -> training.Watch:
        def watch(history: list[training.Epoch]) -> None:
            best, done = max(entry["valid_accuracy"] or 0.0 for entry in history), len(history)
            # Small shapes learn more slowly: what is missing counts by the share of the training that is done.
            trial.report(self._score(cost, 100 * (reference - best), done / epochs), done)
            if trial.should_prune():
                raise Pruned(f"others were better after {done} epochs")
            if time.time() > deadline:
                raise OutOfTime("the budget ended")

        return watch

    def _find_safe(self, study: optuna.Study) -> TrainedRecipe | None:
        """The cheapest recipe so far that keeps to the permitted drop with a standard error to spare."""
        sure = [one for one in list_trained(study) if one.drop + one.error <= self.spec.max_drop]
        return min(sure, key=lambda one: one.cost, default=None)


def list_trained(study: optuna.Study) -> list[TrainedRecipe]:
    """The recipes that were trained to their end."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [TrainedRecipe(**trial.user_attrs) for trial in done]


def count_too_large(study: optuna.Study) -> int:
    """Trials that ended before their training, because the program would take more memory than is allowed."""
    pruned = study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
    return sum(TOO_LARGE in str(trial.user_attrs.get("why")) for trial in pruned)


def list_unfinished(trials: Sequence[FrozenTrial]) -> list[Parameters]:
    """Parameters of the trials that a kill or the end of the budget cut short, each once, unless tried since."""
    left: list[Parameters] = []
    others = [_parameters(trial) for trial in trials if trial.state != TrialState.FAIL]
    for parameters in (_parameters(trial) for trial in trials if trial.state == TrialState.FAIL):
        if parameters and parameters not in [*others, *left]:
            left.append(parameters)
    return left


def _parameters(trial: FrozenTrial) -> Parameters:
    """What was chosen for a trial, or of one that waits, what will be."""
    return trial.params or trial.system_attrs.get("fixed_params", {})
