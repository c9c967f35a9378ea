"""Early exit: thresholds come from validation alone, and every series gets the logits of where it leaves."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tsc_lib import data, figures, runtimes
from tsc_lib.compress import NoEffect, Recipe, TrainingContext, Variant, apply
from tsc_lib.compress.early_exit import choose_threshold, decide_exits, fit_classifier, run_exits
from tsc_lib.core import store
from tsc_lib.core.errors import RuntimeUnavailable, UserError
from tsc_lib.data import Split
from tsc_lib.export import bundle
from tsc_lib.export.predict import predict
from tsc_lib.export.write import export
from tsc_lib.models.compressed import CompressedModel, count_macs, count_macs_by_exit, load_model, save_model
from tsc_lib.models.embedding import PatchEmbeddingConfig
from tsc_lib.models.transformer import EarlyExit, LayerConfig, Transformer, TransformerConfig
from tsc_lib.runtimes import convert
from tsc_lib.runtimes.cascade import CascadePredictor, confidence
from tsc_lib.runtimes.graph import InferenceTransformer
from tsc_lib.study import Study, stages
from tsc_lib.study import early_exit as leaving
from tsc_lib.study.operations import operations
from tsc_lib.study.profiles import load_profile
from tsc_lib.study.versions import STAGES
from tsc_lib.training import TrainSpec

CONFIG = TransformerConfig(
    2, 3, PatchEmbeddingConfig(8), 16, 4, tuple(map(LayerConfig, (4, 2, 3, 2), (32, 24, 16, 16))), 32
)


def split_of(seed: int, n: int = 60) -> Split:
    """Series of unequal lengths whose class is a frequency, more and less of it drowned in noise."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    x = []
    for label in y:
        steps = np.arange(rng.integers(16, 60))
        wave = np.sin(2 * np.pi * steps / (4, 6, 10)[label])
        x.append((wave + rng.normal(0, rng.uniform(0.1, 2), (2, len(steps)))).astype(np.float32))
    return Split(x, y)


@pytest.fixture(scope="module")
def context() -> TrainingContext:
    return TrainingContext(split_of(0, 240), split_of(1), False, TrainSpec(batch_size=16), seed=0)


@pytest.fixture(scope="module")
def model(context: TrainingContext) -> CompressedModel:
    torch.set_num_threads(1)
    torch.manual_seed(2)
    whole = CompressedModel(Transformer(CONFIG).eval(), reference_length=40)
    return apply(whole, "finetune(10, 0.003)", context)


@pytest.fixture(scope="module")
def early(model: CompressedModel, context: TrainingContext) -> CompressedModel:
    return apply(model, "merge(0.5, 1) > exits(1, 0) > exits(3, 0)", context)


def batch_of(split: Split) -> tuple[np.ndarray, np.ndarray]:
    [batch] = data.batches(Split(split.x[:17], split.y[:17]), 17, equal_length=False)
    return batch.x, batch.lengths


def at_threshold(model: CompressedModel, threshold: float) -> CompressedModel:
    config = model.network.config
    network = Transformer(
        dataclasses.replace(config, exits=tuple(EarlyExit(each.layer, threshold) for each in config.exits))
    )
    network.load_state_dict(model.network.state_dict())
    return dataclasses.replace(model, network=network.eval())


