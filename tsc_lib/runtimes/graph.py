"""A network as inference runtimes like it: the same logits from fewer and larger operators.

Positions and the embedding's bias are one table. Query, key and value are one matrix. Of the last layer only the class
token is computed, because nothing else of it is read: an eighth of T1, and nearly half of a model of two layers.
What attention is made of depends on what the runtime has: an operator, products of matrices
(`tsc_lib.runtimes.attention_matmul`) or sums that its compiler fuses (`tsc_lib.runtimes.attention_elementwise`).
"""

from __future__ import annotations

import math
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsc_lib.models.embedding import PatchEmbedding, fill_patch
from tsc_lib.models.token_reduction import reduce_tokens
from tsc_lib.models.transformer import Attention, EncoderLayer, Transformer
from tsc_lib.runtimes.attention_elementwise import FP32, WIDEST_HEAD, Spelling, summed
from tsc_lib.runtimes.attention_matmul import SAFE_SCORE, MatmulLayer, largest_score, spelled
from tsc_lib.runtimes.linear_ops import joined, scaled

Form = Literal["operator", "products", "sums"]


class InferenceAttention(nn.Module):
    """Attention whose projections are one matrix and whose products are one operator, or sums.

    Parameters
    ----------
    attention : Attention
        Whose weights to take; left alone.
    norm : LayerNorm, optional
        What gives the tokens; None if nothing bounds them.
    first_only : bool
        Whether only the first token is asked for.
    sums : Spelling, optional
        How what narrow heads compute is spelled as sums; None if it is not.
    """

    def __init__(
        self, attention: Attention, norm: nn.LayerNorm | None, first_only: bool, sums: Spelling | None
    ) -> None:
        super().__init__()
        self.heads, self.head_dim, self.first_only = attention.heads, attention.head_dim, first_only
        self.scale = self.head_dim**-0.5
        self.out = attention.out
        self.sums = None if first_only or self.head_dim > WIDEST_HEAD else sums
        self.bounded = self.sums is not None and norm is not None and largest_score(attention, norm) <= SAFE_SCORE
        if first_only:
            self.query, self.key_value = attention.query, joined(attention.key, attention.value)
        elif self.sums is not None:
            exponent = math.log(2) / self.sums.one  # by how much a score grows with one unit of what `summed` takes
            query = scaled(attention.query, self.scale / exponent)
            self.query_key_value = joined(query, attention.key, attention.value)
            self.scale = exponent
        else:
            self.query_key_value = joined(attention.query, attention.key, attention.value)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (n, heads, tokens, head_dim)."""
        if self.first_only:
            q = self.query(x[:, 0]).reshape(-1, self.heads, 1, self.head_dim)
            k, v = self._cut(self.key_value(x))
        else:
            q, k, v = self._cut(self.query_key_value(x))
        return q, k, v

    def _cut(self, joined: Tensor) -> list[Tensor]:
        split = joined.split(self.heads * self.head_dim, dim=2)
        return [part.reshape(-1, joined.shape[1], self.heads, self.head_dim).transpose(1, 2) for part in split]

    def mix(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """What attention makes of them."""
        if self.sums is not None:
            y = summed(q, k, v, mask, self.bounded, self.sums).to(q.dtype)
        else:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        width = self.heads * self.head_dim
        return self.out(y.reshape(-1, width) if self.first_only else y.transpose(1, 2).reshape(-1, k.shape[2], width))


class InferenceLayer(nn.Module):
    """An encoder layer around a `InferenceAttention`."""

    def __init__(self, layer: EncoderLayer, norm: nn.LayerNorm | None, first_only: bool, sums: Spelling | None) -> None:
        super().__init__()
        self.attention = InferenceAttention(layer.attention, norm, first_only, sums)
        self.attention_norm, self.feed_forward_norm = layer.attention_norm, layer.feed_forward_norm
        self.feed_forward = layer.feed_forward
        self.reduction = None if first_only else layer.reduction

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Tokens (n, tokens, d_model) and their mask, or the first of the tokens (n, d_model)."""
        q, k, v = self.attention.project(x)
        asked = x[:, 0] if self.attention.first_only else x
        x = self.attention_norm(asked + self.attention.mix(q, k, v, mask))
        if self.reduction is not None:
            x, mask = reduce_tokens(x, mask, q, k, self.attention.scale, self.reduction)
        return self.feed_forward_norm(x + self.feed_forward(x)), mask


