"""Tokens by convolution: what they see, and that every runtime gives the same logits."""

from __future__ import annotations

import dataclasses
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from tsc_lib import data, runtimes
from tsc_lib.compress import NoEffect, TrainingContext, apply
from tsc_lib.core.errors import UserError
from tsc_lib.data import Split
from tsc_lib.models.compressed import CompressedModel, count_macs
from tsc_lib.models.convolution_embedding import (
    ConvolutionEmbedding,
    ConvolutionEmbeddingConfig,
    measure_strengths,
)
from tsc_lib.models.transformer import TransformerConfig
from tsc_lib.models.zoo import build
from tsc_lib.runtimes import convert
from tsc_lib.study.operations import operations
from tsc_lib.training import TrainSpec

needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("clang++") is None, reason="inductor needs a C++ compiler"
)
RUNTIMES = ["eager", "onnxruntime", "openvino"]
EQUAL, UNEQUAL = [44] * 12, [5, 8, 9, 31, 44, 60] * 2


def make_split(lengths: list[int]) -> Split:
    rng = np.random.default_rng(0)
    x = [(3 * rng.normal(size=(2, n)) + 5).astype(np.float32) for n in lengths]
    return Split(x, np.arange(len(x)) % 3)


@pytest.fixture
def model(request: pytest.FixtureRequest) -> CompressedModel:
    """With a pointwise convolution of the filters, unless another number of its outputs is asked for."""
    torch.manual_seed(0)
    pointwise = getattr(request, "param", 12)
    return CompressedModel(build(f"ConvTransformer(patch=8, filters=16, pointwise={pointwise})", 2, 3).eval(), 44)


with_and_without = pytest.mark.parametrize("model", [12, 0], ids=["pointwise", "filters"], indirect=True)


def test_a_series_is_seen_normalised_and_the_class_token_has_its_level(model: CompressedModel) -> None:
    embedding = model.network.embedding
    assert isinstance(embedding, ConvolutionEmbedding)
    measure = partial(
        measure_strengths, patches=None, patch=8, convolution=embedding.convolution, pointwise=embedding.pointwise
    )
    x = torch.randn(4, 2, 96)
    with torch.inference_mode():
        plain, plain_level = measure(x)
        other, other_level = measure(3 * x + 5)
        flat, _ = measure(torch.full((1, 2, 96), 7.0))
        zero, _ = measure(torch.zeros(1, 2, 96))
        tiny, _ = measure(1e-6 * x)
    torch.testing.assert_close(plain, other, rtol=1e-3, atol=1e-4)
    assert (plain_level - other_level).abs().min() > 0.1
    torch.testing.assert_close(flat, zero)
    torch.testing.assert_close(tiny, plain, rtol=0.1, atol=0.02)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", ["T1(patch=1, layers=1)", "ConvTransformer(patch=1)"])
