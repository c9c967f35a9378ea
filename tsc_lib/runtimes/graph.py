"""A transformer in the form that inference runtimes execute fastest: the same logits from fewer and larger operators.

The bias of the embedding is part of the positions. Query, key and value are one matrix. Of the last layer only the
class token is computed, because nothing else of it is read: an eighth of T1, and nearly half of a model of two layers.
How attention is written depends on what the runtime has: an operator, matrix products
(`tsc_lib.runtimes.attention_matmul`) or sums that its compiler fuses (`tsc_lib.runtimes.attention_elementwise`). With
the last two, the tokens of all series are the rows of one matrix, so that a runtime can fuse a bias, and the ReLU after
it, with the product before it. OpenVINO, which has the operator, fuses them anyway, and fails on rows in int8.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsc_lib.models.convolution_embedding import ConvolutionEmbedding, measure_strengths
from tsc_lib.models.embedding import Embedding, PatchEmbedding, count_patches, fill_patch
from tsc_lib.models.token_reduction import reduce_tokens
from tsc_lib.models.transformer import Attention, EncoderLayer, Transformer
from tsc_lib.runtimes.attention_elementwise import WIDEST_HEAD, attend_elementwise
from tsc_lib.runtimes.attention_matmul import attend_matmul, is_bounded, list_norms
from tsc_lib.runtimes.linear_ops import concatenate_linears, scale_linear

Form = Literal["operator", "matmul", "elementwise"]

POSITIONS = "embedding.positions"
"""The buffer of `InferenceTransformer` that holds the table of positions, which is no weight."""


class InferenceAttention(nn.Module):
    """Attention with its projections in one matrix.

    Tokens are the rows of one matrix (n * tokens, d_model), but for the operator (n, tokens, d_model).

    Parameters
    ----------
    attention : Attention
        Whose weights to take; left alone.
    norm : LayerNorm, optional
        What gives the tokens; None if nothing bounds them.
    first_only : bool
        Whether only the first token of each series is asked for.
    form : {"operator", "matmul", "elementwise"}
        How attention is written. Heads that are too wide for "elementwise", and a single query, get the operator.
    """

    def __init__(self, attention: Attention, norm: nn.LayerNorm | None, first_only: bool, form: Form) -> None:
        super().__init__()
        self.heads, self.head_dim, self.first_only = attention.heads, attention.head_dim, first_only
        self.has_rows = form != "operator"
        narrow = not first_only and self.head_dim <= WIDEST_HEAD
        self.form: Form = "operator" if form == "elementwise" and not narrow else form
        # One query has so few scores that fewer operators are worth more.
        self.bounded = self.form != "operator" and not first_only and is_bounded(attention, norm)
        # What a product of query and key is still to be multiplied by; "elementwise" takes powers of two.
        self.scale = {"operator": self.head_dim**-0.5, "matmul": 1.0, "elementwise": math.log(2)}[self.form]
        query = scale_linear(attention.query, self.head_dim**-0.5 / self.scale)
        if first_only:
            self.query, self.key_value = query, concatenate_linears(attention.key, attention.value)
        else:
            self.query_key_value = concatenate_linears(query, attention.key, attention.value)
        self.out = attention.out

    def project(self, x: Tensor, tokens: int) -> tuple[Tensor, ...]:
        """Queries, keys and values (n, heads, tokens, head_dim); for "matmul" (n, heads, head_dim, tokens)."""
        if not self.first_only:
            return tuple(self._split_heads(self.query_key_value(x), tokens))
        query = (self.head_dim, 1) if self.form == "matmul" else (1, self.head_dim)
        q = self.query(separate(x, tokens)[:, 0]).reshape(-1, self.heads, *query)
        return (q, *self._split_heads(self.key_value(x), tokens))

    def _split_heads(self, projected: Tensor, tokens: int) -> Sequence[Tensor]:
        if self.form == "matmul":  # heads are cut out without moving numbers in pieces as small as a head
            width = projected.shape[1]
            last = projected.reshape(-1, tokens, width).transpose(1, 2)
            return last.reshape(-1, width // self.head_dim, self.head_dim, tokens).split(self.heads, dim=1)
        parts = projected.split(self.heads * self.head_dim, dim=-1)
        return [part.reshape(-1, tokens, self.heads, self.head_dim).transpose(1, 2) for part in parts]

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """What attention adds to the tokens, or to the first of each series (n, d_model)."""
        width = self.heads * self.head_dim
        if self.form == "matmul":
            y = attend_matmul(q, k, v, mask, self.bounded)
            y = y if self.first_only else y.reshape(-1, width, k.shape[3]).transpose(1, 2)
            return self.out(y.reshape(-1, width))
        if self.form == "elementwise":
            y = attend_elementwise(q, k, v, mask, self.bounded)
        else:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        y = y if self.first_only else y.transpose(1, 2)
        return self.out(y.reshape(*([-1] if self.has_rows else [-1, q.shape[2]]), width))


class InferenceLayer(nn.Module):
    """An encoder layer around an `InferenceAttention`."""

    def __init__(self, layer: EncoderLayer, norm: nn.LayerNorm | None, first_only: bool, form: Form) -> None:
        super().__init__()
        self.attention = InferenceAttention(layer.attention, norm, first_only, form)
        self.attention_norm, self.feed_forward_norm = layer.attention_norm, layer.feed_forward_norm
        self.feed_forward = layer.feed_forward
        self.reduction, self.pre_norm = None if first_only else layer.reduction, layer.pre_norm

    def forward(self, x: Tensor, tokens: int, mask: Tensor | None) -> tuple[Tensor, int, Tensor | None]:
        """Tokens, how many each series has, and their mask, after the layer."""
        q, k, v = self.attention.project(self.attention_norm(x) if self.pre_norm else x, tokens)
        if self.attention.first_only:
            # A token of its own as long as it is one: OpenVINO 2026.4 ends with a segmentation fault where rows of
            # class tokens meet a pre-norm's residual.
            x, tokens = separate(x, tokens)[:, 0] if self.attention.has_rows else x[:, :1], 1
        x = x + self.attention.attend(q, k, v, mask)
        x = x if self.pre_norm else self.attention_norm(x)
        if self.reduction is not None:
            if self.attention.form == "matmul":
                q, k = q.transpose(2, 3), k.transpose(2, 3)
            x, mask = reduce_tokens(separate(x, tokens), mask, q, k, self.attention.scale, self.reduction)
            tokens = x.shape[1]
            x = x.reshape(-1, x.shape[2]) if self.attention.has_rows else x
        if self.pre_norm:
            return x + self.feed_forward(self.feed_forward_norm(x)), tokens, mask
        return self.feed_forward_norm(x + self.feed_forward(x)), tokens, mask


class InferenceEmbedding(nn.Module):
    """An embedding whose last bias is part of the positions.

    Parameters
    ----------
    embedding : Embedding
        Whose weights to take; left alone.
    length : int, optional
        Time steps of all series; None where they differ, or are not known.
    """

    positions: Tensor
    class_token: Tensor

    def __init__(self, embedding: Embedding, length: int | None) -> None:
        super().__init__()
        self.patch, self.is_fixed = embedding.config.patch, length is not None
        self.tokens, bias = make_inference_tokens(embedding)
        positions = embedding.positions[1 : None if length is None else embedding.config.count_tokens(length) + 1]
        # With a dimension for series; OpenVINO would add one and lose the name.
        self.register_buffer("positions", (positions + bias)[None], persistent=False)
        self.register_buffer("class_token", embedding.class_token[0] + embedding.positions[:1], persistent=False)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Tokens (n, tokens, d_model), the class token first, and what is added to their scores (n, 1, 1, tokens)."""
        patches = None if lengths is None else count_patches(lengths, self.patch)
        x, level = self.tokens(fill_patch(x, self.patch), patches)
        n, tokens, _ = x.shape
        x = x + (self.positions if self.is_fixed else self.positions[:, :tokens])
        first = self.class_token.expand(n, 1, -1) if level is None else self.class_token + level
        x = torch.cat([first, x], dim=1)
        if patches is None:
            return x, None
        valid = torch.arange(tokens + 1, device=x.device) <= patches.unsqueeze(1)
        mask = torch.where(valid, 0.0, -torch.inf)[:, None, None, :]
        return x, mask if mask.dtype == x.dtype else mask.to(x.dtype)  # a graph of fp32 would hold the operator, too


