"""How series become tokens: what is known of it from the sizes alone, and the module that does it.

Whatever depends on the kind of embedding is here and in `tsc_lib.models.convolution_embedding`: how many tokens a
series has, which lengths can be placed, and which tokens are padding. A new kind is a configuration like
`PatchEmbeddingConfig`, entered in `tsc_lib.models.transformer.EMBEDDINGS`, and a module like `PatchEmbedding`.

References
----------
.. [1] Vaswani et al., "Attention Is All You Need", NeurIPS 2017 (sinusoidal positions).
.. [2] Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021 (patch embedding, class token).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsc_lib.core.spec import Spec

MAX_TOKENS = 1024
"""Longest series, in tokens, that the fixed positions are tabulated for."""


@dataclass(frozen=True)
class PatchEmbeddingConfig(Spec):
    """Sizes of a `PatchEmbedding`, which other kinds have, too.

    Attributes
    ----------
    patch : int
        Time steps from one token to the next; a remainder that is shorter makes no token.
    position_stride : int
        Steps in the table of positions from one token to the next, where patches are longer than those that it was
        made for.
    position_width : int, optional
        Embedding width that the positions are tabulated for, where it is no longer the model's own.
    position_channels : tuple of int, optional
        Columns of that table that the model still has, one for each of its channels.
    kind : str
        The name of this kind.
    """

    patch: int
    position_stride: int = 1
    position_width: int | None = None
    position_channels: tuple[int, ...] | None = None
    kind: str = "patches"

    def __post_init__(self) -> None:
        if self.position_channels is not None:
            object.__setattr__(self, "position_channels", tuple(self.position_channels))  # JSON gives a list back
        if min(self.patch, self.position_stride) < 1:
            raise ValueError(f"every size of an embedding must be at least 1: {self}")
        if (self.position_width is None) != (self.position_channels is None):
            raise ValueError("position_width and position_channels come together or not at all")

    @property
    def length_limits(self) -> tuple[int, int]:
        """The shortest and the longest series, in time steps: part of a patch, and all positions."""
        return 1, self.patch * (MAX_TOKENS + 1) - 1

    def count_tokens(self, length: int) -> int:
        """Tokens of a series of so many time steps, the class token not counted."""
        return max(1, length // self.patch)

    def count_products(self, length: int, channels: int, d_model: int) -> list[tuple[int, int, int]]:
        """Rows, inputs and outputs of every matrix product that makes the tokens of such a series."""
        return [(self.count_tokens(length), channels * self.patch, d_model)]

    def build(self, channels: int, d_model: int) -> Embedding:
        """The module, for series of so many channels and tokens of this width."""
        return PatchEmbedding(self, channels, d_model)


def fit_patch(patch: int, longest: int) -> int:
    """The patch, or the first of twice, four times and so on as long, that makes no more than `MAX_TOKENS` of a series.

    Parameters
    ----------
    patch, longest : int
        Time steps of the patch, and of the longest series.
    """
    while longest > PatchEmbeddingConfig(patch).length_limits[1]:
        patch *= 2
    return patch


class ChannelReader(nn.Module):
    """Some channels of series (n, channels, length), or all if it is given None."""

    channels: Tensor | None

    def __init__(self, channels: tuple[int, ...] | None) -> None:
        super().__init__()
        self.register_buffer("channels", None if channels is None else torch.tensor(channels), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x if self.channels is None else x.index_select(1, self.channels)


class Embedding(nn.Module):
    """What all kinds of embedding share: a class token before the others, fixed positions [2]_, and the mask.

    A remainder of a series that is shorter than a patch is not read. With `lengths`, tokens that lie wholly or partly
    in a series' padding are masked out, so a padded series has the logits that it has alone.

    Parameters
    ----------
    config : PatchEmbeddingConfig
        Length of a patch, and which positions the tokens have.
    channels, d_model : int
        Width of the series and of the tokens.
    """

    positions: Tensor

    def __init__(self, config: PatchEmbeddingConfig, channels: int, d_model: int) -> None:
        super().__init__()
        self.config = config
        self.build_layers(channels, d_model)
        self.class_token = nn.Parameter(torch.randn(1, 1, d_model))
        stride = config.position_stride
        positions = tabulate_positions(stride * MAX_TOKENS + 1, config.position_width or d_model)[::stride]
        if config.position_channels is not None:
            positions = positions[:, list(config.position_channels)]
        if positions.shape[1] != d_model:
            raise ValueError(f"{positions.shape[1]} columns of positions do not fit {d_model} channels")
        self.register_buffer("positions", positions, persistent=False)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Tokens (n, tokens, d_model), the class token first, and a mask (n, 1, 1, tokens) of those not padded."""
        patches = None if lengths is None else count_patches(lengths, self.config.patch)
        x, level = self.embed(fill_patch(x, self.config.patch), patches)
        n, tokens, _ = x.shape
        first = self.class_token.expand(n, -1, -1) if level is None else self.class_token + level
        x = torch.cat([first, x], dim=1) + self.positions[: tokens + 1]
        if patches is None:
            return x, None
        # The class token comes before the patches.
        return x, (torch.arange(tokens + 1, device=x.device) <= patches.unsqueeze(1))[:, None, None, :]

    def build_layers(self, channels: int, d_model: int) -> None:
        """Make what `embed` needs; weights are drawn in the order of creation, the class token's after these."""
        raise NotImplementedError

    def embed(self, x: Tensor, patches: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The patches of series as tokens (n, tokens, d_model), and what is added to the class token (n, 1, d_model).

        Parameters
        ----------
        x : Tensor
            Series (n, channels, length), at least one patch long.
        patches : Tensor, optional
            Patches (n,) of each series that are no padding, where that differs.
        """
        raise NotImplementedError

    @property
    def channel_weights(self) -> Tensor:
        """The weights (d_model, any) that write each channel of the tokens."""
        return torch.cat([module.weight.detach().flatten(1) for module in self.writers.values()], dim=1)

    @property
    def writers(self) -> dict[str, nn.Linear | nn.Conv1d]:
        """The modules, by name, whose outputs are channels of the tokens."""
        raise NotImplementedError

    @property
    def readers(self) -> dict[str, nn.Linear | nn.Conv1d]:
        """The modules, by name, that read the series: once or several times all its channels, one after another."""
        raise NotImplementedError

    def select_channels(self, channels: Tensor) -> tuple[PatchEmbeddingConfig, dict[str, Tensor]]:
        """Configuration and weights of this embedding with some of its channels, which keep their positions."""
        width = self.config.position_width or self.positions.shape[1]
        columns = self.config.position_channels or range(width)
        kept = tuple(columns[i] for i in channels.tolist())
        config = dataclasses.replace(self.config, position_width=width, position_channels=kept)
        weights = {"class_token": self.class_token.detach()[..., channels]}
        for name, module in self.writers.items():
            weights |= {f"{name}.{kind}": value[channels] for kind, value in module.state_dict().items()}
        return config, weights

    def lengthen(self, count: int) -> tuple[PatchEmbeddingConfig, dict[str, Tensor]]:
        """Configuration of this embedding with patches `count` times as long, and the weights that change."""
        longer, stride = count * self.config.patch, count * self.config.position_stride
        return dataclasses.replace(self.config, patch=longer, position_stride=stride), {}


class PatchEmbedding(Embedding):
    """Patches of a series as tokens: a convolution whose kernel is as long as its stride."""

    def build_layers(self, channels: int, d_model: int) -> None:
        """See `Embedding`."""
        self.convolution = nn.Conv1d(channels, d_model, self.config.patch, stride=self.config.patch)

    def embed(self, x: Tensor, patches: Tensor | None) -> tuple[Tensor, None]:
        """See `Embedding`."""
        return self.convolution(x).transpose(1, 2), None

    @property
    def writers(self) -> dict[str, nn.Linear | nn.Conv1d]:
        """See `Embedding`."""
        return {"convolution": self.convolution}

    readers = writers

    def lengthen(self, count: int) -> tuple[PatchEmbeddingConfig, dict[str, Tensor]]:
        """See `Embedding`.

        A token is, to begin with, the last of those that it stands for, its position included: the kernel has the old
        weights for the last time steps and zeros for those before, which training fills.
        """
        config, _ = super().lengthen(count)
        kernel = self.convolution.weight.detach()
        return config, {"convolution.weight": F.pad(kernel, (config.patch - self.config.patch, 0))}


def tabulate_positions(tokens: int, d_model: int) -> Tensor:
    """Fixed position encoding of [1]_, section 3.5, shaped (tokens, d_model)."""
    position = torch.arange(tokens).unsqueeze(1)
    frequency = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10_000.0) / d_model))
    table = torch.zeros(tokens, d_model)
    table[:, 0::2] = torch.sin(position * frequency)
    table[:, 1::2] = torch.cos(position * frequency)[:, : d_model // 2]
    return table


def fill_patch(x: Tensor, patch: int) -> Tensor:
    """Series (n, channels, length) with zeros after them, if they are shorter than a patch, that fill it."""
    return F.pad(x, (0, patch - x.shape[2])) if x.shape[2] < patch else x


def count_patches(lengths: Tensor, patch: int) -> Tensor:
    """Whole patches of series with these lengths; a series shorter than a patch has one, which zeros fill."""
    return (lengths // patch).clamp(min=1)
