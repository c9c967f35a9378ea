"""Fewer tokens: padding takes no token's place, what is merged weighs as much as it was, and every runtime agrees."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from tsc_lib import runtimes
from tsc_lib.compress import NoEffect, TrainingContext, apply
from tsc_lib.core.errors import UserError
from tsc_lib.data import Split
from tsc_lib.models.compressed import CompressedModel, count_macs, load_model, save_model
from tsc_lib.models.embedding import PatchEmbeddingConfig
from tsc_lib.models.token_reduction import TokenReduction, reduce_tokens
from tsc_lib.models.transformer import LayerConfig, Transformer, TransformerConfig
from tsc_lib.runtimes import convert
from tsc_lib.runtimes.graph import Form, InferenceTransformer
from tsc_lib.runtimes.inductor.convert import Bf16
from tsc_lib.study.operations import operations
from tsc_lib.training import TrainSpec

LENGTHS = (96, 8, 20, 47, 63, 80, 72, 15)
CONFIG = TransformerConfig(2, 3, PatchEmbeddingConfig(8), 16, 4, tuple(map(LayerConfig, (4, 2, 3), (32, 24, 16))), 32)
RECIPES = ["merge(0.5)", "merge(0.6, 1)", "drop(0.3)", "drop(0.7, 1) > merge(0.5)", "merge(0.6, 1) > drop(0.7)"]


@pytest.fixture(scope="module")
def context() -> TrainingContext:
    rng = np.random.default_rng(0)
    split = Split([rng.normal(size=(2, n)).astype(np.float32) for n in LENGTHS], np.arange(8) % 3)
    return TrainingContext(split, split, False, TrainSpec(batch_size=4), seed=0)


@pytest.fixture
def model() -> CompressedModel:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return CompressedModel(Transformer(CONFIG).eval(), reference_length=96)


def padded(context: TrainingContext, noise: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.full((len(LENGTHS), 2, max(LENGTHS)), noise)
    for row, series in zip(x, context.train.x, strict=True):
        row[:, : series.shape[1]] = torch.from_numpy(series)
    return x, torch.tensor(LENGTHS)


def logits_alone(network: torch.nn.Module, context: TrainingContext) -> torch.Tensor:
    with torch.inference_mode():
        return torch.cat([network(torch.from_numpy(x[None])) for x in context.train.x])


@pytest.mark.parametrize("attention", ["operator", "elementwise"])
@pytest.mark.parametrize("recipe", ["merge(0.5)", "drop(0.7, 1) > merge(0.5)"])
def test_padded_series_run_in_bf16(
    model: CompressedModel, context: TrainingContext, recipe: str, attention: Form
) -> None:
    network = apply(model, recipe, context).network
    graph = InferenceTransformer(network, attention=attention).eval()
    with torch.inference_mode():
        exact, logits = graph(*padded(context)), Bf16(graph)(*padded(context))
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, exact, rtol=0, atol=0.2)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_padded_series_has_the_logits_it_has_alone(
    model: CompressedModel, context: TrainingContext, recipe: str
) -> None:
    network = apply(model, recipe, context).network
    alone = logits_alone(network, context)
    forms = [InferenceTransformer(network, attention=attention).eval() for attention in get_args(Form)]
    for noise in (0.0, 1000.0):
        with torch.inference_mode():
            torch.testing.assert_close(network(*padded(context, noise)), alone, rtol=0, atol=1e-5)
    for graph in forms:
        with torch.inference_mode():
            torch.testing.assert_close(graph(*padded(context)), alone, rtol=0, atol=1e-5)
    assert not torch.allclose(alone, logits_alone(model.network, context), atol=1e-4)


def state_of(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries and keys of one head that are the tokens themselves."""
    return x[:, None], x[:, None]


def test_the_tokens_that_the_class_token_looks_at_stay() -> None:
    x = torch.tensor([[[1.0, 0.0], [0.25, 5.0], [3.0, 0.0], [-1.0, 9.0], [2.0, 1.0]]])
    left, mask = reduce_tokens(x, None, *state_of(x), 1.0, TokenReduction("drop", 0.5))
    assert left[0].tolist() == [[1.0, 0.0], [3.0, 0.0], [2.0, 1.0]] and mask is None
    real = torch.tensor([True, True, False, True, True])[None, None, None]
    left, mask = reduce_tokens(x, real, *state_of(x), 1.0, TokenReduction("drop", 0.5))
    assert left[0].tolist() == [[1.0, 0.0], [2.0, 1.0], [0.25, 5.0]]
    assert mask is not None and mask.flatten().tolist() == [0.0, 0.0, 0.0]


def test_the_most_similar_tokens_are_merged_to_their_mean_by_weight() -> None:
    a, b = [1.0, 2.0], [-3.0, 0.5]
    x = torch.tensor([[[9.0, 9.0], a, b, b, [2.0, 4.0]]])  # a is like the last, b like its neighbour
    left, mask = reduce_tokens(x, None, *state_of(x), 1.0, TokenReduction("merge", 0.75))
    assert left.shape == (1, 4, 2)
    left, mask = reduce_tokens(x, None, *state_of(x), 1.0, TokenReduction("merge", 0.5))
    torch.testing.assert_close(left[0], torch.tensor([[9.0, 9.0], b, [1.5, 3.0]]))
    torch.testing.assert_close(mask.flatten().exp(), torch.tensor([1.0, 2.0, 2.0]))
    weights = torch.tensor([1.0, 3.0, 1.0, 1.0, 1.0]).log()[None, None, None]
    left, mask = reduce_tokens(x, weights, *state_of(x), 1.0, TokenReduction("merge", 0.5))
    torch.testing.assert_close(left[0], torch.tensor([[9.0, 9.0], b, [1.25, 2.5]]))
    torch.testing.assert_close(mask.flatten().exp(), torch.tensor([1.0, 2.0, 4.0]))


