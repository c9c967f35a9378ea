"""The parts of a search that run in several processes: trials, and models for further seeds."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from tsc_lib.benchmark.host import make_environment
from tsc_lib.compress import Recipe
from tsc_lib.core.errors import run_command
from tsc_lib.core.processes import end_children, interrupts_stay_here
from tsc_lib.core.store import StageFailed
from tsc_lib.search.request import SearchRequest
from tsc_lib.search.trials import OutOfTime, Search
from tsc_lib.study import stages
from tsc_lib.study.specs import TrainingRun

DONE = (TrialState.COMPLETE, TrialState.PRUNED)

Callback = Callable[[optuna.Study, FrozenTrial], None]


def open_study(journal: Path, seed: int = 0, worker: int = 0) -> optuna.Study:
    """The study in a journal: lines of JSON to which several processes append, none of them a pickle.

    The sampler's draws differ between seeds and workers, and after every resumption.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(journal))),
        study_name="search",
        load_if_exists=True,
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=4, reduction_factor=2),
    )
    seed = 10_000 * seed + 1000 * worker + len(study.get_trials(deepcopy=False))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # Parameters that belong together are sampled together, each family by itself.
        study.sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True)
    return study


def run_trials(
    search: Search,
    journal: Path,
    deadline: float,
    most: int | None,
    worker: int = 0,
    callbacks: Sequence[Callback] = (),
) -> None:
    """Run trials until a deadline, in seconds of `time.time`, or until all processes together have done the `most`."""
    study = open_study(journal, search.runs[0].seed, worker)
    limit = [] if most is None else [optuna.study.MaxTrialsCallback(most, states=DONE)]
    if most is not None and len(study.get_trials(deepcopy=False, states=DONE)) >= most:
        return
    with _quiet():
        study.optimize(
            lambda trial: search.run(trial, deadline),
            timeout=max(0.0, deadline - time.time()),
            callbacks=[*callbacks, *limit],
            catch=(OutOfTime,),
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No messages of single stages: a trial is told in one line."""
    loggers = [logging.getLogger(f"tsc_lib.{room}") for room in ("study", "training")]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger in loggers:
            logger.setLevel(logging.NOTSET)


Models = tuple[TrainingRun, tuple[Recipe, ...]]
"""A training, and the recipes to apply to what it trains."""


def make_side_by_side(search: Search, models: Sequence[Models], jobs: int) -> None:
    """Make models in so many processes, this one among them."""
    shares = [models[number::jobs] for number in range(min(jobs, len(models)))]
    if shares:
        with start_workers(search.request, make_models, [[share] for share in shares[1:]]):
            make_models(search, shares[0])


def make_models(_: Search, models: Sequence[Models]) -> None:
    """Make models; failures are in the store, where whoever wants the models finds them."""
    for run, recipes in models:
        for recipe in recipes:
            with contextlib.suppress(StageFailed):
                stages.compress_model(run, recipe)


@contextlib.contextmanager
def start_workers(
    request: SearchRequest, work: Callable[..., None], arguments: Sequence[Sequence[Any]]
) -> Iterator[None]:
    """A process for each sequence of arguments, on one thread, waited for at the end; they end with this one."""
    context = multiprocessing.get_context("spawn")  # a copy of this process would inherit the threads of its libraries
    workers = [context.Process(target=_work, args=(request, work, each), daemon=True) for each in arguments]
    own = dict(os.environ)
    try:
        os.environ.update(make_environment(1))
        with interrupts_stay_here():
            for worker in workers:
                worker.start()
    finally:
        os.environ.clear()
        os.environ.update(own)
    try:
        yield
        for worker in workers:
            worker.join()
    finally:
        for worker in workers:
            worker.kill()  # does nothing unless we were interrupted


def _work(request: SearchRequest, work: Callable[..., None], arguments: Sequence[Any]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.exit(run_command(lambda: work(Search(request), *arguments), farewell=""))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    end_children()
    os._exit(1)
