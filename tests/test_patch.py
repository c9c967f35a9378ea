"""Longer patches: fewer of the same tokens, in every runtime and for every length."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tsc_lib import data, runtimes
from tsc_lib.compress import NoEffect, TrainingContext, apply
from tsc_lib.compress.patch import lengthen_patches
from tsc_lib.core.errors import UserError
from tsc_lib.data import Split
from tsc_lib.models.compressed import CompressedModel, count_macs, load_model, save_model
from tsc_lib.models.embedding import MAX_TOKENS, PatchEmbeddingConfig, tabulate_positions
from tsc_lib.models.transformer import LayerConfig, Transformer, TransformerConfig
from tsc_lib.runtimes import convert
from tsc_lib.runtimes.graph import Form, InferenceTransformer
from tsc_lib.study.operations import operations
from tsc_lib.training import TrainSpec

CONFIG = TransformerConfig(3, 3, PatchEmbeddingConfig(8), 16, 4, tuple(map(LayerConfig, (4, 2), (32, 24))), 32)


@pytest.fixture
def model() -> CompressedModel:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return CompressedModel(Transformer(CONFIG).eval(), reference_length=40)


def context_of(shortest: int, longest: int) -> TrainingContext:
    rng = np.random.default_rng(0)
    lengths = [shortest, longest, *rng.integers(shortest, longest + 1, 22)]
    split = Split([rng.normal(size=(3, n)).astype(np.float32) for n in lengths], rng.integers(0, 3, 24))
    return TrainingContext(split, split, shortest == longest, TrainSpec(batch_size=8), seed=0)


@pytest.fixture(scope="module")
def unequal() -> TrainingContext:
    return context_of(17, 60)


def test_the_layers_read_every_third_of_the_tokens_that_they_read_before(model: CompressedModel) -> None:
    longer = lengthen_patches(model.network, 3)
    x = torch.randn(5, 3, 53)
    kept = [0, 3, 6]  # the class token and the last of three patches each
    short = model.network
    with torch.inference_mode():
        tokens, mask = short.embedding(x)
        assert mask is None
        y = tokens[:, kept]
        for layer in short.layers:
            y, _ = layer(y, None)
        expected = short.classify(F.relu(short.hidden(y[:, 0])))
        torch.testing.assert_close(longer(x), expected, atol=1e-5, rtol=0)


def test_equal_patches_are_embedded_as_one_of_them(model: CompressedModel) -> None:
    short, longer = (each.embedding.convolution for each in (model.network, lengthen_patches(model.network, 3)))
    patch = torch.randn(4, 3, 8)
    with torch.inference_mode():
        torch.testing.assert_close(longer(patch.repeat(1, 1, 3)), short(patch))
        by_hand = 2 * short.weight.sum((1, 2)) + short.bias
        torch.testing.assert_close(longer(torch.full((1, 3, 24), 2.0))[0, :, 0], by_hand)


def test_positions_are_those_of_the_old_tokens_as_far_as_series_may_go(model: CompressedModel) -> None:
    table = tabulate_positions(6 * MAX_TOKENS + 1, 16)
    positions = lengthen_patches(lengthen_patches(model.network, 3), 2).embedding.positions
    assert positions.shape == (MAX_TOKENS + 1, 16)
    torch.testing.assert_close(positions[[0, 1, 2, -1]], table[[0, 6, 12, 6 * MAX_TOKENS]], rtol=0, atol=0)


def test_doubling_twice_is_quadrupling(model: CompressedModel) -> None:
    twice, once = lengthen_patches(lengthen_patches(model.network, 2), 2), lengthen_patches(model.network, 4)
    assert twice.config == once.config and once.config.embedding == PatchEmbeddingConfig(32, 4)
    x = torch.randn(4, 3, 70)
    with torch.inference_mode():
        torch.testing.assert_close(twice(x), once(x))
    assert once.config.embedding.length_limits == (1, 32 * (MAX_TOKENS + 1) - 1)


def test_the_tokens_are_halved_and_counted_right(
    model: CompressedModel, unequal: TrainingContext, tmp_path: Path
) -> None:
    made = apply(model, "width(l1, 8) > patch(16) > prune(l1, 0.5) > finetune(1)", unequal)
    halving = made.evidence[1]
    assert halving.details == {"patches": 2} and halving.macs_after < 0.6 * halving.macs_before
    counted = operations(made.network.config, 40)
    assert sum(o.macs for o in counted) == count_macs(made.network, 40) == made.evidence[-1].macs_after
    save_model(made, tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.network.config == made.network.config
    x = torch.randn(4, 3, 40)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.network(x), made.network(x), rtol=0, atol=0)
    fresh = apply(made, "student(1, 2, 8, 16, 8)", unequal)
    assert fresh.network.config.embedding.position_stride == 1


def test_a_padded_series_has_the_logits_that_it_has_alone(model: CompressedModel, unequal: TrainingContext) -> None:
    network = apply(model, "patch(16)", unequal).network
    for batch in data.batches(unequal.train, 5, equal_length=False):
        with torch.inference_mode():
            together = network(torch.from_numpy(batch.x), torch.from_numpy(batch.lengths))
            alone = [network(torch.from_numpy(unequal.train.x[i])[None])[0] for i in batch.index]
        torch.testing.assert_close(together, torch.stack(alone), atol=1e-5, rtol=0)


@pytest.mark.parametrize("attention", ["operator", "matmul", "elementwise"])
def test_the_inference_form_has_the_same_logits(model: CompressedModel, attention: Form) -> None:
    network = lengthen_patches(model.network, 2)
    graph = InferenceTransformer(network, attention=attention).eval()
    x, lengths = torch.randn(4, 3, 48), torch.tensor([48, 16, 40, 31])
    padded = x * (torch.arange(48) < lengths[:, None])[:, None]
    with torch.inference_mode():
        torch.testing.assert_close(graph(x), network(x), atol=1e-5, rtol=0)
        torch.testing.assert_close(graph(padded, lengths), network(padded, lengths), atol=1e-5, rtol=0)


needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("clang++") is None, reason="inductor needs a C++ compiler"
)


@pytest.mark.usefixtures("library_products")
@pytest.mark.compiles
@pytest.mark.parametrize(
    "runtime", ["eager", "onnxruntime", "openvino", pytest.param("inductor", marks=needs_compiler)]
)
def test_every_runtime_has_the_same_logits(
    model: CompressedModel, unequal: TrainingContext, tmp_path: Path, runtime: str
) -> None:
    made = apply(model, "patch(16)", unequal)
    convert.convert(made, runtime, tmp_path, equal_length=False)
    predict = runtimes.load(tmp_path, runtime)
    for batch in data.batches(unequal.train, 5, equal_length=False):
        with torch.inference_mode():
            exact = made.network(torch.from_numpy(batch.x), torch.from_numpy(batch.lengths)).numpy()
        np.testing.assert_allclose(predict(batch.x, batch.lengths), exact, atol=1e-5)


def test_what_cannot_be_lengthened_is_said_in_a_sentence(model: CompressedModel, unequal: TrainingContext) -> None:
    with pytest.raises(NoEffect, match=r"patch\(8\) changes nothing in a model whose patches have 8 time steps"):
        apply(model, "patch(8)", unequal)
    for size in (4, 12):
        with pytest.raises(UserError, match=rf"patch\({size}\) is no multiple of the 8 .*; use 16 or 32"):
            apply(model, f"patch({size})", unequal)
    with pytest.raises(UserError, match="'size' must be a whole number from 1 to 100,000, not 0"):
        apply(model, "patch(0)", unequal)
    with pytest.raises(UserError, match="patch works on fp32 weights, but the model is int8 dynamic"):
        apply(model, "int8(dynamic) > patch(16)", unequal)
    with pytest.raises(ValueError, match="must be at least 1"):
        PatchEmbeddingConfig(8, position_stride=0)