def test_the_evidence_says_who_leaves_where(early: CompressedModel, context: TrainingContext) -> None:
    details = early.evidence[-1].details
    assert details["layers"] == [1, 3] and details["thresholds"] == [
        each.threshold for each in early.network.config.exits
    ]
    _, logits = run_exits(early.network, context.valid, False)
    predicted, left = decide_exits(logits, details["thresholds"])
    assert details["valid_left"] == pytest.approx(np.bincount(left, minlength=3) / len(left))
    assert details["valid_accuracy"] == (predicted == context.valid.y).mean()
    assert 0 < details["valid_left"][0] < 1
    for step in early.evidence[-2:]:
        assert step.details["valid_accuracy"] >= step.details["valid_accuracy_before"] - 0.05
    macs = count_macs_by_exit(early.network, 40)
    assert details["macs"] == macs == sorted(macs) and macs[-1] == count_macs(early.network, 40)
    assert details["valid_macs"] == pytest.approx(np.dot(details["valid_left"], macs))
    counted = operations(early.network.config, 40, 1000, left=details["valid_left"])
    assert sum(o.macs for o in counted) / 1000 == pytest.approx(details["valid_macs"], rel=1e-6)
    assert sum(o.macs for o in operations(early.network.config, 40)) == macs[-1]


def test_the_network_itself_stays_as_it_was(model: CompressedModel, early: CompressedModel) -> None:
    after = early.network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in model.network.state_dict().items())


def test_an_exit_is_the_classifier_that_logistic_regression_finds() -> None:
    rng = np.random.default_rng(0)
    for classes in (2, 3):
        y = rng.integers(0, classes, 200)
        x = rng.normal(size=(200, 4)).astype(np.float32)
        x[:, 0] += y
        weight, bias = fit_classifier(x, y, classes + 1)  # a class that train lacks is never given
        guess = (x @ weight.T + bias).argmax(1)
        assert (guess == y).mean() > 1 / classes + 0.1 and guess.max() < classes


def test_the_lowest_threshold_that_costs_no_more_than_tolerated() -> None:
    sure = np.array([0.99, 0.95, 0.9, 0.85, 0.8, 0.7])
    logits = np.log(np.stack([sure, 1 - sure], axis=1))
    before, truth = np.zeros(6, int), np.array([0, 0, 0, 0, 0, 0])
    wrong = logits.copy()
    wrong[[1, 4]] = wrong[[1, 4]][:, ::-1]
    reaching = np.array([True, True, True, True, True, False])

    def threshold(tolerance: float) -> float:
        return choose_threshold(wrong, before, truth, reaching, tolerance)

    assert threshold(0) == pytest.approx(0.97, abs=1e-6)  # the second would be wrong
    assert threshold(17) == pytest.approx(0.825, abs=1e-6)  # one in six may be
    assert threshold(34) == pytest.approx(0.65, abs=1e-6)  # half way to what no confidence is below
    assert choose_threshold(wrong[1:2], before[1:2], truth[1:2], reaching[1:2], 0) is None


def test_validation_alone_decides_the_threshold(model: CompressedModel, context: TrainingContext) -> None:
    turned = Split(context.valid.x, (context.valid.y + 1) % 3)
    one = apply(model, "exits(2, 1)", context).network
    two = apply(model, "exits(2, 1)", dataclasses.replace(context, valid=turned)).network
    torch.testing.assert_close(one.exits[0].weight, two.exits[0].weight, rtol=0, atol=0)
    assert one.config.exits != two.config.exits


@pytest.mark.compiles
@pytest.mark.parametrize("runtime", ["eager", "onnxruntime", "openvino"])
@pytest.mark.parametrize("equal_length", [True, False])
def test_every_runtime_gives_the_logits_of_where_a_series_leaves(
    early: CompressedModel, context: TrainingContext, tmp_path: Path, runtime: str, equal_length: bool
) -> None:
    x, lengths = batch_of(context.valid)
    if equal_length:
        x, lengths = np.ascontiguousarray(x[:, :, :40]), None
        series = Split(list(x), context.valid.y[: len(x)])
    else:
        series = Split(context.valid.x[:17], context.valid.y[:17])
    _, at_exits = run_exits(early.network, series, equal_length)
    thresholds = [each.threshold for each in early.network.config.exits]
    _, left = decide_exits(at_exits, thresholds)
    index = np.arange(len(x)) if equal_length else None
    deployed = convert.convert(early, runtime, tmp_path, equal_length=equal_length)
    network = early.network if runtime == "eager" else InferenceTransformer(early.network, attention="operator")
    assert deployed.fp32_ops == sum(isinstance(m, torch.nn.Linear) for m in network.modules())  # the exits' too
    predictor = runtimes.load(tmp_path, runtime)
    together = predictor(x, lengths)
    if index is None:
        [batch] = data.batches(series, 17, equal_length=False)
        index = batch.index
    expected = at_exits[left, np.arange(len(left))][index]
    np.testing.assert_allclose(together, expected, atol=1e-5)
    assert predictor.left.tolist() == np.bincount(left, minlength=3).tolist() and len(set(left)) > 1
    for rows in (slice(0, 1), slice(4, 5), slice(3, 10)):
        own = None if lengths is None else lengths[rows]
        np.testing.assert_allclose(predictor(x[rows], own), expected[rows], atol=1e-5)


