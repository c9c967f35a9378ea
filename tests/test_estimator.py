"""The estimator and the other public names."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from aeon.datasets import load_classification
from aeon.testing.estimator_checking import check_estimator
from sklearn.exceptions import NotFittedError

import tsc_lib
from tsc_lib import TransformerClassifier
from tsc_lib.benchmark import BenchmarkSettings
from tsc_lib.core.errors import UserError
from tsc_lib.data import load, resolve
from tsc_lib.models import zoo
from tsc_lib.training import TrainSpec, train

SIZE = zoo.configure("T1(layers=2, heads=2, d_model=16, d_ff=32, patch=4)", channels=1, classes=2)
X, Y = load_classification("ItalyPowerDemand", split="train")


@pytest.fixture(scope="module")
def fitted() -> TransformerClassifier:
    return TransformerClassifier(SIZE, epochs=3, random_state=1).fit(X, Y)


def unequal(channels: int = 3) -> tuple[list[np.ndarray], np.ndarray]:
    """Waves of different lengths: slow ones, and fast ones."""
    rng = np.random.default_rng(0)
    y = np.array(["slow", "fast"] * 20)
    waves = [np.sin(np.arange(rng.integers(24, 60)) * (0.2 if label == "slow" else 1.5)) for label in y]
    return [wave + rng.normal(0, 0.1, (channels, len(wave))) for wave in waves], y


def test_settings_of_the_training_are_the_models_own_or_those_that_are_given() -> None:
    given = {"optimizer": "adamw", "augment": "noise(0.1)", "steps": 4}
    classifier = TransformerClassifier("T1", batch_size=8, random_state=0, training=given).clone().fit(X, Y)
    assert len(classifier.history_) == 1
    spec = TrainSpec(batch_size=8, optimizer="adamw", augment="noise(0.1)", steps=4)
    assert classifier._settings() == spec
    assert not np.allclose(
        classifier.predict_proba(X),
        TransformerClassifier("T1", batch_size=8, random_state=0, training={"steps": 4}).fit(X, Y).predict_proba(X),
    )


def test_aeon_takes_it_for_one_of_its_own() -> None:
    assert set(check_estimator(TransformerClassifier, raise_exceptions=True).values()) == {"PASSED"}


def test_it_is_trained_as_the_study_trains() -> None:
    dataset = load(resolve("ItalyPowerDemand"))
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as the study's stages do
    model, history = train(zoo.configure("T1", 1, 2), dataset, TrainSpec(epochs=2), 3)
    torch.set_num_threads(before)
    classifier = TransformerClassifier("T1", epochs=2, random_state=3).fit(X, Y)
    weights = model.network.state_dict()
    for name, values in classifier.model_.network.state_dict().items():
        assert torch.equal(values, weights[name]), name
    assert [entry["valid_loss"] for entry in classifier.history_] == [entry["valid_loss"] for entry in history]


def test_a_random_state_is_kept_and_none_of_the_callers_is_touched(fitted: TransformerClassifier) -> None:
    torch.manual_seed(5)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    again = fitted.clone().fit(X, Y)
    assert torch.equal(torch.get_rng_state(), before) and torch.get_num_threads() == threads
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    other = TransformerClassifier(SIZE, epochs=3, random_state=np.random.RandomState(2)).fit(X, Y)
    assert not np.array_equal(other.predict_proba(X), fitted.predict_proba(X))


def test_series_may_differ_in_length_and_labels_are_those_that_were_given() -> None:
    series, y = unequal()
    classifier = TransformerClassifier(SIZE, epochs=20, learning_rate=3e-3, random_state=0).fit(series, y)
    assert classifier.classes_.tolist() == ["fast", "slow"]
    assert (classifier.predict(series) == y).mean() > 0.9
    np.testing.assert_allclose(classifier.predict_proba(series).sum(axis=1), 1)
    alone = classifier.predict_proba(series[:1])
    np.testing.assert_allclose(alone, classifier.predict_proba(series)[:1], atol=1e-6)


def test_compression_leaves_the_original_alone(fitted: TransformerClassifier) -> None:
    before = fitted.predict_proba(X)
    small = fitted.compress("prune(l1, 0.5) > finetune(1)")
    assert str(small.variant_) == "prune(l1, 0.5) > finetune(1) in eager"
    smaller = small.compress("int8(dynamic)")
    assert str(smaller.variant_.recipe) == "prune(l1, 0.5) > finetune(1) > int8(dynamic)"
    assert [len(one.model_.evidence) for one in (fitted, small, smaller)] == [0, 2, 3]
    assert [layer.d_ff for layer in small.model_.network.config.layers] == [16, 16]
    assert fitted.model_.network.config == SIZE
    np.testing.assert_array_equal(fitted.predict_proba(X), before)
    assert not np.allclose(small.predict_proba(X), before)
    assert not small.clone().is_fitted


def test_a_copy_learns_from_the_uncompressed_model(fitted: TransformerClassifier) -> None:
    student = fitted.compress("student(layers=1, heads=2, d_ff=16, d_model=8, patch=4) > distill(1)")
    assert len(student.predict(X)) == len(X)


def test_pickles_are_small_and_want_the_series_again(fitted: TransformerClassifier) -> None:
    for restored in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        np.testing.assert_array_equal(restored.predict_proba(X), fitted.predict_proba(X))
        assert not restored.dataset_.train.x and fitted.dataset_.train.x
        with pytest.raises(UserError, match="give them again"):
            restored.compress("mask(l1, 0.5)")
        again = restored.compress("prune(taylor, 0.5)", X, Y)
        np.testing.assert_array_equal(again.predict_proba(X), fitted.compress("prune(taylor, 0.5)").predict_proba(X))


@pytest.mark.compiles
@pytest.mark.parametrize("recipe", ["baseline", "int8(static)"])
def test_a_runtime_executes_the_same(fitted: TransformerClassifier, recipe: str) -> None:
    moved = (fitted if recipe == "baseline" else fitted.compress(recipe)).to("onnxruntime")
    assert moved.variant_.runtime == "onnxruntime" and fitted.variant_.runtime == "eager"
    np.testing.assert_allclose(
        moved.predict_proba(X), fitted.predict_proba(X), atol=1e-5 if recipe == "baseline" else 0.1
    )
    restored = pickle.loads(pickle.dumps(moved))
    np.testing.assert_array_equal(restored.predict_proba(X), moved.predict_proba(X))


def test_a_format_that_the_runtime_lacks_has_the_first_that_has_it(fitted: TransformerClassifier) -> None:
    assert fitted.compress("int8(static)").variant_.runtime == "inductor"
    with pytest.raises(UserError, match="openvino does not execute int8 dynamic; use eager or onnxruntime"):
        fitted.compress("int8(dynamic)").to("openvino")


@pytest.mark.parametrize("lengths", ["equal", "unequal"])
def test_an_export_is_read_and_predicts_the_same(fitted: TransformerClassifier, tmp_path: Path, lengths: str) -> None:
    series, y = (X, Y) if lengths == "equal" else unequal()
    classifier = fitted if lengths == "equal" else TransformerClassifier(SIZE, epochs=1, random_state=0).fit(series, y)
    classifier.export(tmp_path / "model")
    loaded = tsc_lib.load(tmp_path / "model")
    assert loaded.classes_.tolist() == classifier.classes_.tolist()
    assert loaded.predict(series).tolist() == classifier.predict(series).tolist()
    np.testing.assert_allclose(loaded.predict_proba(series), classifier.predict_proba(series), atol=1e-6)
    card = (tmp_path / "model" / "model_card.md").read_text()
    assert "Neither accuracy nor time nor energy was measured" in card and "arXiv" not in card
    classifier.export(tmp_path / "model")  # replaces its own
    (tmp_path / "model" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"notes\.txt, which no export wrote"):
        classifier.export(tmp_path / "model")


def test_what_cannot_be_classified_is_told(fitted: TransformerClassifier, tmp_path: Path) -> None:
    fitted.export(tmp_path / "model")
    for model in (fitted, tsc_lib.load(tmp_path / "model")):
        with pytest.raises(UserError, match="series 1 has 30 time steps"):
            model.predict(np.zeros((2, 1, 30)) + np.arange(30))
        with pytest.raises(UserError, match="series 2: value 3 of channel 1 is infinite"):
            model.predict(np.where(np.arange(48).reshape(2, 1, 24) == 26, np.inf, X[:2]))
    loaded = tsc_lib.load(tmp_path / "model")
    with pytest.raises(UserError, match=r"has 2 channel\(s\), but the model reads 1"):
        loaded.predict(np.zeros((1, 2, 24)))
    with pytest.raises(UserError, match="X must hold series"):
        loaded.predict([])
    with pytest.raises(UserError, match="unknown model 'T9'"):
        TransformerClassifier("T9").fit(X, Y)
    with pytest.raises(UserError, match="validation fraction"):
        TransformerClassifier(SIZE, valid_fraction=1.0).fit(X, Y)


@pytest.mark.measures
def test_variants_are_compared_on_a_test_set(fitted: TransformerClassifier) -> None:
    settings = BenchmarkSettings(batch_sizes=(1, 32), series=32, blocks=5, min_window_s=0.005, warmup_s=0.01)
    x, y = load_classification("ItalyPowerDemand", split="test")
    table = tsc_lib.compare([fitted, fitted.compress("prune(l1, 0.5)")], x, y, settings)
    assert table.name.tolist() == ["baseline in eager"] * 2 + ["prune(l1, 0.5) in eager"] * 2
    assert table.batch_size.tolist() == [1, 32] * 2 and set(table.status) == {"ok"}
    assert table.accuracy[0] == (fitted.predict(x) == y).mean()
    for value in ("accuracy", "cpu_ratio", "energy_ratio"):
        assert (table[f"{value}_low"] <= table[value]).all() and (table[value] <= table[f"{value}_high"]).all()
    assert (table.cpu_ratio[:2] == 1).all() and (table.accuracy_drop[:2] == 0).all()
    assert (table[["cpu_ms_per_sample", "energy_mj_per_sample"]] > 0).all(axis=None)


def test_what_cannot_be_compared_is_told(fitted: TransformerClassifier) -> None:
    with pytest.raises(UserError, match="same recipe and runtime; name them"):
        tsc_lib.compare([fitted, fitted], X, Y)
    other = TransformerClassifier(SIZE, epochs=1, scaling="series").fit(X, Y)
    with pytest.raises(UserError, match="one scaling"):
        tsc_lib.compare({"a": fitted, "b": other}, X, Y)
    with pytest.raises(UserError, match="nothing to compare"):
        tsc_lib.compare([], X, Y)
    with pytest.raises(NotFittedError):
        tsc_lib.compare([fitted, TransformerClassifier(SIZE)], X, Y)
    with pytest.raises(UserError, match=f"X holds {len(X)} series and y 5 labels"):
        tsc_lib.compare([fitted], X, Y[:5])
    with pytest.raises(UserError, match="no label in y is among those that the classifiers know, such as '1'"):
        tsc_lib.compare([fitted], X, Y.astype(int))


def test_the_package_is_light_until_its_names_are_used() -> None:
    script = "import sys, tsc_lib; dir(tsc_lib); tsc_lib.load; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert {"torch", "aeon", "pandas", "sklearn"} & set(done.stdout.split()) == set()
    assert {"EnergyMeter", "TransformerClassifier", "compare", "load", "__version__"} <= set(dir(tsc_lib))
    with pytest.raises(AttributeError, match="'tsc_lib' has no attribute 'nothing'"):
        _ = tsc_lib.nothing
