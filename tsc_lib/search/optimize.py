"""A whole search: trials within a budget, then the finalists measured in one session, the pick and its promise."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from tsc_lib.analysis.findings import remarks
from tsc_lib.compress import REFERENCE, Variant
from tsc_lib.core import store
from tsc_lib.core.cpus import count_usable_cpus
from tsc_lib.core.errors import UserError
from tsc_lib.core.files import read_json, write_bytes, write_json, write_text
from tsc_lib.core.limits import check_number, check_whole
from tsc_lib.core.progress import Begin, track
from tsc_lib.core.spec import digest
from tsc_lib.core.stats import pareto_front
from tsc_lib.search.finalists import make_for_all_seeds, measure_finalists, select_finalists, trained_table
from tsc_lib.search.promise import find_promise
from tsc_lib.search.request import SearchRequest, SearchSpec
from tsc_lib.search.results import SearchResult, read_test_scores
from tsc_lib.search.selection import MISSED, judge, rank
from tsc_lib.search.space import list_starts
from tsc_lib.search.trials import Search, count_too_large, list_unfinished
from tsc_lib.search.worker import DONE, open_study, run_trials, start_workers
from tsc_lib.study import stages

RESERVE_S, RESERVE_SHARE = 120.0, 0.3
"""Seconds of the budget that are kept for the finalists, and the share of it that they are at most."""

MINUTES = (1e-6, 100_000)
"""The least and the most of a budget."""

STAGES = ("the uncompressed model", "trials", "finalists, after the budget", "promise, after the budget")
"""Of a search, as its progress is told."""

SECONDS = "seconds"
"""Attribute of Optuna's study: how much of the budget is spent."""

logger = logging.getLogger(__name__)


def optimize(
    request: SearchRequest, minutes: float, jobs: int = 1, trials: int | None = None, output: Path | None = None
) -> SearchResult:
    """Search, or go on with the same search, and pick.

    Parameters
    ----------
    request : SearchRequest
        What to search for.
    minutes : float
        Budget of the trials and the finalists, all runs of the same search together; training the uncompressed models
        comes before it, and making the finalists from the models of further seeds and the promise come after it.
    jobs : int
        Processes that run trials, or make models for further seeds and for the promise, side by side.
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
    check_number(minutes, "--budget", *MINUTES)
    check_whole(jobs, "--jobs", 1, count_usable_cpus())
    if trials is not None:
        check_whole(trials, "--trials", 1, 1_000_000)
    search = Search(request)
    for text in remarks(search.dataset):
        logger.warning(text)
    folder = (output or store.OUTPUTS / "search" / search.spec.label).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    journal = folder / "journal.log"
    running = f"the same search is running already, in {folder}; wait for it, or end it first"
    with store.hold_lock(folder / "search.lock", running):
        _claim(folder, search.spec)
        _mend(journal)
        with track(search.spec.label, STAGES) as begin:
            begin("the uncompressed model")
            _make_references(search)
            _run_trials(search, journal, 60 * minutes, jobs, trials, begin)
            return _pick(search, folder, minutes, jobs, begin)


def _pick(search: Search, folder: Path, minutes: float, jobs: int, begin: Begin) -> SearchResult:
    """Measure the finalists, choose, and promise: all of it after the budget."""
    trained = trained_table(folder / "journal.log")
    if trained.empty and (too_large := count_too_large(open_study(folder / "journal.log"))):
        raise UserError(
            f"nothing that was tried is small enough, {too_large} recipes among them; raise --max-ram or --max-flash, "
            "or give --budget more, and the same command goes on"
        )
    if trained.empty:
        raise UserError(
            f"the budget of {minutes:g} minutes was too small to train one recipe to its end; give --budget more, and "
            "the same command goes on"
        )
    selected = select_finalists(trained, search.spec.max_drop)
    begin("finalists, after the budget")
    make_for_all_seeds(search, list(selected.recipe), jobs)
    table = _rank_all(search, folder, measure_finalists(search, selected), trained)
    best = table.iloc[0]
    if best.verdict == MISSED:
        raise UserError(
            f"nothing that was tried keeps within {search.spec.max_drop:g} points; the closest is {best.recipe!r} in "
            f"{best.runtime} with {best.expected_drop:.1f} expected points lost: raise --max-drop or --budget"
        )
    begin("promise, after the budget")
    promise = find_promise(search, Variant.parse(best.recipe, best.runtime), jobs)
    result = SearchResult(search, table, promise, read_test_scores(search, best), folder)
    write_json(folder / "pick.json", result.to_json())
    return result


def _claim(folder: Path, spec: SearchSpec) -> None:
    """Write down what is searched for in a folder, without an earlier pick; refuse one that is another search's."""
    path = folder / "search.json"
    if path.exists() and digest(read_json(path)) != spec.key():
        raise UserError(f"{folder} holds another search, described in {path.name}; name another folder")
    write_json(path, spec.to_json())
    (folder / "pick.json").unlink(missing_ok=True)