def test_above_a_threshold_of_one_nothing_leaves(
    early: CompressedModel, context: TrainingContext, tmp_path: Path
) -> None:
    x, lengths = batch_of(context.valid)
    convert.convert(at_threshold(early, 1.0), "eager", tmp_path, equal_length=False)
    predictor = runtimes.load(tmp_path, "eager")
    with torch.inference_mode():
        exact = early.network(torch.from_numpy(x), torch.from_numpy(lengths)).numpy()
    np.testing.assert_allclose(predictor(x, lengths), exact, atol=1e-6)
    assert predictor.left.tolist() == [0, 0, 17]


def test_the_rest_is_never_computed_for_who_has_left() -> None:
    def first(x: np.ndarray) -> list[np.ndarray]:
        return [np.stack([x[:, 0, 0], 0 * x[:, 0, 0]], axis=1), x]

    asked = []

    def second(x: np.ndarray) -> list[np.ndarray]:
        asked.append(x[:, 0, 0].tolist())
        return [np.full((len(x), 2), 7, np.float32)]

    predictor = CascadePredictor([first, second], [0.9], 1)
    x = np.array([9, 0, 8, 1], np.float32).reshape(4, 1, 1)
    assert predictor(x)[:, 0].tolist() == [9, 7, 8, 7] and asked == [[0, 1]]
    assert predictor(x[:1])[:, 0].tolist() == [9] and len(asked) == 1
    assert confidence(np.array([[0, 0, 0]], np.float32)) == pytest.approx(1 / 3)