def test_merging_tokens_that_are_the_same_changes_nothing() -> None:
    """They attend alike and, merged, are attended to as often as before."""
    torch.manual_seed(0)
    network, merging = (
        Transformer(TransformerConfig(1, 3, PatchEmbeddingConfig(8), 16, 4, (first, LayerConfig(4, 32)), 32)).eval()
        for first in (LayerConfig(4, 32), LayerConfig(4, 32, reduction=TokenReduction("merge", 0.5)))
    )
    merging.load_state_dict(network.state_dict())
    for each in (network, merging):
        each.embedding.positions[1:] = 0
    x = torch.randn(3, 1, 8).repeat(1, 1, 6)
    with torch.inference_mode():
        torch.testing.assert_close(merging(x), network(x), rtol=0, atol=1e-5)


@pytest.mark.compiles
@pytest.mark.parametrize("runtime", ["eager", "onnxruntime", "openvino"])
@pytest.mark.parametrize("equal_length", [True, False])
def test_every_runtime_keeps_the_same_tokens(
    model: CompressedModel, context: TrainingContext, tmp_path: Path, runtime: str, equal_length: bool
) -> None:
    made = apply(model, "merge(0.6, 1) > drop(0.7)", context)
    convert.convert(made, runtime, tmp_path, equal_length=equal_length)
    predict = runtimes.load(tmp_path, runtime)
    x, lengths = padded(context)
    if equal_length:
        with torch.inference_mode():
            exact = made.network(x).numpy()
        for n in (1, 3, 8):
            np.testing.assert_allclose(predict(x[:n].numpy()), exact[:n], atol=1e-5)
        return
    exact = logits_alone(made.network, context).numpy()
    np.testing.assert_allclose(predict(x.numpy(), lengths.numpy()), exact, atol=1e-5)
    for i, one in enumerate(context.train.x):
        np.testing.assert_allclose(predict(one[None], lengths[i : i + 1].numpy())[0], exact[i], atol=1e-5)


@pytest.mark.parametrize("recipe", [*RECIPES, "merge(0.5) > prune(l1, 0.5) > layers(2, last)"])
def test_work_is_counted_right_and_survives_the_disk(
    model: CompressedModel, context: TrainingContext, tmp_path: Path, recipe: str
) -> None:
    if "layers" in recipe:  # which looks at influence, and so at all tokens
        with pytest.raises(UserError, match="put merge and drop after what uses it"):
            apply(model, recipe, context)
        return
    made = apply(model, recipe, context)
    save_model(made, tmp_path)
    loaded = load_model(tmp_path).network
    assert loaded.config == made.network.config
    torch.testing.assert_close(logits_alone(loaded, context), logits_alone(made.network, context), rtol=0, atol=0)
    counted = sum(o.macs for o in operations(made.network.config, 96))
    assert counted == count_macs(made.network, 96) == made.evidence[-1].macs_after < made.evidence[0].macs_before
    assert made.evidence[-1].details["tokens"][-1] == made.network.config.count_tokens(96)[-1] < 12


def test_what_is_left_can_be_trained(model: CompressedModel, context: TrainingContext) -> None:
    made = apply(model, "drop(0.7, 1) > merge(0.5) > finetune(1)", context)
    changed = made.network.state_dict()
    learning = {n: p for n, p in model.network.named_parameters() if not n.endswith("key.bias")}  # softmax ignores it
    assert [name for name, value in learning.items() if torch.equal(value, changed[name])] == []


@pytest.mark.parametrize(("tokens", "keep", "left"), [(12, 0.5, 6), (13, 0.5, 7), (10, 0.3, 3), (1, 0.5, 1)])
def test_shares_are_rounded_up(tokens: int, keep: float, left: int) -> None:
    assert TokenReduction("drop", keep).count_kept(tokens) == left


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ("merge(0.4)", "merge keeps a share of at least 0.5 and less than 1, not 0.4; merge again in a later layer"),
        ("drop(1)", "drop keeps a share of at least 0.001 and less than 1"),
        ("drop(0.5, 0)", "'layer' must be a whole number from 1 to 100,000, not 0"),
        ("drop(0.5, 3)", "no effect on a model of 3 layer.s., .* choose a layer up to 2"),
        ("drop(0.5) > merge(0.5)", "finds the tokens of layer 2 reduced already"),
        ("merge(0.5) > width(taylor, 8)", "put merge and drop after what uses it"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(
    model: CompressedModel, context: TrainingContext, recipe: str, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        apply(model, recipe, context)


def test_keeping_every_token_has_no_effect(model: CompressedModel, context: TrainingContext) -> None:
    with pytest.raises(NoEffect, match="leaves all 12 tokens"):
        apply(model, "drop(0.99)", context)