class PatchTokens(nn.Module):
    """The convolution of a patch embedding, without its bias."""

    def __init__(self, embedding: PatchEmbedding) -> None:
        super().__init__()
        old, patch = embedding.convolution, embedding.config.patch
        self.convolution = nn.Conv1d(old.in_channels, old.out_channels, patch, stride=patch, bias=False)
        self.convolution.weight.copy_(old.weight)

    def forward(self, x: Tensor, patches: Tensor | None) -> tuple[Tensor, None]:
        """Tokens (n, tokens, d_model) of series (n, channels, length)."""
        return self.convolution(x).transpose(1, 2), None


class ConvolutionTokens(nn.Module):
    """A convolution embedding whose norm scales within the projection, and has no bias after it."""

    def __init__(self, embedding: ConvolutionEmbedding) -> None:
        super().__init__()
        self.patch, self.features = embedding.config.patch, embedding.config.features
        self.convolution, self.pointwise, self.level = embedding.convolution, embedding.pointwise, embedding.level
        self.project = nn.Linear(self.features, embedding.project.out_features, bias=False)
        self.project.weight.copy_(embedding.project.weight * embedding.norm.weight)
        self.eps = embedding.norm.eps

    def forward(self, x: Tensor, patches: Tensor | None) -> tuple[Tensor, Tensor]:
        """Tokens (n, tokens, d_model) of series (n, channels, length), and the level for their class tokens."""
        features, level = measure_strengths(x, patches, self.patch, self.convolution, self.pointwise)
        return self.project(F.layer_norm(features, (self.features,), eps=self.eps)), self.level(level)


