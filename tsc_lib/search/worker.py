"""What a search does in several processes: ``python -m tsc_lib.search.worker`` reads one line of JSON, its shift."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from tsc_lib.benchmark.child import end_with_parent
from tsc_lib.benchmark.host import environment_of_child
from tsc_lib.compress import Recipe
from tsc_lib.core.errors import exit_code
from tsc_lib.core.store import StageFailed
from tsc_lib.search.trials import HALVING, OutOfTime, Search, storage_of
from tsc_lib.study import stages

STUDY = "search"

DONE = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)

Callback = Callable[[optuna.Study, optuna.trial.FrozenTrial], None]


@dataclass(frozen=True)
class Trials:
    """A shift of trials, until the deadline, or until all processes together have done as many as were asked for.

    Attributes
    ----------
    journal : str
        File with the trials.
    deadline : float
        In seconds of `time.time`.
    most : int or None
        Trials after which the whole search ends.
    number : int
        Of the worker, for its seed.
    """

    journal: str
    deadline: float
    most: int | None
    number: int = 0

    def work(self, search: Search, callbacks: Sequence[Callback] = ()) -> None:
        """Run them; the callbacks are told of each."""
        study = open_study(Path(self.journal), [search.spec.seeds[0], self.number])
        told = list(callbacks)
        if self.most is not None:
            if len(study.get_trials(deepcopy=False, states=DONE)) >= self.most:
                return
            told.append(optuna.study.MaxTrialsCallback(self.most, states=DONE))
        study.optimize(
            lambda trial: search.run(trial, self.deadline),
            timeout=max(0.0, self.deadline - time.time()),
            callbacks=told,
            catch=(OutOfTime,),
        )


@dataclass(frozen=True)
class Repeats:
    """A shift that makes recipes from the models of other seeds.

    Attributes
    ----------
    models : list of (int, str)
        Seeds and recipes.
    """

    models: list[tuple[int, str]]

    def work(self, search: Search) -> None:
        """Make them; failures are in the store, where the finalists find them."""
        runs = {run.seed: run for run in search.runs}
        for seed, recipe in self.models:
            with contextlib.suppress(StageFailed):
                stages.compress_model(runs[seed], Recipe.parse(recipe))


SHIFTS: dict[str, type[Trials] | type[Repeats]] = {"Trials": Trials, "Repeats": Repeats}


@contextlib.contextmanager
def workers(request: dict[str, Any], shifts: Sequence[Trials | Repeats]) -> Iterator[None]:
    """Processes with a shift each, waited for at the end; they end with their standard input, and so with us.

    Parameters
    ----------
    request : dict
        Arguments of `Search.open`.
    shifts : sequence of Trials or Repeats
        May be empty.
    """
    environment = environment_of_child(1)
    command = [sys.executable, "-m", "tsc_lib.search.worker"]
    started = []
    try:
        for shift in shifts:
            worker = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, env=environment)
            started.append(worker)
            assert worker.stdin is not None
            line = {"request": request, "kind": type(shift).__name__, "shift": dataclasses.asdict(shift)}
            worker.stdin.write(json.dumps(line) + "\n")
            worker.stdin.flush()
        yield
        for worker in started:
            worker.wait()
    finally:
        for worker in started:
            worker.kill()  # a no-op unless we were interrupted
            worker.wait()


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
    """Work as the line on standard input says; ends with the parent."""
    line = json.loads(sys.stdin.readline())
    threading.Thread(target=end_with_parent, daemon=True).start()
    shift = SHIFTS[line["kind"]](**line["shift"])
    return exit_code(lambda: shift.work(Search.open(**line["request"])))


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # the thread that waits for the parent would hold up an orderly end
