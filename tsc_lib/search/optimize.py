"""A whole search: trials within a budget, then the finalists measured in one session, the front and the pick."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pandas as pd

from tsc_lib.compress import REFERENCE, Variant
from tsc_lib.core import store
from tsc_lib.core.errors import UserError
from tsc_lib.core.files import read_json, write_json, write_text
from tsc_lib.core.spec import digest
from tsc_lib.core.stats import pareto_front
from tsc_lib.search import finalists
from tsc_lib.search.choice import LIKELY, MISSED, SURE, judged, ranked
from tsc_lib.search.space import starts
from tsc_lib.search.trials import Search, SearchSpec, unfinished
from tsc_lib.search.worker import DONE, Trials, open_study, workers
from tsc_lib.study import stages
from tsc_lib.study.schema import qualities

RESERVE_S, RESERVE_SHARE = 120.0, 0.3
"""Seconds of the budget that are kept for the finalists, and the share of it that they are at most."""

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
    running = f"the same search is running already, in {folder}; wait for it, or end it first"
    with store.hold_lock(folder / "search.lock", running):
        _claim(folder, spec)
        for run in search.runs:
            try:
                stages.train(run, _say)
                stages.evaluate(run, REFERENCE, _say)
            except store.StageFailed as failure:
                raise UserError(
                    f"{run.label}, the model to compress, could not be made: {failure}; mend that, or choose other "
                    "data or --epochs"
                ) from None
        _run_trials(search, request, folder / "journal.log", 60 * minutes, jobs, trials)
        trained = finalists.trained(folder / "journal.log")
        if trained.empty:
            raise UserError(
                f"the budget of {minutes:g} minutes was too small to train one recipe to its end; give --budget more, "
                "and the same command goes on"
            )
        chosen = finalists.chosen(trained, spec.max_drop)
        finalists.repeat(search, request, list(chosen.recipe), jobs, _say)
        measured = finalists.measured(search, chosen, _say)
        if measured.empty:
            raise UserError("no finalist could be executed and measured; the lines above say why")
        others = trained[~trained.recipe.isin(measured.recipe)]
        table = ranked(judged(pd.concat([measured, others], ignore_index=True), spec.max_drop))
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
    shift = Trials(str(journal), began + left, trials)
    told = len(study.get_trials(deepcopy=False, states=DONE))

    def show(study: optuna.Study, _: optuna.trial.FrozenTrial) -> None:
        nonlocal told
        seconds = time.time() - began
        study.set_user_attr(SECONDS, spent + seconds)
        done = study.get_trials(deepcopy=False, states=DONE)
        for number, trial in enumerate(done[told:], told + 1):
            _say(f"{(spent + seconds) / 60:.1f} of {budget_s / 60:g} min, trial {number}: {_line(trial)}")
        told = len(done)

    with workers(request, [dataclasses.replace(shift, number=number) for number in range(1, jobs)]):
        shift.work(search, [show])


def _line(trial: optuna.trial.FrozenTrial) -> str:
    facts = trial.user_attrs
    if "why" in facts:
        return f"{facts.get('recipe', 'no recipe')}: ended early, {facts['why']}"
    return (
        f"{facts['recipe']} in {facts['runtime']}: 1/{1 / facts['cost']:.0f} of the cost, "
        f"{facts['drop']:+.1f} ± {facts['error']:.1f} points lost on validation"
    )


def _pick(search: Search, request: dict[str, Any], best: pd.Series) -> dict[str, Any]:
    """The pick with the command that exports it; its test score is read here, once, and decides nothing."""
    spec = search.spec
    variant = Variant.parse(best.recipe, best.runtime)
    name = f"{spec.data.name}-{spec.model}-small"
    command = ["python", "-m", "tsc_lib", "export", name, "--dataset", request["dataset"]]
    command += ["--scaling", spec.data.scaling, "--gaps", spec.data.gaps, "--model", spec.model]
    command += ["--recipe", str(variant.recipe), "--runtime", variant.runtime]
    command += ["--seed", str(spec.seeds[0]), "--epochs", str(spec.train.epochs), "--batch-sizes"]
    command += [str(size) for size in sorted({1, spec.batch_size})]
    scores = []
    for run in search.runs:
        record, reference = (stages.evaluate(run, each) for each in (variant, REFERENCE))
        scores.append(qualities(record, reference))
    names = ("accuracy", "accuracy_drop", "accuracy_drop_low", "accuracy_drop_high")
    facts = json.loads(best.to_json(double_precision=15))
    return {
        "search": spec.to_json(),
        "pick": facts,
        "meaning": VERDICTS[best.verdict],
        "export": shlex.join(command),
        "test_score": [
            {"seed": run.seed, **{k: score[k] for k in names}} for run, score in zip(search.runs, scores, strict=True)
        ],
    }


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
