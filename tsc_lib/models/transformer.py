"""The study's transformer: patches, a class token, a post-norm encoder and a two-layer classifier.

The widths of every layer are part of the configuration, so a model whose heads and neurons were removed is described,
stored and rebuilt exactly like an uncompressed one.

References
----------
.. [1] Kermani et al., "Energy-Efficient Transformer Inference: Optimization Strategies for Time Series
       Classification", arXiv:2502.16627, 2025.
.. [2] Vaswani et al., "Attention Is All You Need", NeurIPS 2017 (post-norm layers, sinusoidal positions).
.. [3] Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021 (patch embedding, class token).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsc_lib.core.errors import UserError
from tsc_lib.models.token_reduction import check_share, kept, reduced

MAX_TOKENS = 1024
"""Longest series, in patches, that the fixed positions are tabulated for."""

LINEARS = ("query", "key", "value", "out", "expand", "contract")
"""The linear layers of an encoder layer, in the order of `TransformerConfig.ranks`."""


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of a transformer; everything that is needed to rebuild one around a state dict.

    Attributes
    ----------
    channels, classes : int
        Width of the input and of the output.
    patch : int
        Time steps per token: kernel and stride of the patch embedding.
    d_model : int
        Embedding width.
    head_dim : int
        Width of one attention head.
    heads, d_ff : tuple of int
        Attention heads and feed-forward neurons of each layer.
    d_hidden : int
        Width of the classifier's hidden layer.
    dropout : float
        Probability, in training, with which outputs of sublayers and hidden neurons are dropped.
    position_width : int, optional
        Embedding width that the positions are tabulated for, where it is no longer the model's own.
    position_channels : tuple of int, optional
        Columns of that table that the model still has, one for each of its `d_model` channels.
    ranks : tuple of tuple of int, optional
        For each layer the rank of each of `LINEARS`, 0 for one that is a single matrix; None if all are.
    position_stride : int
        Steps in that table from one token to the next, where patches are longer than those that it was made for.
    reductions : tuple of (str, float) or None, optional
        For each layer how its tokens become fewer after attention, "merge" or "drop", and the share that stays; None
        for a layer that keeps all.
    exits : tuple of (int, float), optional
        Early exits, ascending: after how many layers, and the confidence above which a series leaves there.
    """

    channels: int
    classes: int
    patch: int
    d_model: int
    head_dim: int
    heads: tuple[int, ...]
    d_ff: tuple[int, ...]
    d_hidden: int
    dropout: float = 0.1
    position_width: int | None = None
    position_channels: tuple[int, ...] | None = None
    ranks: tuple[tuple[int, ...], ...] | None = None
    position_stride: int = 1
    reductions: tuple[tuple[str, float] | None, ...] | None = None
    exits: tuple[tuple[int, float], ...] | None = None

    def __post_init__(self) -> None:
        # JSON has no tuples: accept the lists that it gives back.
        object.__setattr__(self, "heads", tuple(self.heads))
        object.__setattr__(self, "d_ff", tuple(self.d_ff))
        if self.position_channels is not None:
            object.__setattr__(self, "position_channels", tuple(self.position_channels))
        if self.ranks is not None:
            object.__setattr__(self, "ranks", tuple(tuple(ranks) for ranks in self.ranks))
        if self.reductions is not None:
            reductions = tuple(r if r is None else (str(r[0]), float(r[1])) for r in self.reductions)
            object.__setattr__(self, "reductions", reductions)
        if self.exits is not None:
            object.__setattr__(self, "exits", tuple((int(e[0]), float(e[1])) for e in self.exits))
        if len(self.heads) != len(self.d_ff):
            raise ValueError(f"heads names {len(self.heads)} layers and d_ff {len(self.d_ff)}; they must agree")
        sizes = (self.channels, self.classes, self.patch, self.d_model, self.head_dim, self.d_hidden)
        if min(*sizes, *self.heads, *self.d_ff, self.position_stride) < 1:
            raise ValueError(f"every size of a transformer must be at least 1: {self}")
        if (self.position_width is None) != (self.position_channels is None):
            raise ValueError("position_width and position_channels come together or not at all")
        if self.position_channels is not None and len(self.position_channels) != self.d_model:
            raise ValueError(f"{len(self.position_channels)} columns of positions do not fit {self.d_model} channels")
        if self.ranks is not None and [len(ranks) for ranks in self.ranks] != [len(LINEARS)] * len(self.heads):
            raise ValueError(f"ranks must name {len(LINEARS)} ranks for each of {len(self.heads)} layers")
        if self.reductions is not None and len(self.reductions) != len(self.heads):
            raise ValueError(f"reductions must name one for each of {len(self.heads)} layers, or None")
        for reduction in filter(None, self.reductions or ()):
            check_share(*reduction)
        if any(a >= b for a, b in pairwise([0, *self.places])):
            raise ValueError(f"exits must come after different layers, ascending and before the last: {self.exits}")

    def ranks_of(self, layer: int) -> dict[str, int]:
        """The rank of every linear layer of an encoder layer, 0 for a single matrix."""
        return dict(zip(LINEARS, self.ranks[layer] if self.ranks else (0,) * len(LINEARS), strict=True))

    @property
    def places(self) -> tuple[int, ...]:
        """After how many layers series may leave: at each early exit, and at the end."""
        return (*(layers for layers, _ in self.exits or ()), len(self.heads))

    def reduction_of(self, layer: int) -> tuple[str, float] | None:
        """How the tokens of an encoder layer become fewer."""
        return self.reductions[layer] if self.reductions else None

    def tokens_of(self, length: int) -> tuple[int, ...]:
        """Tokens of a series of so many steps before the first layer and after each, the class token not counted."""
        tokens = [max(1, length // self.patch)]
        for layer in range(len(self.heads)):
            reduction = self.reduction_of(layer)
            tokens.append(tokens[-1] if reduction is None else kept(tokens[-1], reduction[1]))
        return tuple(tokens)


def sinusoidal_positions(tokens: int, d_model: int) -> Tensor:
    """Fixed position encoding of [2]_, section 3.5, shaped (tokens, d_model)."""
    position = torch.arange(tokens).unsqueeze(1)
    frequency = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10_000.0) / d_model))
    table = torch.zeros(tokens, d_model)
    table[:, 0::2] = torch.sin(position * frequency)
    table[:, 1::2] = torch.cos(position * frequency)[:, : d_model // 2]
    return table


def linear(inputs: int, outputs: int, rank: int) -> nn.Linear | nn.Sequential:
    """A linear layer: one matrix, or with a `rank` above 0 the product of two thinner ones."""
    if rank == 0:
        return nn.Linear(inputs, outputs)
    return nn.Sequential(nn.Linear(inputs, rank, bias=False), nn.Linear(rank, outputs))


class Attention(nn.Module):
    """Multi-head self-attention whose heads are contiguous slices of four plain linear layers."""

    def __init__(self, d_model: int, heads: int, head_dim: int, ranks: dict[str, int]) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, head_dim
        self.query = linear(d_model, heads * head_dim, ranks["query"])
        self.key = linear(d_model, heads * head_dim, ranks["key"])
        self.value = linear(d_model, heads * head_dim, ranks["value"])
        self.out = linear(heads * head_dim, d_model, ranks["out"])
        # As `torch.nn.MultiheadAttention` starts, which holds the three projections as one matrix: hence the gain.
        # What is factorised is never trained from scratch, and gets its weights from elsewhere.
        for projection in (self.query, self.key, self.value):
            if isinstance(projection, nn.Linear):
                nn.init.xavier_uniform_(projection.weight, gain=2**-0.5)
                nn.init.zeros_(projection.bias)
        if isinstance(self.out, nn.Linear):
            nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.mix(*self.project(x), mask)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (n, heads, tokens, head_dim), of tokens x (n, tokens, d_model)."""
        shape = (*x.shape[:2], self.heads, self.head_dim)
        q = self.query(x).view(shape).transpose(1, 2)
        k = self.key(x).view(shape).transpose(1, 2)
        v = self.value(x).view(shape).transpose(1, 2)
        return q, k, v

    def mix(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """What attention adds to the tokens, (n, tokens, d_model)."""
        # No dropout on the weights: the fused kernel has none, and training would take up to four times as long.
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(y.transpose(1, 2).reshape(y.shape[0], -1, self.heads * self.head_dim))


class FeedForward(nn.Module):
    """Two linear layers with a ReLU between them, as in [2]_."""

    def __init__(self, d_model: int, d_ff: int, dropout: float, ranks: dict[str, int]) -> None:
        super().__init__()
        self.expand = linear(d_model, d_ff, ranks["expand"])
        self.dropout = nn.Dropout(dropout)
        self.contract = linear(d_ff, d_model, ranks["contract"])

    def forward(self, x: Tensor) -> Tensor:
        return self.contract(self.dropout(F.relu(self.expand(x))))


class EncoderLayer(nn.Module):
    """Attention and feed-forward, each with a residual and a layer norm after it (post-norm)."""

    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        ranks = config.ranks_of(layer)
        self.reduction = config.reduction_of(layer)
        self.attention = Attention(config.d_model, config.heads[layer], config.head_dim, ranks)
        self.attention_norm = nn.LayerNorm(config.d_model)
        self.feed_forward = FeedForward(config.d_model, config.d_ff[layer], config.dropout, ranks)
        self.feed_forward_norm = nn.LayerNorm(config.d_model)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = self.attention_norm(x + self.dropout(self.attention(x, mask)))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))

    def reducing(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The same of fewer tokens after attention, and their mask; see `tsc_lib.models.token_reduction.reduced`."""
        assert self.reduction is not None
        q, k, v = self.attention.project(x)
        x = self.attention_norm(x + self.dropout(self.attention.mix(q, k, v, mask)))
        x, mask = reduced(x, mask, q, k, self.attention.head_dim**-0.5, self.reduction)
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x))), mask


