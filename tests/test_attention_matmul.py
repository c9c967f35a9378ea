"""Attention from matrix products: exponentials without a softmax only where the weights prove that none overflows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tsc_lib import runtimes
from tsc_lib.models.compressed import CompressedModel
from tsc_lib.models.embedding import PatchEmbeddingConfig
from tsc_lib.models.transformer import Attention, LayerConfig, Ranks, Transformer, TransformerConfig
from tsc_lib.runtimes import convert
from tsc_lib.runtimes.attention_matmul import SAFE_SCORE, largest_score
from tsc_lib.runtimes.graph import InferenceTransformer
from tsc_lib.runtimes.linear_ops import multiply_out

RANKS = Ranks(query=2)


def attention_of(ranks: Ranks) -> tuple[Attention, nn.LayerNorm]:
    """Attention and the norm before it, with all their weights at random."""
    torch.manual_seed(0)
    attention, norm = Attention(12, 3, 4, ranks), nn.LayerNorm(12)
    with torch.no_grad():
        for parameter in (*attention.parameters(), *norm.parameters()):
            parameter.normal_()
    return attention, norm


def scores(attention: Attention, tokens: torch.Tensor) -> torch.Tensor:
    """Every score (heads, tokens, tokens) of tokens (tokens, d_model)."""
    _, q, k = attention(tokens[None], None)
    return (q @ k.transpose(2, 3))[0] * attention.head_dim**-0.5


@pytest.mark.parametrize("ranks", [Ranks(), RANKS], ids=["whole", "factorised"])
def test_no_score_exceeds_what_the_weights_prove(ranks: Ranks) -> None:
    attention, norm = attention_of(ranks)
    with torch.no_grad():
        bound = largest_score(attention, norm)
        # Tokens at random, and those that every head's own directions lead to.
        directions = [
            weight.reshape(3, 4, 12) for weight, _ in (multiply_out(attention.query), multiply_out(attention.key))
        ]
        led = [torch.linalg.svd(w * norm.weight)[2].reshape(-1, 12) for w in (*directions, directions[0] * -1)]
        tokens = norm(torch.cat([torch.randn(2000, 12) * 10, *led, *(-way for way in led)]))
        largest = float(scores(attention, tokens).abs().max())
    assert 0.3 * bound < largest <= bound


def test_the_bound_is_reached_where_all_is_aligned() -> None:
    attention, norm = Attention(4, 1, 4), nn.LayerNorm(4, eps=0.0)
    with torch.no_grad():
        for linear in (attention.query, attention.key):
            assert isinstance(linear, nn.Linear)
            linear.weight.copy_(2 * torch.eye(4))
            linear.bias.zero_()
        largest = float(scores(attention, norm(torch.tensor([[1.0, -1.0, 1.0, -1.0]]))).max())
        assert largest_score(attention, norm) == pytest.approx(largest)


def network_of(scale: float) -> Transformer:
    """Four layers; `scale` multiplies the queries of the third."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = TransformerConfig(1, 3, PatchEmbeddingConfig(8), 16, 4, (LayerConfig(4, 32),) * 4, 32)
    network = Transformer(config).eval()
    with torch.no_grad():
        network.layers[2].attention.query.weight.mul_(scale)
    return network


@pytest.mark.compiles
@pytest.mark.parametrize(
    ("scale", "bounded"), [(1.0, [False, True, True, False]), (300.0, [False, True, False, False])]
)
@pytest.mark.parametrize("equal_length", [True, False])
def test_large_scores_are_left_to_a_softmax(
    tmp_path: Path, scale: float, bounded: list[bool], equal_length: bool
) -> None:
    network = network_of(scale)
    graph = InferenceTransformer(network, attention="matmul")
    assert [layer.attention.bounded for layer in graph.layers] == bounded
    convert.convert(CompressedModel(network, 40), "onnxruntime", tmp_path, equal_length=equal_length)
    x = 100 * np.random.default_rng(0).normal(size=(6, 1, 40)).astype(np.float32)  # scores of the first layer are large
    lengths = None if equal_length else np.array([40, 16, 8, 33, 24, 40])
    if lengths is not None:
        x = x * (np.arange(40) < lengths[:, None])[:, None]
    with torch.inference_mode():
        exact = network(torch.from_numpy(x), None if lengths is None else torch.from_numpy(lengths)).numpy()
    np.testing.assert_allclose(runtimes.load(tmp_path, "onnxruntime")(x, lengths), exact, atol=2e-5)


def test_what_is_safe_does_not_overflow() -> None:
    tokens, value = 10_000, 1e4
    total = torch.exp(torch.full((tokens,), SAFE_SCORE)).sum() * value
    assert torch.isfinite(total) and torch.exp(torch.tensor(-SAFE_SCORE)) > torch.finfo(torch.float32).tiny
