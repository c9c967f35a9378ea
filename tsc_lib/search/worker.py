"""What runs trials and repeats, in several processes: ``python -m tsc_lib.search.worker`` reads one line of JSON."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna

from tsc_lib import stages
from tsc_lib.benchmark.child import end_with_parent
from tsc_lib.errors import exit_code
from tsc_lib.search.trials import HALVING, OutOfTime, Search, storage_of
from tsc_lib.store import StageFailed

STUDY = "search"

DONE = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)

Callback = Callable[[optuna.Study, optuna.trial.FrozenTrial], None]


@dataclass(frozen=True)
class Shift:
    """One process's part in a search.

    Attributes
    ----------
    request : dict
        Arguments of `Search.open`.
    journal : str
        File with the trials.
    deadline : float
        In seconds of `time.time`.
    trials : int or None
        Trials after which the whole search ends.
    number : int
        Of the worker, for its seed.
    repeats : list of (int, str)
        Seeds and recipes: models to make for the finalists, instead of trials.
    """

    request: dict[str, Any]
    journal: str
    deadline: float
    trials: int | None
    number: int
    repeats: list[tuple[int, str]] = field(default_factory=list)


def work(search: Search, shift: Shift, callbacks: list[Callback]) -> None:
    """Run trials until the deadline, or until all processes together have done as many as were asked for."""
    study = open_study(Path(shift.journal), [search.spec.seeds[0], shift.number])
    if shift.trials is not None:
        if len(study.get_trials(deepcopy=False, states=DONE)) >= shift.trials:
            return
        callbacks = [*callbacks, optuna.study.MaxTrialsCallback(shift.trials, states=DONE)]
    study.optimize(
        lambda trial: search.run(trial, shift.deadline),
        timeout=max(0.0, shift.deadline - time.time()),
        callbacks=callbacks,
        catch=(OutOfTime,),
    )


def repeat(search: Search, repeats: list[tuple[int, str]]) -> None:
    """Make recipes from the models of other seeds; failures are in the store, where the finalists find them."""
    units = {unit.seed: unit for unit in search.units}
    for seed, recipe in repeats:
        with contextlib.suppress(StageFailed):
            stages.compressed(units[seed], recipe)


def open_study(journal: Path, seeds: list[int]) -> optuna.Study:
    """The study in a journal, with a sampler whose draws differ between workers and after every resumption."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(storage=storage_of(journal), study_name=STUDY, load_if_exists=True, pruner=HALVING)
    number = len(study.get_trials(deepcopy=False))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # Parameters that belong together are sampled together, each family by itself.
        seed = 10_000 * seeds[0] + 1000 * seeds[1] + number
        study.sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True)
    return study


def main() -> int:
    """Run trials as the line on standard input says; ends with the parent."""
    shift = Shift(**json.loads(sys.stdin.readline()))
    threading.Thread(target=end_with_parent, daemon=True).start()
    search = Search.open(**shift.request)
    return exit_code(lambda: repeat(search, shift.repeats) if shift.repeats else work(search, shift, []))


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # the thread that waits for the parent would hold up an orderly end
