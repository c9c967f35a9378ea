"""The search: it goes on where it was, decides on validation alone, and keeps to the permitted drop."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import shutil
import time
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest

from tsc_lib import cli
from tsc_lib.benchmark.host import describe_machine
from tsc_lib.compress import REFERENCE, Recipe, Variant
from tsc_lib.core import store
from tsc_lib.core.errors import UserError
from tsc_lib.search import finalists, quick_benchmark
from tsc_lib.search.optimize import optimize
from tsc_lib.search.request import SearchRequest, large_batch
from tsc_lib.search.results import load_promises, load_searches
from tsc_lib.search.space import FAMILIES, list_starts, suggest
from tsc_lib.search.trials import Search
from tsc_lib.search.worker import open_study, run_trials, start_workers
from tsc_lib.study import stages
from tsc_lib.study.versions import STAGES


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of its own, eager PyTorch alone, and a session of a few blocks."""
    monkeypatch.setattr(store, "OUTPUTS", tmp_path / "outputs")
    monkeypatch.setattr(quick_benchmark, "COMPILED", ())
    monkeypatch.setattr(finalists, "BLOCKS", 3)
    return tmp_path / "outputs"


def write(folder: Path, *, channels: int = 1, lengths: tuple[int, int] = (24, 24), flip_test: bool = False) -> str:
    """Sines of two frequencies, of one or of several lengths; the test labels may be exchanged."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for part, count in (("TRAIN", 40), ("TEST", 20)):
        lines = []
        for i in range(count):
            label, steps = i % 2, np.arange(rng.integers(lengths[0], lengths[1] + 1))
            wave = np.sin(steps * (0.5 + 0.7 * label) + rng.uniform(0, 6, (channels, 1))) + rng.normal(
                0, 0.3, (channels, len(steps))
            )
            told = 1 - label if flip_test and part == "TEST" else label
            lines.append(":".join(",".join(f"{v:.4f}" for v in channel) for channel in wave) + f":{'ab'[told]}")
        text = "\n".join(["@problemName toy", "@data", *lines, ""])
        (folder / f"{folder.name}_{part}.ts").write_text(text)
    return str(folder)


def request(dataset: str, **changes) -> SearchRequest:
    """A search for few bytes, which no clock disturbs."""
    return SearchRequest(
        dataset, **{"epochs": 4, "objective": "size", "batch_size": 8, "max_drop": 100.0, "folds": 0} | changes
    )


@pytest.mark.sessions
def test_a_search_picks_what_the_printed_command_exports(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = write(tmp_path / "waves", channels=2, lengths=(20, 30))
    command = ["optimize", "--dataset", dataset, "--epochs", "2", "--trials", "2", "--objective", "time"]
    assert (
        cli.main(
            [*command, "--folds", "2", "--max-drop", "100", "--batch-size", "8", "--output", str(tmp_path / "found")]
        )
        == 0
    )
    printed = capsys.readouterr().out
    pick = json.loads((tmp_path / "found" / "pick.json").read_text())
    front = pd.read_csv(tmp_path / "found" / "front.csv")
    assert pick["pick"]["recipe"] == front.recipe[0] and pick["pick"]["recipe"] in printed
    assert 0 < pick["pick"]["cpu_ratio_large"] < 1
    assert "test score, which decided nothing" in printed and pick["export"] in printed

    program, module, name, *arguments = shlex.split(pick["export"])
    assert (program, module, name) == ("python", "-m", "tsc_lib")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tsc_lib.benchmark.BenchmarkSettings.blocks", 3)
    assert cli.main(arguments) == 0
    assert cli.main(["predict", "--trust-native-code", arguments[1], str(Path(dataset) / "waves_TEST.ts")]) == 0
    assert len(capsys.readouterr().out.splitlines()) >= 21


@pytest.mark.compiles
@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_limits_of_memory_hold_before_training(outputs: Path, tmp_path: Path) -> None:
    dataset = write(tmp_path / "waves")
    asked = request(dataset, runtime="c", epochs=1, max_flash=5000)
    assert request(dataset).resolve().key() != asked.resolve().key()
    with pytest.raises(UserError, match="nothing that was tried is small enough, 1 recipes among them"):
        optimize(asked, minutes=5, trials=1)
    [why] = [
        trial.user_attrs["why"]
        for journal in (outputs / "search").glob("*/journal.log")
        for trial in open_study(journal).get_trials()
        if "why" in trial.user_attrs
    ]
    assert re.fullmatch(r"the program takes [\d,]+ bytes of flash, where 5,000 are allowed", why)
    # The shape is known now, and small enough for other limits.
    roomy = Search(dataclasses.replace(asked, max_flash=10**6, max_ram=10**6)).benchmark
    _, shape = stages.compress_model(Search(asked).runs[0], Recipe.parse("student(1, 2, 8, 8, 4)"))
    assert roomy.find_cheapest(shape)[0] == "c"


@pytest.mark.compiles
@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_what_is_too_large_in_fp32_is_tried_in_int8(outputs: Path, tmp_path: Path) -> None:
    search = Search(request(write(tmp_path / "waves"), runtime="c", epochs=1, max_flash=100_000))
    stages.train(search.runs[0])
    large = {"student.layers": 1, "student.heads": 2, "student.d_ff": 256, "student.d_model": 48, "student.patch": 4}
    study = optuna.create_study()
    study.enqueue_trial({"family": "student", "epochs": 1, **large})
    study.enqueue_trial({"family": "student", "epochs": 1, **large | {"student.d_ff": 32, "student.d_model": 16}})
    study.optimize(lambda trial: search.run(trial, time.time() + 600), n_trials=2)
    first, second = study.get_trials()
    assert first.user_attrs["recipe"].endswith("> int8(static)"), first.user_attrs
    assert first.user_attrs["runtime"] == "c"
    assert "int8" not in second.user_attrs["recipe"]
    variant = Variant.parse(first.user_attrs["recipe"], "c")
    evaluation = stages.evaluate(search.runs[0], variant)
    assert evaluation.conversion.flash_bytes is not None and evaluation.conversion.flash_bytes < 100_000
    assert first.user_attrs["valid_accuracy"] == search.correct(search.runs[0], variant).mean()


@pytest.mark.sessions
def test_poisoned_test_labels_change_nothing_but_the_score(outputs: Path, tmp_path: Path) -> None:
    tables, picks = [], []
    for part, flip in (("true", False), ("poisoned", True)):
        asked = request(write(tmp_path / part / "waves", flip_test=flip), max_drop=50.0, folds=2)
        folder = optimize(asked, 60, trials=3).folder
        timed = "^(cpu_ratio_batch_1|cpu_ratio_large|energy_ratio_large)(_low|_high)?$|^latency_ratio$"
        table = pd.read_csv(folder / "trials.csv")
        tables.append(table.drop(columns=table.filter(regex=timed).columns))
        picks.append(json.loads((folder / "pick.json").read_text()))
    pd.testing.assert_frame_equal(*tables)  # recipes, drops, verdicts and the order that follows from them
    assert picks[0]["pick"]["recipe"] == picks[1]["pick"]["recipe"] and picks[0]["promise"] == picks[1]["promise"]
    assert picks[0]["promise"]["trainings"] == 2
    scores = [pick["test_score"][0]["accuracy"] for pick in picks]
    assert scores[0] == pytest.approx(1 - scores[1])
    one, other = load_promises(["waves"]).to_dict("records")
    assert one["verdict"] == other["verdict"] == picks[0]["promise"]["verdict"]
    assert one["test_drop"] == pytest.approx(-other["test_drop"])


@pytest.mark.sessions
def test_an_interrupted_search_goes_on_and_repeats_nothing(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, folder = request(write(tmp_path / "waves")), tmp_path / "found"
    run, calls = Search.run, []

    def stopped(self, trial, deadline):
        if trial.number == 1:
            trial.suggest_categorical("family", list(FAMILIES))
            raise KeyboardInterrupt
        return run(self, trial, deadline)

    monkeypatch.setattr(Search, "run", stopped)
    with pytest.raises(KeyboardInterrupt):
        optimize(asked, 10, trials=3, output=folder)

    def counted(self, trial, deadline):
        calls.append(trial.number)
        return run(self, trial, deadline)

    monkeypatch.setattr(Search, "run", counted)
    optimize(asked, 10, trials=3, output=folder)
    assert len(calls) == 2 and 0 not in calls
    trained = {path: path.stat().st_mtime_ns for path in outputs.glob("store/*/*/record.json")}
    optimize(asked, 10, trials=3, output=folder)
    with pytest.raises(UserError, match="holds another search"):
        optimize(dataclasses.replace(asked, max_drop=5.0), 10, trials=3, output=folder)
    assert len(calls) == 2
    assert {path: path.stat().st_mtime_ns for path in outputs.glob("store/*/*/record.json")} == trained


@pytest.mark.sessions
def test_finalists_are_made_again_from_the_models_of_further_seeds(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TSC_OUTPUTS", str(outputs))  # for the other process
    asked = request(write(tmp_path / "waves"), seeds=(0, 1, 2), epochs=1)
    search = Search(asked)
    for run in search.runs:
        stages.train(run)
    finalists.make_for_all_seeds(search, ["layers(1)", "student > distill(1)"], 2)
    made = [path.parent.name.rsplit("-", 1)[0] for path in outputs.glob("store/compress/*/model.json")]
    # Each has two recipes, one of which has a beginning of its own, and the reference that is trained on.
    assert sorted(made) == ["waves-T1-s1"] * 4 + ["waves-T1-s2"] * 4


@pytest.mark.sessions
def test_another_process_runs_trials(outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TSC_OUTPUTS", str(outputs))
    asked, journal = request(write(tmp_path / "waves"), epochs=1), tmp_path / "journal.log"
    run = Search(asked).runs[0]
    stages.train(run)
    stages.evaluate(run, REFERENCE)
    with start_workers(asked, run_trials, [[journal, float("inf"), 1, 1]]):
        pass
    assert finalists.trained_table(journal)["drop"].notna().all()
    assert len(finalists.trained_table(journal)) == 1


@pytest.mark.sessions
def test_no_recipe_is_tried_twice(outputs: Path, tmp_path: Path) -> None:
    search = Search(request(write(tmp_path / "waves"), epochs=1))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    chosen = {**list_starts(search.bounds)[0], "epochs": 1}
    for _ in range(3):
        study.enqueue_trial(chosen)
    elsewhere = study.ask()  # as by another process, which has begun
    elsewhere.set_user_attr("recipe", str(suggest(elsewhere, search.bounds).recipe))
    study.optimize(lambda trial: search.run(trial, float("inf")), n_trials=1)
    study.tell(elsewhere, state=optuna.trial.TrialState.FAIL)  # it was killed
    study.optimize(lambda trial: search.run(trial, float("inf")), n_trials=1)
    study.enqueue_trial(chosen)
    study.optimize(lambda trial: search.run(trial, float("inf")), n_trials=1)
    _, beside, after, again = study.trials
    assert "why" not in after.user_attrs
    assert beside.user_attrs["why"] == again.user_attrs["why"] == "it was tried before, or another process is at it"


@pytest.mark.sessions
def test_nothing_within_the_drop_is_told_with_the_closest(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = pd.Series([True] * 8)
    monkeypatch.setattr(Search, "reference_correct", lambda self, run: lost.to_numpy())
    monkeypatch.setattr(Search, "correct", lambda self, run, variant: ~lost.to_numpy())
    asked = request(write(tmp_path / "waves"), max_drop=0.0, epochs=1)
    with pytest.raises(UserError, match=r"nothing that was tried keeps within 0 points; the closest is 'student"):
        optimize(asked, 10, trials=1)
    assert not list(outputs.glob("search/*/pick.json"))
    assert not load_searches(["waves"]).empty and load_searches(["other"]).empty


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"--objective": "watts"}, "unknown objective 'watts'"),
        ({"--model": "T7"}, "unknown model 'T7'"),
        ({"--dataset": "./nowhere"}, "there is no folder"),
        ({"--budget": "0"}, "--budget must be a finite number from 1e-06 to 100,000, not 0"),
        ({"--trials": "0"}, "--trials must be a whole number from 1 to 1,000,000, not 0"),
        ({"--max-drop": "-1"}, "'max_drop' must be a finite number from 0 to 100, not -1"),
        ({"--batch-size": "0"}, "--batch-size must be a whole number from 1 to 65,536, not 0"),
        ({"--seeds": "-1"}, "every entry of search setting 'seeds' must be a whole number from 0 to"),
        ({"--jobs": "9999"}, "--jobs must be a whole number from 1 to"),
        ({"--budget": "1e300"}, "--budget must be a finite number from 1e-06 to 100,000, not 1e+300"),
    ],
)
def test_bad_input_is_one_sentence(
    outputs: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, str], said: str
) -> None:
    arguments = [word for pair in ({"--dataset": "ItalyPowerDemand"} | changes).items() for word in pair]
    assert cli.main(["optimize", *arguments]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.sessions
def test_too_small_a_budget_is_told(outputs: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the budget of 1e-06 minutes was too small to train one recipe"):
        optimize(request(write(tmp_path / "waves"), epochs=1), 1e-6)


def test_the_large_batch_goes_by_the_length(tmp_path: Path) -> None:
    from tsc_lib import data

    sizes = [large_batch(data.load(data.resolve(write(tmp_path / str(n), lengths=(n, n))))) for n in (24, 700)]
    assert sizes == [256, 32]


def test_of_two_searches_for_the_same_the_latest_counts(outputs: Path) -> None:
    for number, (objective, share) in enumerate([("energy", 0.2), ("size", 0.5), ("energy", 0.1)]):
        path = outputs / "search" / f"{9 - number}" / "trials.csv"
        path.parent.mkdir(parents=True)
        path.write_text(f"dataset,model,objective,cost\nwaves,T1,{objective},{share}\n")
        os.utime(path, (number, number))
    assert dict(load_searches(["waves"])[["objective", "cost"]].to_numpy()) == {"energy": 0.1, "size": 0.5}


def test_a_search_is_another_once_the_code_or_the_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = SearchRequest("ItalyPowerDemand", objective="size")
    before = asked.resolve()
    assert asked.resolve().key() == before.key()
    monkeypatch.setitem(STAGES, "compress", dataclasses.replace(STAGES["compress"], version=0))
    assert asked.resolve().key() != before.key()
    monkeypatch.undo()
    other = dataclasses.replace(describe_machine(), cpu_model="another")
    assert dataclasses.replace(before, machine=other).key() != before.key()


def test_an_epoch_is_judged_by_the_best_before_it_also_after_a_break(outputs: Path, tmp_path: Path) -> None:
    search = Search(request(write(tmp_path / "waves")))
    told: list[float] = []

    class Trial:
        def report(self, value: float, step: int) -> None:
            told.append(value)

        def should_prune(self) -> bool:
            return False

    watch = search._watch(Trial(), 0.5, 0.9, 4, np.inf)  # as it is after a break: it has seen nothing
    watch([{"valid_accuracy": accuracy} for accuracy in (0.6, 0.9, 0.3)])
    assert told == [search._score(0.5, 0.0, 3 / 4)]


def test_a_model_that_cannot_be_made_is_told_in_one_sentence(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages.training, "train", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("not finite")))
    with pytest.raises(UserError, match=r"waves-T1-s0, the model to compress, could not be made: .*not finite"):
        optimize(request(write(tmp_path / "waves")), 10, trials=1)
