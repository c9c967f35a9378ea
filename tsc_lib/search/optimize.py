"""A whole search: trials within a budget, then the finalists measured in one session, the front and the pick."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pandas as pd

from tsc_lib import compress, stages, store
from tsc_lib.benchmark.host import THREAD_VARIABLES
from tsc_lib.benchmark.settings import BenchmarkSettings
from tsc_lib.errors import UserError
from tsc_lib.files import read_json, write_json, write_text
from tsc_lib.search.choice import LIKELY, MISSED, SURE, judged, paired_drop, ranked
from tsc_lib.search.cost import COMPILED
from tsc_lib.search.space import starts
from tsc_lib.search.trials import Search, SearchSpec, completed, unfinished
from tsc_lib.search.worker import DONE, Shift, open_study, repeat, work
from tsc_lib.spec import digest
from tsc_lib.stages import REFERENCE
from tsc_lib.stats import pareto_front
from tsc_lib.store import StageFailed
from tsc_lib.study import qualities

RESERVE_S, RESERVE_SHARE = 120.0, 0.3
"""Seconds of the budget that are kept for the finalists, and the share of it that they are at most."""

FINALISTS = 6
"""Trained recipes that are measured properly."""

FORMATS_OF = 2
"""How many of them are also measured in the other runtimes, and tried in other number formats."""

BLOCKS = 40
"""Paired repeats of their session."""

COLUMNS = ["recipe", "runtime", "macs", "cost", "valid_accuracy", "drop", "error"]
COSTS = ["cpu_ratio_batch_1", "cpu_ratio_large", "energy_ratio_large", "energy_source", "latency_ratio", "size_ratio"]

SECONDS = "seconds"
"""Attribute of Optuna's study: how much of the budget is spent."""

VERDICTS = {
    SURE: "keeps to the permitted drop with a standard error to spare",
    LIKELY: "keeps to the permitted drop at the expected value alone: the validation series are too few to be surer",
}


@dataclass(frozen=True)
class Outcome:
    """What a search found.

    Attributes
    ----------
    table : DataFrame
        The measured finalists, the best first, as ``front.csv`` holds them; the front is marked.
    pick : dict
        As ``pick.json`` holds it.
    folder : Path
        Where both are.
    """

    table: pd.DataFrame
    pick: dict[str, Any]
    folder: Path


def optimize(
    request: dict[str, Any], minutes: float, jobs: int = 1, trials: int | None = None, output: Path | None = None
) -> Outcome:
    """Search, or go on with the same search, and pick.

    Parameters
    ----------
    request : dict
        Arguments of `Search.open`.
    minutes : float
        Budget of the trials and the finalists, all runs of the same search together; training the uncompressed models
        comes before it, and making the finalists from the models of further seeds comes after it.
    jobs : int
        Processes that run trials, or make the finalists for further seeds, side by side.
    trials : int, optional
        Trials after which to stop, whatever is left of the budget.
    output : Path, optional
        Folder of the search; by default one under the outputs that its specification names.

    Raises
    ------
    UserError
        If something is unknown, the budget was too small for a single trial, `output` is another search's, or
        nothing keeps to the permitted drop.
    """
    if not minutes > 0:
        raise UserError(f"--budget must be more than 0 minutes, not {minutes:g}")
    if jobs < 1 or (trials is not None and trials < 1):
        raise UserError("--jobs and --trials must be at least 1")
    search = Search.open(**request)
    spec = search.spec
    label = f"{spec.data.name}-{spec.model}-{spec.objective}-{spec.key()}"
    folder = (output or store.OUTPUTS / "search" / label).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        _claim(folder, spec)
        for unit in search.units:
            stages.train(unit, _say)
            stages.deployed(unit, *REFERENCE, _say)
        _run_trials(search, request, folder / "journal.log", 60 * minutes, jobs, trials)
        complete = _complete(folder / "journal.log")
        if complete.empty:
            raise UserError(
                f"the budget of {minutes:g} minutes was too small to train one recipe to its end; give --budget more, "
                "and the same command goes on"
            )
        chosen = _chosen(complete, spec.max_drop)
        _repeat(search, request, list(chosen.recipe), jobs)
        finalists = _finalists(search, chosen)
        if finalists.empty:
            raise UserError("no finalist could be executed and measured; the lines above say why")
        others = complete[~complete.recipe.isin(finalists.recipe)]
        table = ranked(judged(pd.concat([finalists, others], ignore_index=True), spec.max_drop))
        table = table.assign(dataset=spec.data.name, model=spec.model, objective=spec.objective)
        write_text(folder / "trials.csv", table.to_csv(index=False))
        final = table[table.measured].reset_index(drop=True)
        final["front"] = pareto_front(final.cost, -final.expected_drop)
        write_text(folder / "front.csv", final.to_csv(index=False))
        best = final.iloc[0]
        if best.verdict == MISSED:
            raise UserError(
                f"nothing that was tried keeps within {spec.max_drop:g} points; the closest is {best.recipe!r} in "
                f"{best.runtime} with {best.expected_drop:.1f} expected points lost: raise --max-drop or --budget"
            )
        pick = _pick(search, request, best)
        write_json(folder / "pick.json", pick)
    return Outcome(final, pick, folder)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / "search.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"the same search is running already, in {folder}; wait for it, or end it first") from None
        yield


