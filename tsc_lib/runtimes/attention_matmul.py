"""Attention from matrix products and elementwise operators, for runtimes without a kernel for narrow heads.

A softmax subtracts the largest score so that no exponential overflows, and divides the weights of the values. Where the
weights of the network prove that no score can be large (`largest_score`), the exponentials are taken as they are, and
their sum is computed by a row of ones under the values: two passes fewer over the scores, of which there are far more
than tokens. A mask is then a factor of the values.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsc_lib.models.transformer import Attention, EncoderLayer, Transformer
from tsc_lib.runtimes.linear_ops import multiply_out

SAFE_SCORE = 60.0
"""Sums of thousands of exponentials up to this, times values of thousands, stay far within fp32's range."""


def largest_score(attention: Attention, norm: nn.LayerNorm) -> float:
    """An upper bound of the magnitude of every score, whatever the series, where attention reads a layer norm's output.

    A norm gives g z + b with ``|z|`` at most the root of d_model. So query and key of a head are Q z + c and K z' + e,
    and their product is at most ``|Q'K| d_model + (|Q'e| + |K'c|) sqrt(d_model) + |c'e|``, where ``|Q'K|`` is the
    spectral norm.
    """
    gain, shift, root = norm.weight, norm.bias, norm.weight.numel() ** 0.5
    weights, offsets = zip(*map(multiply_out, (attention.query, attention.key)), strict=True)
    heads = (attention.heads, attention.head_dim, -1)
    q, k = ((weight * gain).reshape(heads) for weight in weights)
    c, e = ((w @ shift + offset).reshape(heads) for w, offset in zip(weights, offsets, strict=True))
    product = torch.linalg.matrix_norm(q.transpose(1, 2) @ k, ord=2) * root**2
    product += ((q.transpose(1, 2) @ e).norm(dim=1) + (k.transpose(1, 2) @ c).norm(dim=1))[:, 0] * root
    product += (c.transpose(1, 2) @ e).abs()[:, 0, 0]
    return float(product.max()) * attention.head_dim**-0.5


def is_bounded(attention: Attention, norm: nn.LayerNorm | None) -> bool:
    """Whether no score can overflow: `largest_score` is at most `SAFE_SCORE`; never without a norm."""
    return norm is not None and largest_score(attention, norm) <= SAFE_SCORE


def list_norms(network: Transformer) -> list[nn.LayerNorm | None]:
    """The layer norm whose output attention reads, of each layer; None for embeddings, which nothing bounds."""
    layers = cast("list[EncoderLayer]", list(network.layers))
    if network.config.pre_norm:
        return [layer.attention_norm for layer in layers]
    return [None, *(layer.feed_forward_norm for layer in layers[:-1])]


def attend_matmul(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, bounded: bool) -> Tensor:
    """Attention of queries, keys and values with tokens last.

    Parameters
    ----------
    q : Tensor
        Queries (n, heads, head_dim, queries), scaled so that their product with a key is a score.
    k, v : Tensor
        Keys and values (n, heads, head_dim, tokens).
    mask : Tensor, optional
        What is added to the scores (n, 1, 1, tokens).
    bounded : bool
        Whether no score can overflow; see `is_bounded`.

    Returns
    -------
    Tensor
        The same shape as `q`.
    """
    if not bounded:
        scores = q.transpose(2, 3) @ k  # (n, heads, queries, tokens)
        weights = torch.softmax(scores if mask is None else scores + mask, dim=-1)
        return v @ weights.transpose(2, 3)
    v = F.pad(v, (0, 0, 0, 1), value=1.0)
    v = v if mask is None else v * mask.exp()
    y, total = (v @ torch.exp(k.transpose(2, 3) @ q)).split([q.shape[2], 1], dim=2)
    return y / total
