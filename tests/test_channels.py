"""Channel selection: what is left reads some channels alone, in every runtime, and costs no more than that."""

from __future__ import annotations

import copy
import dataclasses
import shutil
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from aeon.datasets import load_classification

from tsc_lib import TransformerClassifier, data, load, runtimes
from tsc_lib.compress import NoEffect, Recipe, TrainingContext, apply
from tsc_lib.compress.channels import CRITERIA
from tsc_lib.core.errors import UserError
from tsc_lib.data import Split
from tsc_lib.models.compressed import CompressedModel, count_macs, load_model, save_model
from tsc_lib.models.convolution_embedding import ConvolutionEmbeddingConfig
from tsc_lib.models.embedding import PatchEmbeddingConfig
from tsc_lib.models.transformer import LayerConfig, Transformer, TransformerConfig
from tsc_lib.models.zoo import configure
from tsc_lib.runtimes import convert
from tsc_lib.search.space import Bounds, list_starts, suggest
from tsc_lib.study.operations import operations
from tsc_lib.training import TrainSpec, fit

CONFIG = TransformerConfig(6, 2, PatchEmbeddingConfig(8), 16, 4, (LayerConfig(4, 32),) * 2, 32, 0.0)
TOLD = [1, 4]
"""The channels that tell the classes."""


def context_of(lengths: list[int]) -> TrainingContext:
    rng = np.random.default_rng(0)
    y = np.arange(len(lengths)) % 2
    x = [rng.normal(size=(6, n)).astype(np.float32) for n in lengths]
    for series, label in zip(x, y, strict=True):
        series[TOLD] += 2 * label - 1
    split = Split(x, y)
    return TrainingContext(split, split, len(set(lengths)) == 1, TrainSpec(epochs=8, batch_size=16), seed=0)


@pytest.fixture(scope="module")
def context() -> TrainingContext:
    return context_of([40] * 64)


@pytest.fixture(scope="module")
def unequal() -> TrainingContext:
    return context_of([int(n) for n in np.random.default_rng(1).integers(17, 60, 64)])


@pytest.fixture(scope="module", params=["patches", "convolution"])
def model(context: TrainingContext, request: pytest.FixtureRequest) -> CompressedModel:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    embedding = PatchEmbeddingConfig(8) if request.param == "patches" else ConvolutionEmbeddingConfig(8, filters=12)
    network = Transformer(dataclasses.replace(CONFIG, embedding=embedding))
    fit(network, context.train, context.valid, context.settings, 0, equal_length=True)
    return CompressedModel(network.eval(), reference_length=40)


@pytest.mark.parametrize("criterion", ["taylor", "occlusion", "centroids"])
@pytest.mark.parametrize("lengths", ["equal", "unequal"])
def test_the_channels_that_tell_the_classes_are_kept(
    model: CompressedModel, context: TrainingContext, unequal: TrainingContext, criterion: str, lengths: str
) -> None:
    made = apply(model, f"channels(2, {criterion})", context if lengths == "equal" else unequal)
    details = made.evidence[0].details
    assert details["input_channels"] == TOLD == list(made.network.config.input_channels or ())
    assert sorted(details["importance"]) == list("012345")
    assert made.network.embedding.convolution.in_channels == 2


def test_norms_are_those_of_the_weights_that_read_a_channel(model: CompressedModel, context: TrainingContext) -> None:
    heavy = copy.deepcopy(model)
    with torch.no_grad():
        heavy.network.embedding.convolution.weight[:, [0, 5]] *= 3
    assert apply(heavy, "channels(2, l2)", context).network.config.input_channels == (0, 5)