def _claim(folder: Path, spec: SearchSpec) -> None:
    """Write down what is searched for in a folder, without an earlier pick; refuse one that is another search's."""
    path = folder / "search.json"
    if path.exists() and digest(read_json(path)) != spec.key():
        raise UserError(f"{folder} holds another search, described in {path.name}; name another folder")
    write_json(path, spec.to_json())
    (folder / "pick.json").unlink(missing_ok=True)


def _run_trials(
    search: Search, request: dict[str, Any], journal: Path, budget_s: float, jobs: int, trials: int | None
) -> None:
    study = open_study(journal, [search.spec.seeds[0], 0])
    # Nobody else is at work, so what the journal calls running was killed.
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    known = study.get_trials(deepcopy=False)
    for parameters in unfinished(known) if known else starts(search.limits):
        study.enqueue_trial(parameters)
    spent = study.user_attrs.get(SECONDS, 0.0)
    left = budget_s - min(RESERVE_S, RESERVE_SHARE * budget_s) - spent
    if left <= 0:
        return
    began = time.time()
    shift = Shift(request, str(journal), began + left, trials, 0)
    told = len(study.get_trials(deepcopy=False, states=DONE))

    def show(study: optuna.Study, _: optuna.trial.FrozenTrial) -> None:
        nonlocal told
        seconds = time.time() - began
        study.set_user_attr(SECONDS, spent + seconds)
        done = study.get_trials(deepcopy=False, states=DONE)
        for number, trial in enumerate(done[told:], told + 1):
            _say(f"{(spent + seconds) / 60:.1f} of {budget_s / 60:g} min, trial {number}: {_line(trial)}")
        told = len(done)

    with _workers([dataclasses.replace(shift, number=number) for number in range(1, jobs)]) as others:
        work(search, shift, [show])
        for other in others:
            other.wait()


