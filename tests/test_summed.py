"""Attention as sums gives what PyTorch's own attention gives."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from tsc_lib.models.embedding import PatchEmbeddingConfig
from tsc_lib.models.transformer import LayerConfig, Transformer, TransformerConfig
from tsc_lib.runtimes.attention_elementwise import (
    BF16,
    FP32,
    INT8,
    LEAST_EXPONENT,
    ROUNDING,
    ROUNDING_BITS,
    Spelling,
    power_of_two,
    summed,
)
from tsc_lib.runtimes.graph import InferenceTransformer


def test_powers_of_two_over_the_whole_range() -> None:
    z = torch.linspace(LEAST_EXPONENT, 127, 1_000_001)
    exact = torch.exp2(z.double())
    assert float((power_of_two(z).double() / exact - 1).abs().max()) < 3e-7
    whole = torch.tensor([LEAST_EXPONENT, -1.0, 0.0, 1.0, 127.0])
    torch.testing.assert_close(power_of_two(whole), torch.exp2(whole), rtol=2e-7, atol=0)


def test_chords_of_powers_of_two() -> None:
    z = torch.linspace(LEAST_EXPONENT, 127, 1_000_001)
    ratio = BF16.power(z * BF16.one + BF16.zero).double() / torch.exp2(z.double())
    assert float(ratio.min()) > 1 - 1e-4 and float(ratio.max()) < 1.0616
    whole = torch.tensor([LEAST_EXPONENT, -1.0, 0.0, 1.0, 127.0])
    torch.testing.assert_close(BF16.power(whole * BF16.one + BF16.zero), torch.exp2(whole), rtol=0, atol=0)


def test_bits_of_what_rounds() -> None:
    assert torch.tensor(ROUNDING).view(torch.int32).item() == ROUNDING_BITS


def inputs(tokens: int, width: int, scale: float) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 3, tokens, width)
    return scale * q, k, v


@pytest.mark.parametrize("tokens", [1, 2, 16, 17, 40])
@pytest.mark.parametrize(("width", "scale", "bounded"), [(4, 1.0, True), (4, 1.0, False), (2, 1e4, False)])
def test_sums_are_attention(tokens: int, width: int, scale: float, bounded: bool) -> None:
    q, k, v = inputs(tokens, width, scale)
    exact = F.scaled_dot_product_attention(q, k, v, scale=math.log(2))
    torch.testing.assert_close(summed(q, k, v, None, bounded), exact, rtol=0, atol=2e-6 if scale == 1.0 else 1e-2)


@pytest.mark.parametrize("spelling", [FP32, BF16, INT8])
@pytest.mark.parametrize("tokens", [1, 17, 40])
@pytest.mark.parametrize(("scale", "bounded"), [(1.0, True), (1.0, False), (1e4, False)])
def test_chords_weigh_nearly_as_powers_do(spelling: Spelling, tokens: int, scale: float, bounded: bool) -> None:
    q, k, v = inputs(tokens, 4, scale)
    exact = F.scaled_dot_product_attention(q, k, v, scale=math.log(2))
    # Weights that differ by 1 to 1.0616 times, and with them their sum: what they weigh moves by at most this share of
    # its spread.
    tolerance = 2e-6 if spelling is FP32 and scale == 1.0 else 0.031 * float(v.max() - v.min())
    y = summed(q * spelling.one, k, v, None, bounded, spelling)
    torch.testing.assert_close(y, exact, rtol=0, atol=tolerance)
    assert y.shape == v.shape


@pytest.mark.parametrize("bounded", [True, False])
def test_a_mask_leaves_padding_out_and_counts_merged_tokens(bounded: bool) -> None:
    q, k, v = inputs(9, 4, 1.0)
    mask = torch.tensor([0.0, 0.0, math.log(3), 0.0, math.log(2), 0.0, -math.inf, 0.0, -math.inf]).expand(2, 1, 1, 9)
    k[:, :, 6] *= 3.0 if bounded else 30.0  # the largest scores are those of padding
    exact = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=math.log(2))
    torch.testing.assert_close(summed(q, k, v, mask, bounded), exact, rtol=0, atol=2e-6)


def test_wide_heads_and_large_scores_are_told_apart() -> None:
    def attentions(width: int, scale: float) -> list[tuple[bool, bool]]:
        torch.manual_seed(0)
        network = Transformer(
            TransformerConfig(1, 3, PatchEmbeddingConfig(8), 16, width, (LayerConfig(16 // width, 32),) * 3, 32)
        )
        with torch.no_grad():
            network.layers[1].attention.query.weight.mul_(scale)
            return [
                (layer.attention.sums is not None, layer.attention.bounded)
                for layer in InferenceTransformer(network, attention="sums").layers
            ]

    assert attentions(4, 1.0) == [(True, False), (True, True), (False, False)]
    assert attentions(4, 300.0) == [(True, False), (True, False), (False, False)]
    assert attentions(16, 1.0) == [(False, False)] * 3