class InferenceEmbedding(nn.Module):
    """A patch embedding whose positions and bias are one table.

    Parameters
    ----------
    embedding : PatchEmbedding
        Whose weights to take; left alone.
    """

    table: Tensor
    class_row: Tensor

    def __init__(self, embedding: PatchEmbedding) -> None:
        super().__init__()
        old = embedding.convolution
        self.patch = embedding.config.patch
        self.convolution = nn.Conv1d(old.in_channels, old.out_channels, self.patch, stride=self.patch, bias=False)
        self.convolution.weight.copy_(old.weight)
        assert old.bias is not None
        self.register_buffer("table", embedding.positions[1:] + old.bias, persistent=False)
        self.register_buffer("class_row", embedding.class_token[0] + embedding.positions[:1], persistent=False)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Tokens (n, tokens, d_model), the class token first, and what is added to their scores (n, 1, 1, tokens)."""
        x = self.convolution(fill_patch(x, self.patch)).transpose(1, 2)  # (n, patches, d_model)
        patches = x.shape[1]
        x = x + self.table[:patches]
        x = torch.cat([self.class_row.expand(x.shape[0], 1, -1), x], dim=1)
        if lengths is None:
            return x, None
        valid = torch.arange(patches + 1, device=x.device) <= (lengths // self.patch).unsqueeze(1)
        mask = torch.where(valid, 0.0, -torch.inf)[:, None, None, :]
        return x, mask if mask.dtype == x.dtype else mask.to(x.dtype)  # a graph of fp32 would hold the operator, too


class InferenceTransformer(nn.Module):
    """The inference form of a transformer.

    Parameters
    ----------
    network : Transformer
        Whose logits to reproduce; left alone. Series have the lengths that it takes.
    attention : str
        "operator" for runtimes that have a kernel for it, "products" for those that have not, "sums" for a compiler.
    sums : Spelling
        How "sums" are spelled; other forms are the same for every number format.
    """

    def __init__(self, network: Transformer, *, attention: Form, sums: Spelling = FP32) -> None:
        super().__init__()
        self.attention, self.pool = attention, network.embedding.pool
        self.sums = sums if attention == "sums" else None
        with torch.no_grad():
            self.embedding = InferenceEmbedding(network.embedding)
            self.layers = self._form(cast("list[EncoderLayer]", list(network.layers)))
        self.hidden, self.classify, self.exits = network.hidden, network.classify, network.exits

    def _form(self, layers: list[EncoderLayer]) -> nn.ModuleList:
        only = [*(False for _ in layers[1:]), True]  # of the last layer only the class token is read
        norms = [None, *(layer.feed_forward_norm for layer in layers[:-1])]
        if self.attention == "products":
            return nn.ModuleList(map(MatmulLayer, layers, norms, only))
        return nn.ModuleList(InferenceLayer(*each, self.sums) for each in zip(layers, norms, only, strict=True))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits (n, classes) of series x (n, channels, length), padded beyond `lengths` (n,) if given."""
        x, mask = self.embedding(x, lengths)
        return self.classify_tokens(*self.encode(x, mask, 0, len(self.layers)))

    def encode(self, x: Tensor, mask: Tensor | None, first: int, last: int) -> tuple[Tensor, Tensor | None]:
        """Tokens after the layers from `first` to before `last`, and their mask; after the very last, the first."""
        if self.attention == "products":
            return spelled(self.layers[first:last], x, mask)
        for layer in self.layers[first:last]:
            x, mask = layer(x, mask)
        return x, mask

    def classify_tokens(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Logits from the class token (n, d_model) after the last layer, which alone is computed there."""
        return self.classify(F.relu(self.hidden(x)))


def sources(name: str) -> tuple[str, ...]:
    """The linear layers of a `Transformer` that one of its lean form's is made of.

    Examples
    --------
    >>> sources("layers.0.attention.key_value")
    ('layers.0.attention.key', 'layers.0.attention.value')
    >>> sources("layers.0.attention.key_value.linears.1.0")  # the first of two thinner ones
    ('layers.0.attention.value.0',)
    """
    before, found, joined = name.partition(".attention.")
    kinds, _, rest = joined.partition(".")
    names = [f"{before}{found}{kind}" for kind in kinds.split("_")]
    if rest.startswith("linears."):
        place, *thinner = rest.removeprefix("linears.").split(".")
        return (".".join([names[int(place)], *thinner]),)
    return tuple(".".join(part for part in (own, rest) if part) for own in names) if found else (name,)
