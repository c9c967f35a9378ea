"""Classic classifiers: the networks' contract, and a session of all models side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tsc_lib import data, runtimes
from tsc_lib.compress import CLASSIC, REFERENCE
from tsc_lib.core import store
from tsc_lib.core.errors import UserError
from tsc_lib.models.classic import CLASSICS, arrange, check_work, fit_classic
from tsc_lib.runtimes.aeon.convert import write_classic
from tsc_lib.series.scaling import pad
from tsc_lib.study import Study, jobs, stages
from tsc_lib.study.classics import evaluate_classic
from tsc_lib.study.model_comparison import ModelComparison
from tsc_lib.study.profiles import load_profile
from tsc_lib.study.schema import MODELS, TRAINING_COSTS
from tsc_lib.study.sections import Exclusion, SideBySide

SLOW = ("Catch22", "MultiROCKET-Hydra")
"""Those that take tens of milliseconds for a channel."""


def training_series(name: str) -> tuple[list[np.ndarray], np.ndarray, data.Dataset]:
    """All series of a training file, scaled, and their classes."""
    dataset = data.load(data.resolve(name))
    return [*dataset.train.x, *dataset.valid.x], np.concatenate([dataset.train.y, dataset.valid.y]), dataset


@pytest.mark.slow
@pytest.mark.parametrize(
    ("problem", "name"),
    [
        *[("GunPoint", name) for name in CLASSICS if name not in SLOW],
        *[(problem, name) for problem in ("PickupGestureWiimoteZ", "BasicMotions") for name in CLASSICS],
    ],
)
def test_answers_are_those_of_aeon_and_the_same_after_storing(name: str, problem: str, tmp_path: Path) -> None:
    x, y, dataset = training_series(problem)
    if name in SLOW:
        keep = np.concatenate([np.flatnonzero(y == label)[:3] for label in np.unique(y)])
        x, y = [x[i] for i in keep], y[keep]
    test, lengths = pad(dataset.test.x[:12])
    fitted = fit_classic(name, x, y, seed=3, classes=len(dataset.classes))
    logits = fitted(test, None if dataset.equal_length else lengths)
    assert logits.shape == (12, len(dataset.classes)) and logits.dtype == np.float32 and np.isfinite(logits).all()
    own = arrange(dataset.test.x[:12], fitted.length)
    np.testing.assert_array_equal(logits.argmax(axis=1), fitted.estimator.predict(own).astype(int))
    assert (logits.argmax(axis=1) == dataset.test.y[:12]).mean() > 1 / len(dataset.classes)
    write_classic(name, x, y, 3, len(dataset.classes), tmp_path)
    again = runtimes.load(tmp_path, "aeon")(test, None if dataset.equal_length else lengths)
    np.testing.assert_array_equal(again, logits)
    assert {path.name for path in tmp_path.iterdir()} == set(runtimes.files("aeon"))


def test_a_class_that_training_series_lack_is_never_the_answer() -> None:
    rng = np.random.default_rng(0)
    x = [(rng.normal(size=(1, 30)) + np.sin(np.arange(30) * (i % 2))).astype(np.float32) for i in range(12)]
    for name in ("MiniROCKET", "QUANT"):
        logits = fit_classic(name, x, 2 * (np.arange(12) % 2), seed=0, classes=3)(np.stack(x))
        assert set(logits.argmax(axis=1)) <= {0, 2} and np.isfinite(logits).all()


def test_what_a_classic_cannot_take_is_one_sentence() -> None:
    short = [np.zeros((1, 5), np.float32) for _ in range(4)]
    with pytest.raises(UserError, match="MiniROCKET takes series of 9 time steps or more, not of 5; leave it out"):
        fit_classic("MiniROCKET", short, np.arange(4) % 2, 0, 2)
    with pytest.raises(UserError, match="unknown classic 'ROCKET'; the classics are MiniROCKET, "):
        fit_classic("ROCKET", short, np.arange(4) % 2, 0, 2)
    many = [np.zeros((1, 1_000_000))]
    with pytest.raises(UserError, match=r"1NN-DTW would compare 1\.0e\+12 pairs of time steps, more than 1e\+11"):
        check_work("1NN-DTW", many, many)
    check_work("QUANT", many, many)


def test_a_profile_names_classics_beside_networks() -> None:
    smoke = load_profile("smoke")
    variants = smoke.variants | {"baseline": ("eager", "aeon")}
    profile = replace(smoke, models=("QUANT", "T1"), variants=variants, side_by_side=SideBySide())
    assert profile.networks == ("T1",)
    study = Study(profile)
    assert [run.model for run in study.runs] == ["T1", "T1"] and len(study.all_runs) == 4
    assert CLASSIC not in study.variants and study.variants_of(study.all_runs[0]) == [CLASSIC]
    first = next(iter(ModelComparison(study).entries.values()))
    assert [entry.name for entry in first] == ["T1: baseline in eager", "QUANT: baseline in aeon"]
    with pytest.raises(UserError, match="'models' has only classics, which networks are compared with; add T1"):
        replace(smoke, models=("QUANT",))
    with pytest.raises(UserError, match=r"unknown model 'ROCKET'; the models are T1, .*MiniROCKET, "):
        replace(smoke, models=("T1", "ROCKET"))
    with pytest.raises(UserError, match="classics are executed as they are; name aeon for baseline alone"):
        replace(smoke, variants={"int8(dynamic)": ("aeon",)})


@pytest.mark.sessions
def test_all_models_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "OUTPUTS", tmp_path)
    monkeypatch.setattr("tsc_lib.models.classic.MOST_WORK", 1e6)  # less than 1NN-DTW needs here
    study = Study(
        replace(
            load_profile("smoke"),
            seeds=(0,),
            models=("MiniROCKET", "T1", "QUANT", "1NN-DTW"),
            side_by_side=SideBySide({"prune(l1, 0.5)": ("eager",)}, blocks=3, max_seconds=1.0),
        )
    )
    for run in study.all_runs:
        jobs.prepare(study, run)
    comparison = ModelComparison(study)
    table = comparison.table()
    assert list(table.columns) == MODELS
    assert not table.duplicated(["dataset", "model", "recipe", "runtime", "seed", "batch_size"]).any()
    assert len(table) == 2 * 5  # batch sizes × (two variants of T1, three classics)
    slow = table[table.model == "1NN-DTW"]
    assert slow.status.str.startswith("failed: 1NN-DTW would compare").all() and slow.accuracy.isna().all()
    done = table[table.model != "1NN-DTW"]
    assert (done.status == "ok").all()
    assert (done.cpu_ms_per_sample_low <= done.cpu_ms_per_sample).all() and (done.energy_mj_per_sample > 0).all()
    assert done[done.kind == "classic"][["params", "macs", "model_bytes", "accuracy_valid"]].isna().all(axis=None)
    assert (done[done.model == "MiniROCKET"].accuracy > 0.9).all()
    assert (table[(table.model == "T1") & (table.recipe == "baseline")].cpu_ratio == 1).all()
    costs = comparison.training_costs()
    assert list(costs.columns) == TRAINING_COSTS and costs.model.tolist() == list(study.profile.models)
    measured = costs[costs.status == "ok"]
    assert set(measured.model) == {"MiniROCKET", "T1", "QUANT"}
    np.testing.assert_allclose(measured.joules, 5 * measured.cpu_seconds, rtol=1e-6)
    # The study's other tables are about networks.
    assert set(study.results([REFERENCE]).model) == {"T1"} and set(study.histories().model) == {"T1"}


@pytest.mark.sessions
def test_a_classic_that_is_slow_is_not_measured_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "OUTPUTS", tmp_path)
    monkeypatch.setattr("tsc_lib.study.model_comparison.LONGEST_SWEEP_S", 0.0)
    study = Study(replace(load_profile("smoke"), seeds=(0,), models=("T1", "MiniROCKET")))
    table = ModelComparison(study).table()
    classic = table[table.kind == "classic"]
    assert classic.status.str.startswith("not measured: 16 series would take").all()
    assert classic.accuracy.notna().all() and classic.cpu_ms_per_sample.isna().all()


@pytest.mark.slow
def test_what_training_cost_is_known_unless_it_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "OUTPUTS", tmp_path)
    without = (Exclusion(recipe="int8(dynamic)"),)
    study = Study(replace(load_profile("smoke"), seeds=(0,), models=("T1",), exclude=without))
    [run] = study.runs
    reading = stages.read_training_cost(run)
    assert reading is not None and reading.cpu_seconds >= sum(epoch["cpu_seconds"] for epoch in study.train(run))
    monkeypatch.setattr(stages, "read_training_cost", lambda run: None)
    [row] = ModelComparison(study).training_costs().to_dict("records")
    assert row["cpu_seconds"] > 0 and np.isnan(row["joules"]) and row["status"] == "ok"


def test_a_seed_that_has_no_say_is_no_other_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "OUTPUTS", tmp_path)
    study = Study(replace(load_profile("smoke"), models=("T1", "1NN-DTW", "QUANT")))
    found = {(run.model, run.seed): evaluate_classic(run) for run in study.all_runs if run not in study.runs}
    assert found["1NN-DTW", 0].folder == found["1NN-DTW", 1].folder
    assert found["QUANT", 0].folder != found["QUANT", 1].folder
    assert found["1NN-DTW", 0].correct.mean() > 0.9