def test_it_computes_what_the_whole_one_does_if_it_ignores_the_others(
    model: CompressedModel, context: TrainingContext
) -> None:
    made = apply(model, "channels(0.5)", context)
    kept = made.evidence[0].details["input_channels"]
    blind = copy.deepcopy(model.network)
    others = torch.tensor([channel for channel in range(6) if channel not in kept])
    x = torch.randn(4, 6, 40)
    with torch.inference_mode():
        for module in blind.embedding.readers.values():
            module.weight[:, others] = 0.0
            if module.weight.shape[1] > 6:
                module.weight[:, others + 6] = 0.0
        torch.testing.assert_close(made.network(x), blind(x), atol=1e-5, rtol=0)
    counted = operations(made.network.config, 40)
    assert sum(o.macs for o in counted) == count_macs(made.network, 40) == made.evidence[0].macs_after
    assert made.evidence[0].macs_after < made.evidence[0].macs_before


def test_channels_are_told_in_the_numbers_of_the_data_set(
    model: CompressedModel, context: TrainingContext, tmp_path: Path
) -> None:
    made = apply(model, "channels(0.67, l2) > channels(1, taylor) > width(l1, 8) > prune(taylor, 0.5)", context)
    [first, second] = [each.details["input_channels"] for each in made.evidence[:2]]
    assert len(first) == 4 and len(second) == 1 and second[0] in first
    save_model(made, tmp_path)
    loaded, x = load_model(tmp_path).network, torch.randn(4, 6, 40)
    assert loaded.config == made.network.config
    with torch.inference_mode():
        torch.testing.assert_close(loaded(x), made.network(x), rtol=0, atol=0)
    assert "6 channel(s) of which it reads 1" in made.network.config._repr_html_()


def test_a_student_reads_the_same_channels(model: CompressedModel, context: TrainingContext) -> None:
    made = apply(model, "channels(2) > student(1, 2, 8, 16, 8)", context)
    assert made.network.config.input_channels == tuple(TOLD)
    assert made.network.embedding.convolution.in_channels == 2


needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("clang++") is None, reason="inductor needs a C++ compiler"
)


@pytest.mark.usefixtures("library_products")
@pytest.mark.compiles
@pytest.mark.parametrize(
    ("runtime", "lengths"),
    [
        *[(runtime, lengths) for runtime in ("eager", "onnxruntime", "openvino") for lengths in ("equal", "unequal")],
        pytest.param("inductor", "unequal", marks=needs_compiler),
    ],
)
def test_every_runtime_takes_all_channels_and_has_the_same_logits(
    model: CompressedModel,
    context: TrainingContext,
    unequal: TrainingContext,
    tmp_path: Path,
    runtime: str,
    lengths: str,
) -> None:
    given = context if lengths == "equal" else unequal
    made = apply(model, "channels(2) > prune(l1, 0.5)", given)
    convert.convert(made, runtime, tmp_path, equal_length=given.equal_length)
    predict = runtimes.load(tmp_path, runtime)
    for batch in data.batches(given.train, 20, equal_length=given.equal_length):
        own = None if batch.lengths is None else torch.from_numpy(batch.lengths)
        with torch.inference_mode():
            exact = made.network(torch.from_numpy(batch.x), own).numpy()
        np.testing.assert_allclose(predict(batch.x, batch.lengths), exact, atol=1e-5)


@pytest.mark.compiles
@pytest.mark.parametrize("mode", ["static", "dynamic", "weights"])
def test_int8_comes_after_it(model: CompressedModel, context: TrainingContext, tmp_path: Path, mode: str) -> None:
    made = apply(model, f"channels(2) > prune(l1, 0.5) > finetune(1) > int8({mode})", context)
    whole = apply(model, f"prune(l1, 0.5) > finetune(1) > int8({mode})", context)
    sizes = []
    for name, each in (("made", made), ("whole", whole)):
        (tmp_path / name).mkdir()
        found = convert.convert(each, "onnxruntime", tmp_path / name, equal_length=True)
        sizes.append((found.int8_ops, found.fp32_ops))
    assert sizes[0] == sizes[1]
    x = np.stack(context.train.x[:32])
    with torch.inference_mode():
        exact = made.network(torch.from_numpy(x)).numpy()
    logits = runtimes.load(tmp_path / "made", "onnxruntime")(x)
    assert (logits.argmax(1) == exact.argmax(1)).mean() > 0.9


