"""Attention from elementwise operators gives what PyTorch's own attention gives."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from tsc_lib.models.embedding import PatchEmbeddingConfig
from tsc_lib.models.transformer import LayerConfig, Transformer, TransformerConfig
from tsc_lib.runtimes.attention_elementwise import LEAST_EXPONENT, attend_elementwise, power_of_two
from tsc_lib.runtimes.graph import InferenceTransformer


def test_powers_of_two_over_the_whole_range() -> None:
    z = torch.linspace(LEAST_EXPONENT, 127, 1_000_001)
    exact = torch.exp2(z.double())
    assert float((power_of_two(z).double() / exact - 1).abs().max()) < 3e-7
    whole = torch.tensor([LEAST_EXPONENT, -1.0, 0.0, 1.0, 127.0])
    torch.testing.assert_close(power_of_two(whole), torch.exp2(whole), rtol=2e-7, atol=0)


def inputs(tokens: int, width: int, scale: float) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 3, tokens, width)
    return scale * q, k, v


@pytest.mark.parametrize("tokens", [1, 2, 16, 17, 40])
@pytest.mark.parametrize(("width", "scale", "bounded"), [(4, 1.0, True), (4, 1.0, False), (2, 1e4, False)])
def test_sums_are_attention(tokens: int, width: int, scale: float, bounded: bool) -> None:
    q, k, v = inputs(tokens, width, scale)
    exact = F.scaled_dot_product_attention(q, k, v, scale=math.log(2))
    torch.testing.assert_close(
        attend_elementwise(q, k, v, None, bounded), exact, rtol=0, atol=2e-6 if scale == 1.0 else 1e-2
    )


@pytest.mark.parametrize("bounded", [True, False])
def test_sums_of_bf16_are_those_of_the_same_numbers_in_fp32(bounded: bool) -> None:
    q, k, v = (x.bfloat16() for x in inputs(17, 4, 1.0))
    exact = attend_elementwise(q.float(), k.float(), v.float(), None, bounded)
    y = attend_elementwise(q, k, v, None, bounded)
    assert y.dtype == torch.bfloat16 and torch.equal(y, exact.bfloat16())


@pytest.mark.parametrize("bounded", [True, False])
def test_a_mask_leaves_padding_out_and_counts_merged_tokens(bounded: bool) -> None:
    q, k, v = inputs(9, 4, 1.0)
    mask = torch.tensor([0.0, 0.0, math.log(3), 0.0, math.log(2), 0.0, -math.inf, 0.0, -math.inf]).expand(2, 1, 1, 9)
    k[:, :, 6] *= 3.0 if bounded else 30.0  # the largest scores are those of padding
    exact = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=math.log(2))
    torch.testing.assert_close(attend_elementwise(q, k, v, mask, bounded), exact, rtol=0, atol=2e-6)


def test_wide_heads_and_large_scores_are_told_apart() -> None:
    def attentions(width: int, scale: float) -> list[tuple[bool, bool]]:
        torch.manual_seed(0)
        network = Transformer(
            TransformerConfig(1, 3, PatchEmbeddingConfig(8), 16, width, (LayerConfig(16 // width, 32),) * 3, 32)
        )
        with torch.no_grad():
            network.layers[1].attention.query.weight.mul_(scale)
            return [
                (layer.attention.form == "elementwise", layer.attention.bounded)
                for layer in InferenceTransformer(network, attention="elementwise").layers
            ]

    assert attentions(4, 1.0) == [(True, False), (True, True), (False, False)]
    assert attentions(4, 300.0) == [(True, False), (True, False), (False, False)]
    assert attentions(16, 1.0) == [(False, False)] * 3
