"""Teachers: out of fold, calibrated, deterministic, and their labels reach the student."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tsc_lib import data
from tsc_lib.compress import Recipe, TrainingContext, apply
from tsc_lib.core.errors import UserError
from tsc_lib.core.files import read_json
from tsc_lib.data import Split, make_folds
from tsc_lib.models.compressed import CompressedModel
from tsc_lib.models.embedding import PatchEmbeddingConfig
from tsc_lib.models.transformer import LayerConfig, Transformer, TransformerConfig
from tsc_lib.study import stages
from tsc_lib.study.specs import TrainingRun
from tsc_lib.study.teaching import compare_teachers
from tsc_lib.training import Epoch, Pool, TrainingBatch, TrainSpec, fit, make_loss, make_pool, read_labels, teachers
from tsc_lib.training.matching import LABELS
from tsc_lib.training.teachers import FOLDS, Committee, Network, find_taught, find_temperature, fit_out_of_fold

CLASSES = 3


@pytest.fixture
def train() -> Split:
    """Series that are told apart by their first value, which no augmentation here changes the sign of."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % CLASSES
    return Split([rng.normal(size=(1, 12)).astype(np.float32) for _ in y], y)


class Memory:
    """A classic that knows its training series by heart, and those near them, and nothing else."""

    def __init__(self, part: Split) -> None:
        self.x, self.y = np.stack(part.x), part.y

    def __call__(self, x: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        logits = np.zeros((len(x), CLASSES))
        for row, one in zip(logits, x, strict=True):
            near = np.square(self.x - one).sum(axis=(1, 2))
            if near.min() < 1:
                row[self.y[near.argmin()]] = 50
        return logits


def small() -> Transformer:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return Transformer(TransformerConfig(1, CLASSES, PatchEmbeddingConfig(4), 8, 4, (LayerConfig(2, 8),), 8))


NOISY = TrainSpec(augment="noise(0.01)", versions=3)
MIXED = TrainSpec(augment="noise(0.01)", mixing=0.3, versions=3)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(name: str, x: list[np.ndarray], y: np.ndarray, seed: int, classes: int) -> Memory:
        return Memory(Split(x, y))

    monkeypatch.setattr(teachers, "CLASSICS", {"Memory": None, **teachers.CLASSICS})
    monkeypatch.setattr(teachers, "fit_classic", fit)


def pool_of(train: Split, teacher: str = "Memory", spec: TrainSpec = NOISY, folder: Path | None = None) -> Pool:
    return make_pool(teacher, train, spec, 0, classes=CLASSES, equal_length=True, folder=folder)


@pytest.mark.parametrize("spec", [NOISY, MIXED, TrainSpec()])
def test_what_a_teacher_memorised_does_not_reach_the_labels(memory: None, train: Split, spec: TrainSpec) -> None:
    """Every member is certain of what it was fitted on: not one label may be other than a shrug."""
    pool = pool_of(train, spec=spec)
    np.testing.assert_allclose(pool.taught, 1 / CLASSES, atol=1e-6)
    assert len(pool.versions) == (3 if spec.changes_series else 1)
    if spec is NOISY:  # a teacher that was fitted on everything knows every version
        leaky = Memory(train)
        assert all((leaky(np.stack(version.x)).argmax(1) == train.y).all() for version in pool.versions)


def test_both_series_of_a_mixture_lie_in_one_fold(memory: None, train: Split) -> None:
    pool, folds = pool_of(train, spec=MIXED), make_folds(train.x, train.y, FOLDS)
    for version in pool.versions:
        np.testing.assert_array_equal(folds[version.partner], folds)
        assert (version.partner != np.arange(len(train))).sum() > 40


def test_a_label_depends_on_no_class_of_its_own_fold(train: Split) -> None:
    """Classes within a fold are permuted: its own labels stay, bit for bit, whatever else changes."""
    folds = make_folds(train.x, train.y, FOLDS)
    y = train.y.copy()
    y[folds == 1] = (y[folds == 1] + 1) % CLASSES
    before, after = (
        fit_out_of_fold(Memory, Split(train.x, each), folds, equal_length=True, calibrate=False)
        for each in (train.y, y)
    )
    x = np.stack(train.x)
    np.testing.assert_array_equal(before(x[folds == 1], None, 1), after(x[folds == 1], None, 1))
    assert not np.array_equal(before(x[folds == 1], None, 0), after(x[folds == 1], None, 0))


@pytest.mark.parametrize(
    ("spec", "most", "versions", "fitted"),
    [(MIXED, 1000, 3, 60), (MIXED, 130, 3, 43), (TrainSpec(), 1000, 1, 60), (TrainSpec(), 50, 1, 50)],
)
def test_classics_are_fitted_on_augmented_series_too_and_on_a_part_of_many(
    train: Split, monkeypatch: pytest.MonkeyPatch, spec: TrainSpec, most: int, versions: int, fitted: int
) -> None:
    seen: list[np.ndarray] = []

    def fit(name: str, x: list[np.ndarray], y: np.ndarray, seed: int, classes: int) -> Memory:
        seen.append(np.stack(x))
        return Memory(Split(x, y))

    monkeypatch.setattr(teachers, "fit_classic", fit)
    monkeypatch.setattr("tsc_lib.training.matching.MOST", most)
    pool_of(train, "QUANT", spec)
    assert len(seen) == FOLDS and sum(len(x) for x in seen) == (FOLDS - 1) * versions * fitted
    others = seen[0].reshape(versions, -1, 12) - seen[0][: len(seen[0]) // versions, 0]
    assert np.abs(others).max() < 0.1  # noise, and no mixtures, whose class is not one


def test_copies_of_a_series_teach_each_other_nothing(memory: None, train: Split) -> None:
    twice = Split(train.x + train.x, np.concatenate([train.y, train.y]))
    np.testing.assert_allclose(pool_of(twice).taught, 1 / CLASSES, atol=1e-6)


def test_series_of_a_class_that_no_other_fold_has_keep_their_class(memory: None, train: Split) -> None:
    y = train.y.copy()
    y[:] = y % 2
    y[7] = 2
    folds = make_folds(train.x, y, FOLDS)
    assert np.flatnonzero(~find_taught(y, folds)).tolist() == [7]
    assert not find_taught(y, folds, np.flatnonzero(y != 1))[y == 1].any(), "fitted on a part without that class"
    assert not find_taught(y, folds, np.flatnonzero(folds != 2))[folds == 2].any(), "that fold has no member"
    pool = pool_of(Split(train.x, y), spec=TrainSpec())
    assert len(pool.versions) == 1 and pool.taught[0, 7].tolist() == [0, 0, 1]
    assert (pool.teaching.labelled, pool.teaching.left_out) == (len(y) - 1, 1)
    alone = pool_of(Split(train.x[:3], np.arange(3)), spec=TrainSpec())
    assert alone.taught[0].tolist() == np.eye(3).tolist()


def test_the_temperature_is_that_of_the_classes() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 3))
    p = np.exp(logits / 0.5)
    y = (p / p.sum(1, keepdims=True)).cumsum(1) > rng.uniform(size=(20_000, 1))
    assert find_temperature(logits, y.argmax(1)) == pytest.approx(0.5, rel=0.05)
    assert find_temperature(10 * logits, y.argmax(1)) == pytest.approx(5, rel=0.05)