def test_a_token_for_each_time_step(name: str, runtime: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, split = CompressedModel(build(name, 2, 3).eval(), 20), make_split([1, 2, 7, 20, 30])
    convert.convert(model, runtime, tmp_path, equal_length=False)
    predict = runtimes.load(tmp_path, runtime)
    for batch in data.batches(split, 3, equal_length=False):
        assert batch.lengths is not None
        with torch.inference_mode():
            exact = model.network(torch.from_numpy(batch.x), torch.from_numpy(batch.lengths)).numpy()
        # Of two time steps little is left once they are normalised.
        np.testing.assert_allclose(predict(batch.x, batch.lengths), exact, atol=1e-4)


def test_filters_see_near_and_far_steps() -> None:
    torch.manual_seed(0)
    embedding = build("ConvTransformer(patch=8, filters=8)", 1, 3).embedding
    assert isinstance(embedding, ConvolutionEmbedding) and embedding.config.dilation_of == (1, 1, 2, 2, 4, 4, 8, 8)
    x = torch.zeros(1, 1, 101)
    x[0, 0, 50] = 1.0
    with torch.inference_mode():
        answers = embedding.convolution(x) - embedding.convolution(0 * x)
    assert answers.shape == (1, 8, 101)
    for answer, dilation in zip(answers[0], embedding.config.dilation_of, strict=True):
        assert torch.nonzero(answer)[:, 0].tolist() == list(range(50 - 4 * dilation, 51 + 4 * dilation, dilation))


def test_a_stored_configuration_has_its_dilations_again() -> None:
    config = build("ConvTransformer", 1, 3).config
    assert TransformerConfig.from_json(config.to_json()) == config
    old = config.to_json()
    del old["embedding"]["dilations"]  # written before there were any
    assert set(TransformerConfig.from_json(old).embedding.dilation_of) == {1}


@pytest.mark.parametrize("dilations", [(), (0,), (1, -2)])
def test_impossible_dilations_are_refused(dilations: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least 1 apart"):
        ConvolutionEmbeddingConfig(4, dilations=dilations)


@with_and_without
def test_its_multiply_adds_are_counted(model: CompressedModel) -> None:
    counted = sum(operation.macs for operation in operations(model.network.config, 44))
    assert counted == count_macs(model.network, 44)


@with_and_without
@pytest.mark.parametrize("criterion", ["l1", "l2", "taylor", "activation", "random"])
def test_the_filters_that_matter_stay(model: CompressedModel, criterion: str) -> None:
    split = make_split([16, 44, 30, 25] * 4)
    context = TrainingContext(split, split, False, TrainSpec(), seed=0)
    embedding = model.network.embedding
    assert isinstance(embedding, ConvolutionEmbedding)
    with torch.no_grad():  # filters that give nothing, and that nothing reads
        for weights in (embedding.convolution.weight, embedding.convolution.bias, embedding.filter_reader.weight.T):
            assert weights is not None
            weights[:4] = 0.0
    made = apply(model, f"filters({criterion}, 12)", context)
    kept = made.evidence[-1].details["filters"]
    dilations = tuple(embedding.config.dilation_of[i] for i in kept)
    assert made.network.embedding.config == dataclasses.replace(embedding.config, filters=12, dilations=dilations)
    assert criterion == "random" or kept == list(range(4, 16))
    assert made.evidence[-1].macs_after < made.evidence[-1].macs_before
    torch.testing.assert_close(made.network.embedding.filter_reader.weight, embedding.filter_reader.weight[:, kept])
    left_alone = made.network.embedding.project.weight.shape == embedding.project.weight.shape
    assert left_alone is (embedding.pointwise is not None)


def test_filters_that_are_not_there_are_said(model: CompressedModel) -> None:
    split = make_split([44] * 6)
    context = TrainingContext(split, split, True, TrainSpec(), seed=0)
    with pytest.raises(NoEffect, match="removes nothing from 16 filters"):
        apply(model, "filters(l1, 16)", context)
    patches = CompressedModel(build("T1", 2, 3).eval(), 44)
    with pytest.raises(UserError, match="which this model has not"):
        apply(patches, "filters(l1, 4)", context)


@pytest.mark.parametrize(
    ("model", "runtime", "lengths"),
    [
        *[(12, runtime, lengths) for runtime in RUNTIMES for lengths in (EQUAL, UNEQUAL)],
        *[(0, runtime, UNEQUAL) for runtime in ("onnxruntime", "c")],
        pytest.param(12, "inductor", UNEQUAL[:5], marks=[needs_compiler, pytest.mark.compiles]),
    ],
    indirect=["model"],
)
def test_every_runtime_has_the_same_logits(
    model: CompressedModel, tmp_path: Path, runtime: str, lengths: list[int]
) -> None:
    split, equal = make_split(lengths), len(set(lengths)) == 1
    convert.convert(model, runtime, tmp_path, equal_length=equal)
    predict = runtimes.load(tmp_path, runtime)
    for batch in data.batches(split, 5, equal_length=equal):
        given = torch.from_numpy(batch.x), None if batch.lengths is None else torch.from_numpy(batch.lengths)
        with torch.inference_mode():
            exact = model.network(*given).numpy()
        np.testing.assert_allclose(predict(batch.x, batch.lengths), exact, atol=1e-5)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_static_int8_executes_it(model: CompressedModel, tmp_path: Path, runtime: str) -> None:
    split = make_split([44] * 32)
    quantized = apply(model, "int8(static)", TrainingContext(split, split, True, TrainSpec(), seed=0))
    assert convert.convert(quantized, runtime, tmp_path, equal_length=True).int8_ops > 10
    x = np.stack(split.x)
    with torch.inference_mode():
        exact = model.network(torch.from_numpy(x)).numpy()
    difference = runtimes.load(tmp_path, runtime)(x) - exact
    assert 0 < np.abs(difference).max() < 0.5 * exact.std()