def encoded(layers: nn.ModuleList, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Tokens after some encoder layers, in their own form or the lean one, and their mask."""
    for layer in cast("list[EncoderLayer]", layers):
        if layer.reduction is None:
            x = layer(x, mask)
        else:
            x, mask = layer.reducing(x, mask)
    return x, mask


class Transformer(nn.Module):
    """A time series classifier.

    Parameters
    ----------
    config : TransformerConfig
        Sizes of every part.

    Notes
    -----
    The patch embedding drops a remainder shorter than a patch, as a strided convolution does. With `lengths`, tokens
    that lie wholly or partly in a series' padding are masked out, so a padded series has the logits that it has alone.
    """

    positions: Tensor

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Conv1d(config.channels, config.d_model, config.patch, stride=config.patch)
        self.class_token = nn.Parameter(torch.randn(1, 1, config.d_model))
        stride = config.position_stride
        positions = sinusoidal_positions(stride * MAX_TOKENS + 1, config.position_width or config.d_model)[::stride]
        if config.position_channels is not None:
            positions = positions[:, list(config.position_channels)]
        self.register_buffer("positions", positions, persistent=False)
        self.layers = nn.ModuleList(EncoderLayer(config, layer) for layer in range(len(config.heads)))
        self.hidden = nn.Linear(config.d_model, config.d_hidden)
        self.classify = nn.Linear(config.d_hidden, config.classes)
        self.exits = nn.ModuleList(nn.Linear(config.d_model, config.classes) for _ in config.exits or ())

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits (n, classes) of series x (n, channels, length), padded beyond `lengths` (n,) if given.

        No series leaves early: `tsc_lib.models.early_exit` has what runs up to an exit.
        """
        x, mask = self.tokens(x, lengths)
        x, _ = self.encode(x, mask, 0, len(self.layers))
        return self.answer(x)

    def tokens(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Tokens (n, tokens, d_model), the class token first, and a mask (n, 1, 1, tokens) of those not padded."""
        x = self.embed(filled(x, self.config.patch)).transpose(1, 2)  # (n, patches, d_model)
        n, patches, _ = x.shape
        x = torch.cat([self.class_token.expand(n, -1, -1), x], dim=1) + self.positions[: patches + 1]
        if lengths is None:
            return x, None
        valid = (lengths // self.config.patch).clamp(min=1)  # whole patches; the class token comes before them
        return x, (torch.arange(patches + 1, device=x.device) <= valid.unsqueeze(1))[:, None, None, :]

    def encode(self, x: Tensor, mask: Tensor | None, first: int, last: int) -> tuple[Tensor, Tensor | None]:
        """Tokens after the layers from `first` to before `last`, and their mask."""
        return encoded(self.layers[first:last], x, mask)

    def answer(self, x: Tensor) -> Tensor:
        """Logits from the tokens after the last layer."""
        return self.classify(F.relu(self.hidden(x[:, 0])))


def filled(x: Tensor, patch: int) -> Tensor:
    """Series (n, channels, length) with zeros after them, if they are shorter than a patch, that fill it."""
    return F.pad(x, (0, patch - x.shape[2])) if x.shape[2] < patch else x


def length_limits(config: TransformerConfig) -> tuple[int, int]:
    """The shortest and the longest series, in time steps, that the model can place: part of a patch, all positions."""
    return 1, config.patch * (MAX_TOKENS + 1) - 1


def check_length(config: TransformerConfig, length: int, what: str = "the series") -> None:
    """Refuse series that the model cannot place: without a time step, or beyond the tabulated positions.

    Raises
    ------
    UserError
        If `length` time steps are none, or make more than ``MAX_TOKENS`` tokens.
    """
    shortest, longest = length_limits(config)
    if not shortest <= length <= longest:
        raise UserError(
            f"{what} has {length} time steps, but the model reads between {shortest} and {longest}; "
            "pad or cut the series"
        )
