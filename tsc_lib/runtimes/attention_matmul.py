"""Encoder layers spelled out in products and elementwise operators, for runtimes without a kernel for attention.

Tokens of all series are the rows of one matrix, so that a runtime can put a bias, and the ReLU after it, into the
product before it. Within attention tokens lie last in memory: heads are cut out of the projections without moving
numbers in pieces as small as a head.

A softmax subtracts the largest score so that no exponential overflows, and divides what the values are multiplied by.
Where the weights alone prove that no score can be large (`largest_score`), the exponentials are taken as they are, and
what is divided is the sum, by a row of ones under the values: two passes fewer over the scores, which are far more
numbers than tokens. A mask is then a factor of the values.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsc_lib.models.token_reduction import reduce_tokens
from tsc_lib.models.transformer import Attention, EncoderLayer
from tsc_lib.runtimes.linear_ops import affine, joined, scaled

SAFE_SCORE = 60.0
"""Sums of thousands of exponentials up to this, times values of thousands, stay far within fp32's range."""


def largest_score(attention: Attention, norm: nn.LayerNorm) -> float:
    """What no score exceeds in magnitude, whatever the series, where attention reads what a layer norm gives.

    A norm gives g z + b with |z| at most the root of d_model. So query and key of a head are Q z + c and K z' + e, and
    their product is at most |Q'K| d_model + (|Q'e| + |K'c|) sqrt(d_model) + |c'e|, |Q'K| being the spectral norm.
    """
    gain, shift, root = norm.weight, norm.bias, norm.weight.numel() ** 0.5
    weights, offsets = zip(*map(affine, (attention.query, attention.key)), strict=True)
    heads = (attention.heads, attention.head_dim, -1)
    q, k = ((weight * gain).reshape(heads) for weight in weights)
    c, e = ((w @ shift + offset).reshape(heads) for w, offset in zip(weights, offsets, strict=True))
    product = torch.linalg.matrix_norm(q.transpose(1, 2) @ k, ord=2) * root**2
    product += ((q.transpose(1, 2) @ e).norm(dim=1) + (k.transpose(1, 2) @ c).norm(dim=1))[:, 0] * root
    product += (c.transpose(1, 2) @ e).abs()[:, 0, 0]
    return float(product.max()) * attention.head_dim**-0.5


class MatmulAttention(nn.Module):
    """Attention of tokens that are rows, as products.

    Parameters
    ----------
    attention : Attention
        Whose weights to take; left alone.
    norm : LayerNorm, optional
        What gives the tokens; None if nothing bounds them.
    first_only : bool
        Whether only the first token of each series is asked for.
    """

    def __init__(self, attention: Attention, norm: nn.LayerNorm | None, first_only: bool) -> None:
        super().__init__()
        self.heads, self.head_dim, self.first_only = attention.heads, attention.head_dim, first_only
        # One query has so few scores that fewer operators are worth more.
        self.bounded = not first_only and norm is not None and largest_score(attention, norm) <= SAFE_SCORE
        self.out = attention.out
        query = scaled(attention.query, self.head_dim**-0.5)
        if first_only:
            self.query, self.key_value = query, joined(attention.key, attention.value)
        else:
            self.query_key_value = joined(query, attention.key, attention.value)

    def forward(self, rows: Tensor, tokens: int, mask: Tensor | None) -> Tensor:
        """What attention adds to rows (n * tokens, d_model), or to the first of each series (n, d_model)."""
        return self.mix(*self.project(rows, tokens), mask)

    def project(self, rows: Tensor, tokens: int) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (n, heads, head_dim, tokens)."""
        if self.first_only:
            q = self.query(first_of(rows, tokens)).reshape(-1, self.heads, self.head_dim, 1)
            k, v = self._cut(self.key_value(rows), tokens)
        else:
            q, k, v = self._cut(self.query_key_value(rows), tokens)
        return q, k, v

    def _cut(self, both: Tensor, tokens: int) -> tuple[Tensor, ...]:
        width = both.shape[1]
        last = both.reshape(-1, tokens, width).transpose(1, 2)
        return last.reshape(-1, width // self.head_dim, self.head_dim, tokens).split(self.heads, dim=1)

    def mix(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """What attention makes of them."""
        if self.bounded:
            v = F.pad(v, (0, 0, 0, 1), value=1.0)
            v = v if mask is None else v * mask.exp()
            y, total = (v @ torch.exp(k.transpose(2, 3) @ q)).split([self.head_dim, 1], dim=2)
            y = y / total
        else:
            scores = q.transpose(2, 3) @ k  # (n, heads, queries, keys)
            weights = torch.softmax(scores if mask is None else scores + mask, dim=-1)
            y = v @ weights.transpose(2, 3)
        width = self.heads * self.head_dim
        if not self.first_only:
            y = y.reshape(-1, width, k.shape[3]).transpose(1, 2)
        return self.out(y.reshape(-1, width))


class MatmulLayer(nn.Module):
    """An encoder layer around a `MatmulAttention`."""

    def __init__(self, layer: EncoderLayer, norm: nn.LayerNorm | None, first_only: bool) -> None:
        super().__init__()
        self.attention = MatmulAttention(layer.attention, norm, first_only)
        self.attention_norm, self.feed_forward_norm = layer.attention_norm, layer.feed_forward_norm
        self.feed_forward = layer.feed_forward
        self.reduction = None if first_only else layer.reduction

    def forward(self, rows: Tensor, tokens: int, mask: Tensor | None) -> Tensor:
        asked = first_of(rows, tokens) if self.attention.first_only else rows
        return self._fed(self.attention_norm(asked + self.attention(rows, tokens, mask)))

    def reducing(self, rows: Tensor, tokens: int, mask: Tensor | None) -> tuple[Tensor, int, Tensor | None]:
        """The same of fewer tokens after attention, how many they are, and their mask."""
        assert self.reduction is not None
        q, k, v = self.attention.project(rows, tokens)
        rows = self.attention_norm(rows + self.attention.mix(q, k, v, mask))
        x = rows.reshape(-1, tokens, rows.shape[1])
        x, mask = reduce_tokens(x, mask, q.transpose(2, 3), k.transpose(2, 3), 1.0, self.reduction)
        return self._fed(x.reshape(-1, x.shape[2])), x.shape[1], mask

    def _fed(self, rows: Tensor) -> Tensor:
        return self.feed_forward_norm(rows + self.feed_forward(rows))


def spelled(layers: nn.ModuleList, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Tokens (n, tokens, d_model) after some layers, and their mask; after a layer for the first only, those."""
    tokens, width = x.shape[1:]
    rows = x.reshape(-1, width)
    for layer in cast("list[MatmulLayer]", layers):
        if layer.reduction is None:
            rows = layer(rows, tokens, mask)
        else:
            rows, tokens, mask = layer.reducing(rows, tokens, mask)
    return rows if layer.attention.first_only else rows.reshape(-1, tokens, width), mask


def first_of(rows: Tensor, tokens: int) -> Tensor:
    """The first token of every series, of rows (n * tokens, d_model)."""
    return rows.reshape(-1, tokens, rows.shape[1])[:, 0]
