"""Parts of the search by themselves: the choice among candidates, the space, the journal, the runtimes."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import optuna
import pandas as pd
import pytest

from tsc_lib import cli, runtimes
from tsc_lib.arguments import parser
from tsc_lib.compress import Recipe
from tsc_lib.core.errors import UserError
from tsc_lib.figures import search_plane
from tsc_lib.models.zoo import configure
from tsc_lib.search import quick_benchmark, selection
from tsc_lib.search.optimize import _mend
from tsc_lib.search.results import SearchResult
from tsc_lib.search.space import Bounds, list_starts, suggest
from tsc_lib.search.trials import list_unfinished
from tsc_lib.search.worker import open_study
from tsc_lib.training import TrainSpec
from tsc_lib.training.settings import parse_settings

# Choosing


def candidates(costs, drops, error: float) -> pd.DataFrame:
    return pd.DataFrame({"cost": costs, "drop": drops, "error": error, "recipe": [f"r{i}" for i in range(len(costs))]})


def test_the_pick_is_the_cheapest_that_keeps_clear_of_the_drop() -> None:
    table = selection.judge(candidates([0.5, 0.2, 0.1, 0.05, 0.02], [-0.5, 0.2, 0.4, 0.95, 9.0], 0.1), 1.0)
    best = selection.rank(table).iloc[0]
    assert (best.recipe, best.verdict) == ("r2", selection.CLEAR)
    assert best.expected_drop + best.expected_error <= 1.0
    assert table.verdict[3] == selection.CLOSE and table.verdict[4] == selection.MISSED
    assert selection.rank(table).recipe.iloc[-1] == "r4"


def test_luck_is_pulled_back_to_what_the_cost_lets_one_expect() -> None:
    rng = np.random.default_rng(0)
    costs = 2.0 ** -np.linspace(1, 6, 40)
    truth = 2 - 1.5 * np.log2(costs) / 4
    seen = truth + rng.normal(0, 6, 40)
    drop, error = selection.shrink_drops(costs, seen, np.full(40, 6.0))
    assert np.abs(drop - truth).mean() < 0.5 * np.abs(seen - truth).mean()
    assert (error < 6).all()
    exact, _ = selection.shrink_drops(costs, seen, np.full(40, 0.01))
    np.testing.assert_allclose(exact, seen, atol=0.01)


def test_a_slower_runtime_promises_no_better_network() -> None:
    rows = candidates([0.1, 0.05, 0.02, 0.01, 0.04], [0.0, 1.0, 2.0, 3.0, 3.0], 2.0)
    rows["recipe"] = [*rows.recipe[:4], rows.recipe[3]]
    table = selection.judge(rows, 1.0)
    assert table.expected_drop[4] == table.expected_drop[3]
    np.testing.assert_array_equal(table.expected_drop[:4], selection.judge(rows[:4], 1.0).expected_drop)


def test_of_equal_costs_the_smaller_loss_is_picked() -> None:
    rows = candidates([0.10, 0.104, 0.2, 0.4], [0.9, 0.1, 0.0, 0.0], 0.01)
    assert selection.rank(selection.judge(rows, 1.0)).recipe.tolist() == ["r1", "r0", "r2", "r3"]
    assert selection.rank(selection.judge(rows.assign(cost=[0.1, 0.2, 0.3, 0.4]), 1.0)).recipe.iloc[0] == "r0"


def test_the_front_holds_what_nothing_beats() -> None:
    table = selection.judge(candidates([0.1, 0.2, 0.3], [3.0, 1.0, 2.0], 0.1), 1.0)
    assert table.front.tolist() == [True, True, False]


def test_a_drop_is_paired_and_repeats_of_a_series_are_no_new_evidence() -> None:
    reference, candidate = np.array([[1, 1, 1, 0]], bool), np.array([[1, 0, 1, 0]], bool)
    drop, error = selection.paired_drop(reference, candidate)
    assert drop == 25
    assert selection.paired_drop(np.repeat(reference, 3, 0), np.repeat(candidate, 3, 0)) == (drop, error)
    assert selection.paired_drop(reference, reference) == (0, 25)


def test_the_figure_shows_every_panel() -> None:
    one = selection.judge(candidates([0.1, 0.05, 0.02], [0.0, 1.0, 3.0], 0.5), 1.0)
    one = one.assign(recipe="student > distill(4)", runtime="openvino", dataset="waves", model="T1", measured=[1, 0, 1])
    one = one.assign(objective="energy")
    figure = search_plane(pd.concat([one, one.assign(model="T2"), one.assign(model="T2", objective="size")]))
    assert len(figure.axes) == 3
    assert search_plane(pd.DataFrame()).texts


# Space


@pytest.mark.parametrize(("shortest", "longest", "patches"), [(24, 24, [4, 8]), (8, 9, [4]), (96, 20_000, [32])])
@pytest.mark.parametrize("model", ["T1", "ConvTransformer", "ConvTransformer(layers=1)"])
def test_every_point_of_the_space_is_a_recipe_that_fits(
    model: str, shortest: int, longest: int, patches: list[int]
) -> None:
    bounds = Bounds(configure(model, 1, 2), shortest, longest, epochs=3)
    assert bounds.patches == patches
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for start in list_starts(bounds):
        study.enqueue_trial(start)
    for number in range(30):
        trial = study.ask()
        point = suggest(trial, bounds)
        assert Recipe.parse(str(point.recipe)) == point.recipe
        if number < len(list_starts(bounds)):
            assert trial.params.items() >= list_starts(bounds)[number].items()


# Journal


def test_the_journal_is_lines_of_json(tmp_path: Path) -> None:
    study = open_study(tmp_path / "journal.log")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=20)
    assert all(json.loads(line) for line in (tmp_path / "journal.log").read_text().splitlines())
    assert [path.name for path in tmp_path.iterdir()] == ["journal.log"]


def test_a_journal_goes_on_after_a_line_that_was_not_written_to_its_end(tmp_path: Path) -> None:
    journal = tmp_path / "journal.log"
    _mend(journal)
    open_study(journal).enqueue_trial({"a": 1})
    with journal.open("ab") as file:
        file.write(b'{"op_code": 4, "wor')
    _mend(journal)
    open_study(journal).enqueue_trial({"a": 2})
    assert len(open_study(journal).trials) == 2
    with journal.open("ab") as file:
        file.write(b"nonsense\n")
    with pytest.raises(UserError, match=r"journal.log is damaged; delete it"):
        _mend(journal)


def test_what_was_cut_short_is_tried_again_once() -> None:
    study = optuna.create_study()
    for value in (1, 2, 2):
        study.enqueue_trial({"x": value})
        trial = study.ask()
        trial.suggest_int("x", 1, 3)
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    assert list_unfinished(study.trials) == [{"x": 1}, {"x": 2}]
    study.enqueue_trial({"x": 1})
    assert list_unfinished(study.trials) == [{"x": 2}]


# Runtimes


def test_c_is_tried_where_one_series_is_to_be_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick_benchmark, "has_compiler", lambda: True)
    assert quick_benchmark.list_tried("latency") == (*quick_benchmark.COMPILED, "c")
    assert "c" not in quick_benchmark.list_tried("energy")
    monkeypatch.setattr(quick_benchmark, "has_compiler", lambda: False)
    assert "c" not in quick_benchmark.list_tried("latency")


def test_limits_are_those_of_programs_in_c(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--max-ram", "--max-flash"):
        assert cli.main(["optimize", "--dataset", "ItalyPowerDemand", option, "64k"]) == 1
        assert f"{option} is a limit of programs in C; add --runtime c" in capsys.readouterr().err
    assert parser().parse_args(["optimize", "--dataset", "x", "--max-ram", "64k"]).max_ram == 65536


@pytest.mark.parametrize("runtime", runtimes.RUNTIMES)
def test_the_printed_command_asks_for_native_code_where_that_is_picked(runtime: str) -> None:
    settings = SimpleNamespace(name="waves", scaling="channel", gaps="refuse")
    run = SimpleNamespace(data=settings, model="T1", seed=0, train=TrainSpec(epochs=2, augment="shift > noise"))
    search = SimpleNamespace(
        runs=[run], request=SimpleNamespace(dataset="waves"), spec=SimpleNamespace(batch_sizes=(1, 8))
    )
    table = pd.DataFrame({"recipe": ["prune(l1, 0.5)"], "runtime": [runtime]})
    command = shlex.split(SearchResult(search, table, None, pd.DataFrame(), Path()).export_command)
    options = parser().parse_args(command[3:])
    assert (options.recipe, options.runtime) == ("prune(l1, 0.5)", runtime)
    assert TrainSpec().change(parse_settings(options.train)) == run.train
    assert options.this_processor_only == (runtime in runtimes.NATIVE)