def _mend(journal: Path) -> None:
    """Cut off a last line that was not written to its end, as on a full disk: Optuna would go on within it."""
    content = journal.read_bytes() if journal.exists() else b""
    whole = content[: content.rfind(b"\n") + 1]
    try:
        for line in whole.splitlines():
            json.loads(line)
    except (ValueError, RecursionError):
        raise UserError(f"{journal} is damaged; delete it, and the same command searches from the beginning") from None
    if whole != content:
        write_bytes(journal, whole)


def _make_references(search: Search) -> None:
    for run in search.runs:
        try:
            stages.train(run)
            stages.evaluate(run, REFERENCE)
            if run == search.runs[0]:  # those of other seeds are made beside the finalists
                stages.compress_model(run, search.extra)
        except store.StageFailed as failure:
            raise UserError(
                f"{run.label}, the model to compress, could not be made: {failure}; mend that, or choose other "
                "data or --epochs"
            ) from None
        accuracy, share = search.correct(run, REFERENCE).mean(), np.bincount(search.dataset.valid.y).max()
        if accuracy <= share / len(search.dataset.valid):
            logger.warning(
                f"{run.label}: the uncompressed model is right for {100 * accuracy:.1f} % of the validation series, no "
                "more than always giving the most frequent label: it has nothing to lose, and what is picked proves "
                "nothing; train it longer, or choose other data"
            )


def _run_trials(search: Search, journal: Path, budget_s: float, jobs: int, trials: int | None, begin: Begin) -> None:
    study = open_study(journal, search.runs[0].seed)
    # Nobody else is at work, so what the journal calls running was killed.
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    known = study.get_trials(deepcopy=False)
    for parameters in list_unfinished(known) if known else list_starts(search.bounds):
        study.enqueue_trial(parameters)
    spent = study.user_attrs.get(SECONDS, 0.0)
    left = budget_s - min(RESERVE_S, RESERVE_SHARE * budget_s) - spent
    begin("trials", seconds=max(0.0, left))
    if left <= 0:
        return
    began = time.time()
    told = len(study.get_trials(deepcopy=False, states=DONE))

    def report(study: optuna.Study, _: FrozenTrial) -> None:
        nonlocal told
        seconds = spent + time.time() - began
        study.set_user_attr(SECONDS, seconds)
        done = study.get_trials(deepcopy=False, states=DONE)
        for number, trial in enumerate(done[told:], told + 1):
            logger.info(f"{seconds / 60:.1f} of {budget_s / 60:g} min, trial {number}: {_describe(trial)}")
        told = len(done)

    limits = (journal, began + left, trials)
    with start_workers(search.request, run_trials, [[*limits, worker] for worker in range(1, jobs)]):
        run_trials(search, *limits, callbacks=[report])


def _describe(trial: FrozenTrial) -> str:
    facts = trial.user_attrs
    if "why" in facts:
        return f"{facts.get('recipe', 'no recipe')}: ended early, {facts['why']}"
    return (
        f"{facts['recipe']} in {facts['runtime']}: 1/{1 / facts['cost']:.0f} of the cost, "
        f"{facts['drop']:+.1f} ± {facts['error']:.1f} points lost on validation"
    )


def _rank_all(search: Search, folder: Path, measured: pd.DataFrame, trained: pd.DataFrame) -> pd.DataFrame:
    """Write ``trials.csv`` and ``front.csv``, and return the latter's table: the measured finalists, the best first."""
    if measured.empty:
        raise UserError("no finalist could be executed and measured; the lines above say why")
    others = trained[~trained.recipe.isin(measured.recipe)]
    table = rank(judge(pd.concat([measured, others], ignore_index=True), search.spec.max_drop))
    run = search.runs[0]
    table = table.assign(dataset=run.data.name, model=run.model, objective=search.spec.objective)
    write_text(folder / "trials.csv", table.to_csv(index=False))
    final = table[table.measured].reset_index(drop=True)
    final["front"] = pareto_front(final.cost, -final.expected_drop)
    write_text(folder / "front.csv", final.to_csv(index=False))
    return final