@contextlib.contextmanager
def _workers(shifts: list[Shift]) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes with a shift each; they end with their standard input, and so with us."""
    environment = dict(os.environ) | dict.fromkeys(THREAD_VARIABLES, "1")
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))  # the child imports what its parent can
    command = [sys.executable, "-m", "tsc_lib.search.worker"]
    workers = []
    try:
        for shift in shifts:
            worker = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, env=environment)
            workers.append(worker)
            assert worker.stdin is not None
            worker.stdin.write(json.dumps(dataclasses.asdict(shift)) + "\n")
            worker.stdin.flush()
        yield workers
    finally:
        for worker in workers:
            worker.kill()  # a no-op unless we were interrupted
            worker.wait()


def _line(trial: optuna.trial.FrozenTrial) -> str:
    facts = trial.user_attrs
    if "why" in facts:
        return f"{facts.get('recipe', 'no recipe')}: ended early, {facts['why']}"
    return (
        f"{facts['recipe']} in {facts['runtime']}: 1/{1 / facts['cost']:.0f} of the cost, "
        f"{facts['drop']:+.1f} ± {facts['error']:.1f} points lost on validation"
    )


def _complete(journal: Path) -> pd.DataFrame:
    """The recipes that were trained to their end, each once, with what the short benchmark and validation say."""
    table = pd.DataFrame(completed(open_study(journal, [0, 0])), columns=COLUMNS).drop_duplicates(
        "recipe", ignore_index=True
    )
    return table.assign(measured=False)


def _chosen(complete: pd.DataFrame, max_drop: float) -> pd.DataFrame:
    """The recipes to measure: the best, the front, and the best of the rest."""
    candidates = ranked(judged(complete, max_drop))
    chosen = pd.concat([candidates.head(FINALISTS // 2), candidates[candidates.front], candidates])
    return chosen.drop_duplicates("recipe").head(FINALISTS)


def _repeat(search: Search, request: dict[str, Any], recipes: list[str], jobs: int) -> None:
    """Make recipes from the models of the other seeds too, several at the same time."""
    repeats = [(unit.seed, recipe) for unit in search.units[1:] for recipe in recipes]
    if not repeats:
        return
    _say(f"making the {len(recipes)} finalists again from the models of {len(search.units) - 1} other seeds")
    parts = [repeats[number::jobs] for number in range(min(jobs, len(repeats)))]
    with _workers([Shift(request, "", 0.0, None, n, part) for n, part in enumerate(parts[1:], 1)]) as others:
        repeat(search, parts[0])
        for other in others:
            other.wait()


def _finalists(search: Search, chosen: pd.DataFrame) -> pd.DataFrame:
    """Candidates measured side by side in one session, and judged in their runtimes."""
    spec, unit = search.spec, search.units[0]
    variants = list(zip(chosen.recipe, chosen.runtime, strict=True))
    for row in chosen.head(FORMATS_OF).itertuples():
        _say(f"other runtimes and number formats of {row.recipe}")
        variants += [(row.recipe, runtime) for runtime in COMPILED if runtime != row.runtime]
        formats = search.gauge.formats(row.recipe, spec.objective)
        variants += [(recipe, runtime) for recipe, runtime, cost in formats if cost < row.cost]
    whole = stages.deployed(unit, *REFERENCE)[1]["measures"]["macs"]
    rows, working = [], []
    for recipe, runtime in variants:
        try:
            drop, error, accuracy = _on_validation(search, recipe, runtime)
            macs = stages.deployed(unit, recipe, runtime)[1]["measures"]["macs"]
        except StageFailed as failure:
            _say(f"{recipe} in {runtime} failed: {failure}")
            continue
        working.append((recipe, runtime))
        facts = {"recipe": recipe, "runtime": runtime, "macs": macs / whole, "valid_accuracy": accuracy}
        rows.append(facts | {"drop": drop, "error": error})
    sizes = tuple(sorted({1, spec.batch_size}))
    settings = BenchmarkSettings(batch_sizes=sizes, blocks=BLOCKS, max_seconds=15.0)
    _say(f"measuring {len(working)} finalists in one session, alone")
    session = stages.benchmarked(unit, working, settings)
    costs = {(row["name"], row["batch_size"]): row for row in session["results"]}
    reference = {size: costs[" in ".join(REFERENCE), size] for size in sizes}
    measured = []
    for facts, variant in zip(rows, working, strict=True):
        own = {size: costs[" in ".join(variant), size] for size in sizes}
        if all(row["status"] == "ok" for row in own.values()):
            measured.append(facts | _costs(search, variant, own, reference))
    return pd.DataFrame(measured, columns=[*COLUMNS, *COSTS]).assign(measured=True)


def _on_validation(search: Search, recipe: str, runtime: str) -> tuple[float, float, float]:
    """Points lost on validation and their standard error, and the accuracy, over all seeds."""
    for unit in search.units:
        _say(f"{unit.label}: {recipe} in {runtime}")
    right = [search.right(unit, recipe, runtime) for unit in search.units]
    drop, error = paired_drop([search.reference_right(unit) for unit in search.units], right)
    return drop, error, float(sum(each.mean() for each in right) / len(right))


def _costs(
    search: Search, variant: tuple[str, str], own: dict[int, dict[str, Any]], reference: dict[int, dict[str, Any]]
) -> dict[str, Any]:
    """A finalist's costs as shares of the reference's, and the one that is the objective as ``cost``."""
    small, large = 1, search.spec.batch_size
    size = [stages.deployed(search.units[0], *v)[1]["deployed"]["model_bytes"] for v in (variant, REFERENCE)]
    shares = {
        "energy": own[large]["energy_ratio"],
        "time": own[large]["cpu_ratio"],
        "latency": own[small]["latency_p50_ms"] / reference[small]["latency_p50_ms"],
        "size": size[0] / size[1],
    }
    cost = shares[search.spec.objective]
    if cost is None:  # too few windows that the counter vouched for
        cost = own[large]["cpu_ratio"]
    values = (own[small]["cpu_ratio"], own[large]["cpu_ratio"], own[large]["energy_ratio"], own[large]["energy_source"])
    return {"cost": cost, **dict(zip(COSTS, (*values, shares["latency"], shares["size"]), strict=True))}


def _pick(search: Search, request: dict[str, Any], best: pd.Series) -> dict[str, Any]:
    """The pick with the command that exports it; its test score is read here, once, and decides nothing."""
    spec = search.spec
    steps = compress.text(compress.parse(best.recipe))
    name = f"{spec.data.name}-{spec.model}-small"
    command = ["python", "-m", "tsc_lib", "export", name, "--dataset", request["dataset"]]
    command += ["--scaling", spec.data.scaling, "--model", spec.model, "--recipe", steps, "--runtime", best.runtime]
    command += ["--seed", str(spec.seeds[0]), "--epochs", str(spec.train.epochs), "--batch-sizes"]
    command += [str(size) for size in sorted({1, spec.batch_size})]
    scores = []
    for unit in search.units:
        record, reference = stages.deployed(unit, best.recipe, best.runtime)[1], stages.deployed(unit, *REFERENCE)[1]
        scores.append(qualities(record, reference))
    names = ("accuracy", "accuracy_drop", "accuracy_drop_low", "accuracy_drop_high")
    facts = json.loads(best.to_json(double_precision=15))
    return {
        "search": spec.to_json(),
        "pick": facts,
        "meaning": VERDICTS[best.verdict],
        "export": shlex.join(command),
        "test_score": [
            {"seed": unit.seed, **{k: score[k] for k in names}}
            for unit, score in zip(search.units, scores, strict=True)
        ],
    }


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
