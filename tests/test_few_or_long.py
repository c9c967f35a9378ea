"""Data sets with one series a class, and with series that patches of the usual length cannot reach the end of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic import waves, write_data

from tsc_lib import TransformerClassifier, data
from tsc_lib.analysis import data_tables, findings
from tsc_lib.benchmark import BenchmarkSettings
from tsc_lib.compress import Variant
from tsc_lib.core import store
from tsc_lib.core.errors import UserError
from tsc_lib.core.store import StageFailed
from tsc_lib.data import describe
from tsc_lib.models import embedding, zoo
from tsc_lib.search.request import SearchRequest
from tsc_lib.search.trials import Search
from tsc_lib.study import Study, layer_sensitivity, stages
from tsc_lib.study.profiles import Profile
from tsc_lib.study.sections import DataChoice


def a_study(folder: str) -> Study:
    """A study of T1, trained for two epochs on one data set and measured in no time."""
    quick = BenchmarkSettings(batch_sizes=(1,), series=1, blocks=3, min_window_s=0.001, warmup_s=0.0)
    variants = {"baseline": ("eager",)}
    choices = (DataChoice(folder),)
    return Study(Profile("made", choices, ("T1",), (0,), variants, train={"epochs": 2}, benchmark=quick))


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for data, beside a store of its own."""
    monkeypatch.setattr(store, "OUTPUTS", tmp_path / "outputs")
    return tmp_path


def one_each(folder: Path) -> str:
    """Four classes with one training series each."""
    return write_data(folder, [w for y in "abcd" for w in waves(1, y)], [w for y in "abcd" for w in waves(2, y, 1)])


@pytest.mark.sessions
def test_classes_of_one_series_are_trained_to_the_last_epoch(outputs: Path) -> None:
    study = a_study(one_each(outputs / "each"))
    [run] = study.runs
    dataset = study.datasets["each"]
    assert (len(dataset.train), len(dataset.valid), len(dataset.test)) == (4, 0, 8)
    assert findings.remarks(dataset)[0].startswith("No class has two different training series, so none is held out")
    assert describe(dataset).valid[0] == 0
    counts = data_tables.class_counts(study.datasets)
    assert counts[counts.split == "valid"].series.eq(0).all()
    history = study.histories()
    assert history.valid_accuracy.isna().all() and history.best.tolist() == [False, True]
    assert len(study.train(run)) == 2
    table = study.results()
    assert "no validation series, so the last epoch, 2, is kept" in findings.learning(history, table)


@pytest.mark.parametrize(
    "recipe",
    [
        "prune(taylor, 0.5) > finetune(2)",
        "student(1, 2, 16, 16) > distill(2)",
        "gradual(l1, 0.5, steps=2)",
        "drop(0.5, 2)",
        "int8(dynamic)",
    ],
)
def test_recipes_work_without_validation_series(outputs: Path, recipe: str) -> None:
    [run] = a_study(one_each(outputs / "each")).runs
    assert len(stages.evaluate(run, Variant.parse(recipe, "eager")).predicted) == 8


def test_static_int8_calibrates_and_is_looked_into_without_validation_series(outputs: Path) -> None:
    [run] = a_study(one_each(outputs / "each")).runs
    assert len(stages.evaluate(run, Variant.parse("int8(static)", "onnxruntime")).predicted) == 8
    assert layer_sensitivity.load_sensitivity(run)


def test_what_validation_series_decide_is_refused_without_them(outputs: Path) -> None:
    folder = one_each(outputs / "each")
    [run] = a_study(folder).runs
    with pytest.raises(StageFailed, match=r"validation series choose .* this data set has none: no class has two"):
        stages.evaluate(run, Variant.parse("exits(3)", "eager"))
    with pytest.raises(UserError, match="a search is decided on validation series, and each has none: no class has"):
        Search(SearchRequest(folder))


def test_a_class_of_one_series_is_trained_on(outputs: Path) -> None:
    train = waves(6, "a") + waves(6, "b") + waves(1, "c")
    dataset = data.load(data.resolve(write_data(outputs / "rare", train, waves(2, "c", 1))))
    assert np.bincount(dataset.train.y, minlength=3)[2] == 1 and 2 not in dataset.valid.y
    (told,) = findings.remarks(dataset)
    assert told == "Class c is without a validation series, for want of a second training series."


def test_the_estimator_is_fitted_on_one_series_a_class(tmp_path: Path) -> None:
    x, y = zip(*[w for label in "abcd" for w in waves(1, label)], strict=True)
    classifier = TransformerClassifier(epochs=1, random_state=0).fit(np.stack(x), np.array(y))
    assert set(classifier.predict(np.stack(x))) <= set("abcd")
    classifier.export(tmp_path / "model")
    assert "the last epoch was kept" in (tmp_path / "model" / "model_card.md").read_text()


# Long series


@pytest.mark.parametrize(
    ("longest", "patch"), [(1, 8), (8 * 1025 - 1, 8), (8 * 1025, 16), (16 * 1025, 32), (10**6, 1024)]
)
def test_patches_are_doubled_until_the_longest_series_fits(longest: int, patch: int) -> None:
    config = zoo.configure("T1", 1, 2, longest)
    assert config.embedding.patch == patch and config.embedding.length_limits[1] >= longest


@pytest.fixture
def few_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions for eight tokens, so that 72 time steps are too many for patches of 8."""
    monkeypatch.setattr(embedding, "MAX_TOKENS", 8)


@pytest.mark.usefixtures("few_tokens")
def test_long_series_are_read_in_longer_patches_and_that_is_said(outputs: Path) -> None:
    long = [w for y in "ab" for w in waves(4, y, length=80)]
    [run] = (study := a_study(write_data(outputs / "long", long, long[:2]))).runs
    for recipe in ("baseline", "patch(32)", "student(1, 2, 16, 16, 16) > distill(1)", "prune(l1, 0.5)"):
        assert len(stages.evaluate(run, Variant.parse(recipe, "eager")).predicted) == 2
    told = findings.remarks(study.datasets["long"])[-1]
    assert "The longest series has 80 time steps" in told and "T1 and T2 read it in patches of 16" in told
    with pytest.raises(UserError, match="in patches of 8 a model reads 71 at most; take patches of 16 time steps"):
        stages.evaluate(run, Variant.parse("student(1, 2, 16, 16) > distill(1)", "eager"))


@pytest.mark.usefixtures("few_tokens")
def test_the_estimator_reads_long_series_in_longer_patches() -> None:
    x, y = zip(*[w for label in "ab" for w in waves(4, label, length=200)], strict=True)
    classifier = TransformerClassifier(epochs=1, random_state=0).fit(np.stack(x), np.array(y))
    assert classifier.model_.network.config.embedding.patch == 32
