"""Distillation: the teacher's logits, the loss by the book, new students, and runs that were killed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from interrupted import resumed

from tsc_lib import data
from tsc_lib.compress import Recipe, TrainingContext, apply
from tsc_lib.compress.features import MAP, FeatureLoss, read_features
from tsc_lib.core.errors import UserError
from tsc_lib.data import Split
from tsc_lib.models.compressed import CompressedModel, load_model, save_model
from tsc_lib.models.transformer import LayerConfig
from tsc_lib.models.zoo import build
from tsc_lib.study import stages
from tsc_lib.study.specs import TrainingRun
from tsc_lib.training import TrainingBatch, TrainSpec, classify, make_loss, make_predictor


@pytest.fixture
def teacher() -> CompressedModel:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return CompressedModel(build("T1", 1, 2).eval(), reference_length=24)


@pytest.fixture
def context(teacher: CompressedModel) -> TrainingContext:
    dataset = data.load(data.resolve("ItalyPowerDemand"))
    return TrainingContext(dataset.train, dataset.valid, True, TrainSpec(batch_size=16), seed=0, teacher=teacher)


def logits_of(model: CompressedModel, context: TrainingContext) -> np.ndarray:
    return classify(make_predictor(model.network), context.train, True)


def test_the_loss_is_hintons() -> None:
    rng = np.random.default_rng(0)
    teacher, student, target = rng.normal(size=(6, 3)), rng.normal(size=(4, 3)), rng.integers(0, 3, 6)
    index = np.array([5, 0, 3, 2])

    def softmax(z: np.ndarray) -> np.ndarray:
        return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)

    p, q = softmax(teacher[index] / 3), softmax(student / 3)
    soft = 9 * (p * np.log(p / q)).sum(axis=1).mean()
    hard = -np.log(softmax(student)[range(4), target[index]]).mean()
    logits = torch.from_numpy(teacher)
    loss = make_loss(lambda batch: logits[batch.index], torch.from_numpy(target), 3.0, 0.3)
    found = loss(torch.from_numpy(student), TrainingBatch(torch.empty(0), None, torch.from_numpy(index)))
    assert found.item() == pytest.approx(0.3 * soft + 0.7 * hard)


def test_the_teacher_alone_draws_the_logits_to_its_own(teacher: CompressedModel, context: TrainingContext) -> None:
    pruned = apply(teacher, "prune(l1, 0.8)", context)
    learned = apply(pruned, "distill(20, weight=1)", context)
    there = logits_of(teacher, context)
    before, after = (np.square(logits_of(m, context) - there).mean() for m in (pruned, learned))
    assert after < 0.25 * before


def test_with_the_teacher_alone_the_classes_of_train_do_not_matter(
    teacher: CompressedModel, context: TrainingContext
) -> None:
    turned = dataclasses.replace(context, train=Split(context.train.x, 1 - context.train.y))
    one, two = (apply(teacher, "prune(l1, 0.5) > distill(2, weight=1)", m) for m in (context, turned))
    np.testing.assert_array_equal(logits_of(one, context), logits_of(two, context))


def test_distillation_is_deterministic_and_goes_on_where_it_was(
    teacher: CompressedModel, context: TrainingContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pruned = apply(teacher, "prune(l1, 0.5)", context)
    whole, again = (apply(pruned, "distill(3)", context) for _ in range(2))
    np.testing.assert_array_equal(logits_of(whole, context), logits_of(again, context))
    later = resumed(pruned, "distill(3)", context, tmp_path, monkeypatch)
    np.testing.assert_array_equal(logits_of(later, context), logits_of(whole, context))
    assert len(later.evidence[-1].details["history"]) == 3


def class_tokens(model: CompressedModel, context: TrainingContext) -> np.ndarray:
    """Layer-normed, as the loss compares them, of the training series."""
    features = torch.from_numpy(classify(read_features(model.network), context.train, True))
    return torch.nn.functional.layer_norm(features, (32,)).numpy()


def test_without_a_weight_on_features_nothing_is_new(teacher: CompressedModel, context: TrainingContext) -> None:
    pruned = apply(teacher, "prune(l1, 0.5)", context)
    plain = apply(pruned, "distill(2)", context)
    silent = apply(pruned, "distill(2, 2, 0.5, 0.0005, 0)", context)
    assert silent.evidence[-1].step == plain.evidence[-1].step == "distill(2)"
    np.testing.assert_array_equal(logits_of(silent, context), logits_of(plain, context))
    guided = apply(pruned, "distill(2, features=1)", context)
    assert guided.evidence[-1].step == "distill(2, 2.0, 0.5, 0.0005, 1.0)"
    assert not np.array_equal(logits_of(guided, context), logits_of(plain, context))
    assert sorted(guided.network.state_dict()) == sorted(plain.network.state_dict())


def test_the_teacher_itself_has_no_loss_of_features_and_another_has_its_mean_square(
    teacher: CompressedModel, context: TrainingContext
) -> None:
    index = torch.tensor([5, 0, 3])
    x = torch.from_numpy(np.stack([context.train.x[i] for i in index]))
    pruned = apply(teacher, "prune(l1, 0.5)", context)
    apart = class_tokens(pruned, context)[index] - class_tokens(teacher, context)[index]
    for model, expected in ((teacher, 1.0), (pruned, 1 + 3 * np.square(apart).mean())):
        asked = context.ask(read_features(teacher.network))
        loss = FeatureLoss(model.network, asked, 32, lambda logits, batch: torch.tensor(1.0), 3.0, seed=0)
        with torch.no_grad():
            found = loss(model.network(x), TrainingBatch(x, None, index))
        loss.hook.remove()
        assert found.item() == pytest.approx(expected, rel=1e-4)


def test_features_draw_the_class_token_to_the_teachers(teacher: CompressedModel, context: TrainingContext) -> None:
    pruned = apply(teacher, "prune(l1, 0.8)", context)
    there = class_tokens(teacher, context)
    recipes = ("distill(8)", "distill(8, features=5)")
    plain, guided = (np.square(class_tokens(apply(pruned, r, context), context) - there).mean() for r in recipes)
    assert guided < 0.8 * plain


def test_a_narrow_student_learns_features_through_a_map_and_goes_on_where_it_was(
    teacher: CompressedModel, context: TrainingContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = apply(teacher, "student(1, 2, 16, 16)", context)
    whole, again = (apply(student, "distill(3, features=1)", context) for _ in range(2))
    np.testing.assert_array_equal(logits_of(whole, context), logits_of(again, context))
    save_model(whole, tmp_path)
    assert not [name for name in load_model(tmp_path).network.state_dict() if MAP in name]
    assert not whole.network.layers[-1]._forward_hooks
    later = resumed(student, "distill(3, features=1)", context, tmp_path, monkeypatch)
    np.testing.assert_array_equal(logits_of(later, context), logits_of(whole, context))


def test_masked_rows_stay_zero_under_distillation(teacher: CompressedModel, context: TrainingContext) -> None:
    masked = apply(teacher, "mask(l1, 0.5)", context)
    learned = apply(masked, "distill(1)", context)
    expand = learned.network.layers[0].feed_forward.expand.weight
    was = masked.network.layers[0].feed_forward.expand.weight
    assert torch.equal((expand == 0).all(1), (was == 0).all(1)) and (was == 0).all(1).sum() == 128


def test_of_augmented_series_the_teacher_is_asked_batch_by_batch(
    teacher: CompressedModel, context: TrainingContext
) -> None:
    predict = make_predictor(teacher.network)
    x = np.stack(context.train.x[:3])
    batch = TrainingBatch(torch.from_numpy(x + 1), None, torch.arange(3))
    for augment, seen in (("", x), ("noise", x + 1)):
        asked = dataclasses.replace(context, settings=TrainSpec(batch_size=16, augment=augment)).ask(predict)
        np.testing.assert_allclose(asked(batch).numpy(), predict(seen, None), atol=1e-5)


def test_distillation_needs_a_teacher(teacher: CompressedModel, context: TrainingContext) -> None:
    with pytest.raises(UserError, match="the context has none; give it a teacher"):
        apply(teacher, "distill(1)", dataclasses.replace(context, teacher=None))
    with pytest.raises(UserError, match="distill works on fp32 weights, but the model is int8 dynamic"):
        apply(teacher, "int8(dynamic) > distill(1)", context)


def test_a_student_is_new_small_and_the_seeds(teacher: CompressedModel, context: TrainingContext) -> None:
    recipe = "student(2, 4, 64, 16, 4)"
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    student = apply(teacher, recipe, context)
    assert torch.equal(torch.rand(1), expected)  # the generator of whoever calls is left alone
    config = student.network.config
    assert (config.layers, config.d_model, config.head_dim) == ((LayerConfig(4, 64),) * 2, 16, 4)
    assert (config.embedding.patch, config.d_hidden, config.channels, config.classes) == (4, 64, 1, 2)
    np.testing.assert_array_equal(logits_of(student, context), logits_of(apply(teacher, recipe, context), context))
    other = apply(teacher, recipe, dataclasses.replace(context, seed=1))
    assert not np.array_equal(logits_of(student, context), logits_of(other, context))
    long = Split([np.zeros((1, 1025), np.float32)] * 2, np.array([0, 1]))
    with pytest.raises(
        UserError, match="has 1025 time steps, and in patches of 1 a model reads 1024 at most; take patches of 2"
    ):
        apply(teacher, "student(patch=1)", dataclasses.replace(context, train=long))
    with pytest.raises(UserError, match="a student starts in fp32, but the model is int8 dynamic"):
        apply(teacher, "int8(dynamic) > student", context)


def test_only_a_student_from_scratch_warms_up(
    teacher: CompressedModel, context: TrainingContext, tmp_path: Path
) -> None:
    """Adam's first step is the learning rate in size: a fiftieth of it where the warm-up takes fifty steps."""
    one_step = TrainSpec(batch_size=len(context.train), warmup_steps=50)
    context = dataclasses.replace(context, settings=one_step)
    fresh = apply(teacher, "student", context)
    save_model(fresh, tmp_path)
    for model, share in ((load_model(tmp_path), 0.02), (fresh, 0.02), (teacher, 1.0)):
        for recipe in ("finetune(1, 0.001)", "distill(1, learning_rate=0.001)"):
            moved = apply(apply(model, "prune(l1, 0.5)", context), recipe, context)
            start = apply(model, "prune(l1, 0.5)", context).network.classify.bias
            step = (moved.network.classify.bias - start).abs().max().item()
            assert step == pytest.approx(0.001 * share, rel=0.02)
            assert moved.trained