@pytest.mark.parametrize(
    ("recipe", "problem", "sentence"),
    [
        ("channels(6)", NoEffect, r"channels\(6\) cuts off none of 6 channels"),
        ("channels(0.95)", NoEffect, "cuts off none of 6 channels"),
        ("channels(2) > channels(3)", NoEffect, "cuts off none of 2 channels"),
        ("channels(2.5)", UserError, "a share below 1, or a whole number of channels, not 2.5"),
        ("channels(0)", UserError, "'keep' must be a finite number from 0.001"),
        ("channels(2, l3)", UserError, "criteria taylor, occlusion, l2, centroids or random, not 'l3'"),
        ("int8(dynamic) > channels(2)", UserError, "channels works on fp32 weights"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    model: CompressedModel, context: TrainingContext, recipe: str, problem: type[Exception], sentence: str
) -> None:
    with pytest.raises(problem, match=sentence):
        apply(model, recipe, context)


def test_one_channel_leaves_no_choice(context: TrainingContext) -> None:
    model = CompressedModel(Transformer(TransformerConfig.from_json({**CONFIG.to_json(), "channels": 1})), 40)
    with pytest.raises(UserError, match=r"channels\(0.5\) chooses .* but these series have one; leave it out"):
        apply(model, "channels(0.5)", context)


@pytest.mark.parametrize("channels", [(), (2, 1), (1, 1), (6,), (-1,)])
def test_a_configuration_reads_channels_that_there_are(channels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="reads some of its 6 channels"):
        TransformerConfig.from_json({**CONFIG.to_json(), "input_channels": list(channels)})


def test_labels_and_spelling() -> None:
    recipe = Recipe.parse("channels(keep=3.0) > channels(0.5, l2) > channels(1)")
    assert str(recipe) == "channels(3) > channels(0.5, l2) > channels(1)"
    assert recipe.label == "Read 3 channels Taylor, read 50 % of channels L2, read 1 channel Taylor"
    assert recipe.family.value == "smaller shape"


@pytest.mark.parametrize(("channels", "shares"), [(1, set()), (2, {0.5}), (28, {0.5, 0.25})])
def test_the_search_proposes_it_where_there_are_several(channels: int, shares: set[float]) -> None:
    bounds = Bounds(configure("T1", channels, 2), 50, 50, epochs=3)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for start in list_starts(bounds):
        study.enqueue_trial(start)
    points = [suggest(study.ask(), bounds) for _ in range(60)]
    assert {step.keep for point in points for step in point.recipe if step.name == "channels"} == shares


@pytest.mark.slow
@pytest.mark.parametrize("name", ["BasicMotions", "JapaneseVowels"])
def test_what_is_exported_takes_the_series_of_the_data_set(name: str, tmp_path: Path) -> None:
    x, y = load_classification(name, split="train")
    chosen = np.arange(len(x))[:: max(1, len(x) // 60)]
    series = [x[i] for i in chosen]
    classifier = TransformerClassifier("T1", epochs=1, random_state=0).fit(series, y[chosen])
    small = classifier.compress("channels(0.5, occlusion) > finetune(1)").to("onnxruntime")
    small.export(tmp_path / "model")
    assert "reads channels" in (tmp_path / "model" / "model_card.md").read_text()
    np.testing.assert_array_equal(load(tmp_path / "model").predict(series), small.predict(series))


@pytest.mark.parametrize("criterion", list(CRITERIA))
def test_many_channels_of_real_data(criterion: str) -> None:
    dataset = data.load(data.resolve("BasicMotions"))
    context = TrainingContext(dataset.train, dataset.valid, dataset.equal_length, TrainSpec(), seed=0)
    torch.manual_seed(0)
    network = Transformer(configure("T1", dataset.channels, len(dataset.classes), dataset.longest)).eval()
    made = apply(CompressedModel(network, dataset.longest), f"channels(0.5, {criterion})", context)
    assert len(made.evidence[0].details["input_channels"]) == 3