def test_a_committee_gives_the_mean_of_its_members_probabilities() -> None:
    one, two = (lambda x, lengths, v=v: np.tile(np.log(np.array(v)), (len(x), 1)) for v in ([0.9, 0.1], [0.3, 0.7]))
    x = np.zeros((2, 1, 4), np.float32)
    np.testing.assert_allclose(Committee([Network(one), Network(two)])(x, None, 0), [[0.6, 0.4]] * 2)


def test_classics_label_out_of_fold_and_the_same_each_time(train: Split, tmp_path: Path) -> None:
    shifted = Split([x + 2 * y for x, y in zip(train.x, train.y, strict=True)], train.y)
    pool, again = (pool_of(shifted, "QUANT", folder=folder) for folder in (tmp_path, None))
    np.testing.assert_array_equal(pool.taught, again.taught)
    np.testing.assert_allclose(pool.taught.sum(axis=2), 1, rtol=1e-5)
    assert (pool.taught.argmax(axis=2) == shifted.y).mean() > 0.7
    assert pool.teaching.fit_cpu_seconds > 0 and pool.teaching.label_cpu_seconds > 0


def test_stored_labels_are_read_and_no_teacher_is_fitted(
    memory: None, train: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pool_of(train, folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [LABELS]
    monkeypatch.setattr(teachers, "fit_classic", None)
    again = pool_of(train, folder=tmp_path)
    assert again.teaching == first.teaching
    one, two = (pool.draw(np.array([5, 0]), np.random.default_rng(3)) for pool in (first, again))
    for a, b in zip(one, two, strict=True):
        assert (a is None and b is None) or torch.equal(a, b)
    assert len({first.draw(np.array([1]), np.random.default_rng(i)).x.numpy().tobytes() for i in range(20)}) == 3


def test_a_student_of_a_pool_is_the_same_each_time_and_after_a_kill(memory: None, train: Split, tmp_path: Path) -> None:
    def learn(checkpoint: Path | None, stop_after: int = 0) -> Transformer:
        model = small()

        def stop(history: list[Epoch]) -> None:
            if len(history) == stop_after:
                raise KeyboardInterrupt

        loss = make_loss(read_labels, torch.from_numpy(train.y), 1.0, 0.5)
        spec = replace(NOISY, epochs=3, batch_size=16)
        options = {"equal_length": True, "checkpoint": checkpoint, "watch": stop}
        fit(model, train, train, spec, 0, loss=loss, pool=pool_of(train, folder=tmp_path), **options)
        return model

    whole = learn(None)
    with pytest.raises(KeyboardInterrupt):
        learn(tmp_path / "checkpoint.safetensors", stop_after=1)
    resumed = learn(tmp_path / "checkpoint.safetensors")
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())


def test_the_loss_with_the_teacher_alone_is_a_divergence(train: Split) -> None:
    p = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
    batch = TrainingBatch(torch.zeros(2, 1, 4), None, torch.tensor([0, 1]), taught=p)
    loss = make_loss(read_labels, torch.from_numpy(train.y), 1.0, 1.0)
    assert loss(p.log(), batch).item() == pytest.approx(0, abs=1e-6)
    uniform = torch.zeros(2, 3)
    assert loss(uniform, batch).item() == pytest.approx((p * (3 * p).log()).sum().item() / 2, rel=1e-5)


def test_recipes_name_teachers_and_old_recipes_keep_their_spelling() -> None:
    recipe = "student > distill(60, teacher = QUANT+MiniROCKET)"
    step = Recipe.parse(recipe).steps[1]
    assert str(step) == "distill(60, 2.0, 0.5, 0.0005, 0.0, QUANT+MiniROCKET)"
    assert Recipe.parse(str(Recipe.parse(recipe))) == Recipe.parse(recipe)
    assert str(Recipe.parse("distill(4, teacher=self)")) == "distill(4)"
    with pytest.raises(UserError, match="recipe 'distill\\(4, teacher=Quant\\)': unknown teacher 'Quant'"):
        Recipe.parse("distill(4, teacher=Quant)")
    with pytest.raises(UserError, match="only self has class tokens to learn from; give another teacher no features"):
        Recipe.parse("distill(4, features=1, teacher=QUANT)")
    with pytest.raises(UserError, match="unknown teacher 'quant'"):
        TrainSpec(teacher="quant")
    with pytest.raises(UserError, match="the teacher self is for compressed models"):
        TrainSpec(teacher="QUANT+self")


def test_a_step_tells_what_teaching_took(memory: None, train: Split) -> None:
    model = CompressedModel(small(), reference_length=12)
    context = TrainingContext(train, train, True, replace(NOISY, batch_size=16), seed=0)
    taught = apply(model, "distill(1, teacher=Memory)", context)
    teaching = taught.evidence[0].details["teaching"]
    assert (teaching["teacher"], teaching["labelled"], teaching["left_out"]) == ("Memory", 180, 0)
    assert min(teaching["fit_cpu_seconds"], teaching["label_cpu_seconds"]) >= 0


@pytest.mark.slow
def test_runs_share_labels_and_tell_their_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsc_lib.core.store.OUTPUTS", tmp_path)
    spec = replace(NOISY, epochs=2, teacher="QUANT")
    runs = [TrainingRun(data.resolve("ItalyPowerDemand"), f"T1(layers={n})", spec, 0) for n in (1, 2)]
    records = [read_json(stages.train(run)[0] / "record.json") for run in runs]
    assert len(list((tmp_path / "store" / "teach").iterdir())) == 1
    assert records[0]["teaching"] == records[1]["teaching"]
    [teaching] = records[0]["teaching"]
    assert teaching["teacher"] == "QUANT" and teaching["labelled"] == 3 * 53 and teaching["fit_cpu_seconds"] > 0
    _, model = stages.compress_model(runs[0], Recipe.parse("distill(1, teacher=QUANT)"))
    assert model.evidence[0].details["teaching"] == teaching
    assert len(list((tmp_path / "store" / "teach").iterdir())) == 1


@pytest.mark.slow
def test_the_table_tells_what_teaching_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsc_lib.core.store.OUTPUTS", tmp_path)
    spec = replace(NOISY, epochs=2)
    table = compare_teachers(["ItalyPowerDemand"], ["QUANT"], [1], "T1(layers=1)", spec)
    assert table.teacher.tolist() == ["none", "QUANT"] and table.valid_series.tolist() == [14, 14]
    assert (table.fit_cpu_seconds > 0).tolist() == (table.label_cpu_seconds > 0).tolist() == [False, True]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Quant", "unknown teacher 'Quant'; the teachers are self, .*QUANT"),
        ("QUANT+", "unknown teacher ''; the teachers are"),
        ("T2", "the teacher T2 is a trained network, and there is none here; take a classic"),
        ("QUANT+QUANT", "the teacher 'QUANT\\+QUANT' has 'QUANT' twice; leave one out"),
        ("self", "the teacher self is a trained network, and there is none here; take a classic"),
    ],
)
def test_a_bad_name_is_one_sentence(train: Split, name: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        pool_of(train, name)