def test_it_survives_the_disk(early: CompressedModel, tmp_path: Path) -> None:
    save_model(early, tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.network.config == early.network.config and loaded.evidence == early.evidence
    assert all(torch.equal(v, loaded.network.state_dict()[k]) for k, v in early.network.state_dict().items())


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ("exits(4)", "no room for an exit after layer 4 of 4; choose a layer before the last"),
        ("exits(2, 9) > exits(2)", "no room for an exit after layer 2 of 4, beside those after 2"),
        ("exits(0)", "'layer' must be a whole number from 1 to 100,000, not 0"),
        ("exits(2, 9) > finetune(1)", "put exits last in the recipe"),
        ("exits(2, 9) > int8(dynamic)", "put exits last in the recipe"),
        ("int8(dynamic) > exits(2)", "early exits run in fp32, but the model is int8 dynamic"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(
    model: CompressedModel, context: TrainingContext, recipe: str, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        apply(model, recipe, context)


def test_an_exit_that_nobody_may_take_has_no_effect(model: CompressedModel, context: TrainingContext) -> None:
    _, logits = run_exits(model.network, context.valid, False)
    right = Split(context.valid.x, logits[-1].argmax(1))  # the network never errs
    misled = Split(context.train.x, (context.train.y + 1) % 3)  # and the exit learns what is wrong
    with pytest.raises(NoEffect, match="no validation series can leave after layer 3 within 0 points"):
        apply(model, "exits(3, 0)", dataclasses.replace(context, train=misled, valid=right))


def test_inductor_says_what_does_it(early: CompressedModel, tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailable, match="without early exits; use eager, onnxruntime or openvino"):
        convert.convert(early, "inductor", tmp_path, equal_length=False)


RECIPE = "exits(4, 5.0) > exits(1, 5.0)"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    patch = pytest.MonkeyPatch()
    patch.setattr(store, "OUTPUTS", tmp_path_factory.mktemp("outputs"))
    profile = load_profile("smoke")
    train = {"epochs": 8, "batch_size": 16}
    variants = {RECIPE: ("eager", "onnxruntime"), "merge(0.5) > finetune(1)": ("eager",)}
    profile = dataclasses.replace(profile, seeds=(0,), models=("T1",), train=train, variants=variants)
    yield Study(profile)
    patch.undo()


@pytest.mark.sessions
def test_the_test_sets_labels_change_nothing(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    [run] = study.runs
    _, model = stages.compress_model(run, Recipe.parse(RECIPE))
    load = data.load

    def poisoned(spec):
        dataset = load(spec)
        return dataclasses.replace(dataset, test=Split(dataset.test.x, 1 - dataset.test.y))

    monkeypatch.setattr(data, "load", poisoned)
    monkeypatch.setitem(STAGES, "compress", dataclasses.replace(STAGES["compress"], version=0))  # not from the store
    _, again = stages.compress_model(run, Recipe.parse(RECIPE))
    assert again.network.config == model.network.config and again.evidence[-1] == model.evidence[-1]


@pytest.mark.sessions
def test_records_and_tables_tell_the_mean_and_the_tail(study: Study) -> None:
    [run] = study.runs
    record = study.evaluate(run, Variant.parse(RECIPE, "eager"))
    exits = record.exits
    assert sum(exits.left) == pytest.approx(1) and exits.layers == [1, 4, 8]
    assert exits.macs_mean == pytest.approx(np.dot(exits.left, exits.macs))
    assert exits.macs_mean <= exits.macs_worst and exits.macs_p95 in exits.macs
    assert record.size.macs == round(exits.macs_mean)
    table = leaving.places_left(study)
    assert list(table.columns) == leaving.COLUMNS and len(table) == 3 + 3 + 1
    np.testing.assert_allclose(table.groupby(["recipe", "runtime"])[["left_valid", "left_test"]].sum(), 1)
    summary = leaving.summary(table).set_index(["recipe", "runtime"])
    assert summary.loc[RECIPE, "eager"]["mean"] == pytest.approx(100 * exits.macs_mean / 673_024, abs=0.06)
    merged = summary.loc["merge(0.5) > finetune(1)", "eager"]
    assert merged["mean"] == merged.worst < 100 and merged.left_early_test == 0
    figure = figures.exit_shares(table)
    figure.draw_without_rendering()
    words = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert any(" / " in word for word in words)
    assert "this profile has no early exits" in figures.exit_shares(table.iloc[:0]).texts[0].get_text()


@pytest.mark.sessions
def test_an_exported_cascade_predicts_the_same(study: Study, tmp_path: Path) -> None:
    [run] = study.runs
    export(study, run, Variant.parse(RECIPE, "onnxruntime"), tmp_path / "model")
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"model.onnx", "model-2.onnx", "model-3.onnx"} < names
    assert bundle.read(tmp_path / "model").recipe == RECIPE
    prediction = predict(tmp_path / "model", Path(run.data.folder) / "ItalyPowerDemand_TEST.ts")
    evaluation = study.evaluate(run, Variant.parse(RECIPE, "onnxruntime"))
    assert (prediction.logits.argmax(axis=1) == evaluation.predicted).all()
    card = (tmp_path / "model" / "model_card.md").read_text()
    assert "mean over the test series" in card and "after layer 4" in card
    assert pd.notna(study.results().query("runtime == 'onnxruntime'").latency_p95_ms).all()