def test_the_stage_teaches_by_the_uncompressed_model_of_the_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tsc_lib.core.store.OUTPUTS", tmp_path)
    unit = TrainingRun(data.resolve("ItalyPowerDemand"), "T1", TrainSpec(epochs=1), 3)
    _, uncompressed = stages.compress_model(unit, Recipe.parse("baseline"))
    taught: list[np.ndarray] = []

    def seen(predict, split, equal_length):
        taught.append(classify(predict, split, equal_length))
        return taught[-1]

    monkeypatch.setattr("tsc_lib.compress.context.classify", seen)
    folder, made = stages.compress_model(unit, Recipe.parse("student(1, 2, 8, 16) > distill(1)"))
    dataset = data.load(unit.data)
    [logits] = taught
    np.testing.assert_array_equal(logits, classify(make_predictor(uncompressed.network), dataset.train, True))
    assert [e.step for e in made.evidence] == ["student(1, 2, 8, 16)", "distill(1)"]
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.safetensors", "record.json"]


def test_a_patch_that_is_too_short_for_the_test_set_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsc_lib.core.store.OUTPUTS", tmp_path / "outputs")
    rng = np.random.default_rng(0)
    folder = tmp_path / "Toy"
    folder.mkdir()
    for part, shortest in (("TRAIN", 20), ("TEST", 1030)):
        lines = ["@problemname Toy", "@univariate true", "@equallength false", "@classlabel true 1 2", "@data"]
        for i in range(24):
            values = ",".join(f"{v:.3f}" for v in rng.normal(size=shortest + i))
            lines.append(f"{values}:{1 + i % 2}")
        (folder / f"Toy_{part}.ts").write_text("\n".join(lines) + "\n")
    unit = TrainingRun(data.resolve(str(folder)), "T1", TrainSpec(epochs=1), 0)
    with pytest.raises(UserError, match="a test series of Toy has 1030 time steps, but the model reads between 1 and"):
        stages.compress_model(unit, Recipe.parse("student(1, patch=1)"))