def make_inference_tokens(embedding: Embedding) -> tuple[nn.Module, Tensor]:
    """What makes the tokens of an embedding, and the bias (d_model,) that is still to be added to them."""
    if isinstance(embedding, ConvolutionEmbedding):
        norm, project = embedding.norm, embedding.project
        return ConvolutionTokens(embedding), project.bias + project.weight @ norm.bias
    assert isinstance(embedding, PatchEmbedding)
    assert embedding.convolution.bias is not None
    return PatchTokens(embedding), embedding.convolution.bias


class InferenceTransformer(nn.Module):
    """The inference form of a transformer.

    Parameters
    ----------
    network : Transformer
        Whose logits to reproduce; left alone. Series have the lengths that it takes.
    attention : {"operator", "matmul", "elementwise"}
        "operator" for runtimes that have a kernel for it, "matmul" for those that have not, "elementwise" for a
        compiler that fuses.
    length : int, optional
        Time steps of all series; None where they differ, or are not known.
    """

    def __init__(self, network: Transformer, *, attention: Form, length: int | None = None) -> None:
        super().__init__()
        self.pool, self.read, self.has_rows = network.pool, network.read, attention != "operator"
        with torch.no_grad():
            self.embedding = InferenceEmbedding(network.embedding, length)
            layers = cast("list[EncoderLayer]", list(network.layers))
            self.layers = nn.ModuleList(
                InferenceLayer(layer, norm, layer is layers[-1], attention)
                for layer, norm in zip(layers, list_norms(network), strict=True)
            )
        self.norm, self.hidden, self.classify = network.norm, network.hidden, network.classify
        self.exits = network.exits

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits (n, classes) of series x (n, channels, length), padded beyond `lengths` (n,) if given."""
        x, _ = self.encode(*self.embed(x, lengths), 0, len(self.layers))
        return self.classify_tokens(x)

    def embed(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Tokens of series x (n, channels, length), and what is added to their scores."""
        return self.embedding(self.read(x), lengths)

    def encode(self, x: Tensor, mask: Tensor | None, first: int, last: int) -> tuple[Tensor, Tensor | None]:
        """Tokens after the layers from `first` to before `last`, and their mask; after the last layer the class token.

        The class token of every series is (n, d_model).
        """
        tokens, width = x.shape[1:]
        x = x.reshape(-1, width) if self.has_rows else x
        for layer in self.layers[first:last]:
            x, tokens, mask = layer(x, tokens, mask)
        if last < len(self.layers):
            return separate(x, tokens), mask
        return x if self.has_rows else x[:, 0], mask

    def classify_tokens(self, x: Tensor) -> Tensor:
        """Logits from the class token (n, d_model) after the last layer, which alone is computed there."""
        return self.classify(F.relu(self.hidden(self.norm(x))))


def separate(x: Tensor, tokens: int) -> Tensor:
    """Tokens (n, tokens, d_model), also where they are rows (n * tokens, d_model)."""
    return x if x.dim() == 3 else x.reshape(-1, tokens, x.shape[1])


def find_sources(name: str) -> tuple[str, ...]:
    """The linear layers of a `Transformer` that one linear layer of its inference form is made of.

    Examples
    --------
    >>> find_sources("layers.0.attention.key_value")
    ('layers.0.attention.key', 'layers.0.attention.value')
    >>> find_sources("layers.0.attention.key_value.linears.1.0")  # the first of two thinner ones
    ('layers.0.attention.value.0',)
    >>> find_sources("embedding.tokens.project")
    ('embedding.project',)
    """
    name = name.replace("embedding.tokens.", "embedding.")
    before, found, projection = name.partition(".attention.")
    kinds, _, rest = projection.partition(".")
    names = [f"{before}{found}{kind}" for kind in kinds.split("_")]
    if rest.startswith("linears."):
        place, *thinner = rest.removeprefix("linears.").split(".")
        return (".".join([names[int(place)], *thinner]),)
    return tuple(".".join(part for part in (own, rest) if part) for own in names) if found else (name,)
