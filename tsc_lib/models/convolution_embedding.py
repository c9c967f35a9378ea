"""Tokens that say which shapes a stretch of a series has and how strong they are, wherever in the stretch they lie.

Convolutions with a few filters, near and far ones, a ReLU, and the mean over each patch: what MiniROCKET [1]_ counts
over a whole series, with kernels that are learned, for every patch by itself. A pointwise convolution may come between,
whose outputs answer where several filters do at the same time step.

References
----------
.. [1] Dempster et al., "MiniRocket: A Very Fast (Almost) Deterministic Transform for Time Series Classification", KDD
       2021 (the share of positive values of many convolutions).
.. [2] Kim et al., "Reversible Instance Normalization for Accurate Time-Series Forecasting against Distribution Shift",
       ICLR 2022 (each series normalised, its level and scale kept beside it).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsc_lib.core.spec import ADDED
from tsc_lib.models.embedding import Embedding, PatchEmbeddingConfig

ROUNDING = 1e-6
"""Share of its level below which the deviation of a series is rounding."""

SMALLEST = 1e-8
"""Added to the deviation of a series, in units of the training series', so that a flat one stays flat."""


@dataclass(frozen=True)
class ConvolutionEmbeddingConfig(PatchEmbeddingConfig):
    """Sizes of a `ConvolutionEmbedding`.

    Attributes
    ----------
    filters : int
        Filters of the convolution, 1 or more.
    pointwise : int
        Outputs of a pointwise convolution of the filters; 0 for none.
    kernel : int
        Time steps that a filter sees, odd.
    dilations : tuple of int
        Distances between the time steps that a filter sees; equal shares of the filters have one each, in this order.
    """

    kind: str = "convolution"
    filters: int = 64
    kernel: int = 9
    dilations: tuple[int, ...] = field(default=(1,), metadata=ADDED)
    pointwise: int = field(default=0, metadata=ADDED)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "dilations", tuple(self.dilations))  # JSON gives a list back
        if self.filters < 1 or self.pointwise < 0 or self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"an embedding needs a filter, and kernels of an odd number of time steps: {self}")
        if not self.dilations or min(self.dilations) < 1:
            raise ValueError(f"a kernel's time steps are at least 1 apart: {self}")

    @property
    def features(self) -> int:
        """How many strengths each patch has."""
        return self.pointwise or self.filters

    @property
    def dilation_of(self) -> tuple[int, ...]:
        """The dilation of each filter.

        Examples
        --------
        >>> ConvolutionEmbeddingConfig(4, filters=4, dilations=(1, 8)).dilation_of
        (1, 1, 8, 8)
        """
        return tuple(self.dilations[i * len(self.dilations) // self.filters] for i in range(self.filters))

    @property
    def groups(self) -> list[tuple[int, slice]]:
        """Neighbouring filters of one dilation: the dilation, and which filters."""
        found, first = [], 0
        for dilation, same in groupby(self.dilation_of):
            last = first + len(list(same))
            found.append((dilation, slice(first, last)))
            first = last
        return found

    def count_products(self, length: int, channels: int, d_model: int) -> list[tuple[int, int, int]]:
        """See `PatchEmbeddingConfig`."""
        tokens = self.count_tokens(length)
        mixed = [(tokens * self.patch, self.filters, self.pointwise)] if self.pointwise else []
        return [
            (tokens * self.patch, channels * self.kernel, self.filters),
            *mixed,
            (tokens, self.features, d_model),
            (1, 2 * channels, d_model),
        ]

    def build(self, channels: int, d_model: int) -> ConvolutionEmbedding:
        """See `PatchEmbeddingConfig`."""
        return ConvolutionEmbedding(self, channels, d_model)


class Filters(nn.Conv1d):
    """Filters over series (n, channels, length), some with dilated kernels; the length stays."""

    def __init__(self, config: ConvolutionEmbeddingConfig, channels: int) -> None:
        super().__init__(channels, config.filters, config.kernel)
        self.by_dilation = config.groups

    def forward(self, x: Tensor) -> Tensor:
        """What each filter answers at each time step (n, filters, length)."""
        assert self.bias is not None
        margin = self.kernel_size[0] // 2
        answers = [
            F.conv1d(x, self.weight[own], self.bias[own], padding=margin * dilation, dilation=dilation)
            for dilation, own in self.by_dilation
        ]
        return torch.cat(answers, dim=1) if len(answers) > 1 else answers[0]


class ConvolutionEmbedding(Embedding):
    """Each patch as the mean strength of every filter in it; the class token knows the level and scale of the series.

    Every series is normalised first [2]_, channel by channel, over its whole patches.

    Attributes
    ----------
    norms : ModuleDict
        In training there may be a module for ``convolution`` and one for ``pointwise`` that normalises their answers
        (n, length, features), given which time steps (n, length) are no padding. They are folded into the weights
        before anything else is done with those; see `tsc_lib.training.filter_norm`.
    """

    config: ConvolutionEmbeddingConfig
    pointwise: nn.Linear | None

    def build_layers(self, channels: int, d_model: int) -> None:
        """See `Embedding`."""
        config = self.config
        self.convolution = Filters(config, channels)
        self.pointwise = nn.Linear(config.filters, config.pointwise) if config.pointwise else None
        self.norm = nn.LayerNorm(config.features)
        self.project = nn.Linear(config.features, d_model)
        self.level = nn.Linear(2 * channels, d_model)
        self.norms = nn.ModuleDict()

    def embed(self, x: Tensor, patches: Tensor | None) -> tuple[Tensor, Tensor]:
        """See `Embedding`."""
        features, level = measure_strengths(x, patches, self.config.patch, self.convolution, self.pointwise, self.norms)
        return self.project(self.norm(features)), self.level(level)

    def select_filters(self, filters: Tensor) -> tuple[ConvolutionEmbeddingConfig, dict[str, Tensor]]:
        """Configuration of this embedding with some of its filters, and the weights that change."""
        reader, over_filters = "project", ["convolution", "norm"]
        if self.pointwise is not None:  # the norm is over its outputs then
            reader, over_filters = "pointwise", ["convolution"]
        weights = {f"{reader}.weight": self.filter_reader.weight.detach()[:, filters]}
        for name in over_filters:
            module = self.get_submodule(name)
            weights |= {f"{name}.{kind}": value[filters] for kind, value in module.state_dict().items()}
        dilations = tuple(self.config.dilation_of[i] for i in filters.tolist())
        if len(set(dilations)) == 1:
            dilations = dilations[:1]
        return replace(self.config, filters=len(filters), dilations=dilations), weights

    @property
    def filter_reader(self) -> nn.Linear:
        """The linear layer that reads the strengths of the filters."""
        return self.project if self.pointwise is None else self.pointwise

    @property
    def writers(self) -> dict[str, nn.Linear | nn.Conv1d]:
        """See `Embedding`."""
        return {"project": self.project, "level": self.level}

    @property
    def readers(self) -> dict[str, nn.Linear | nn.Conv1d]:
        """See `Embedding`."""
        return {"convolution": self.convolution, "level": self.level}


def measure_strengths(
    x: Tensor,
    patches: Tensor | None,
    patch: int,
    convolution: nn.Module,
    pointwise: nn.Module | None,
    norms: nn.ModuleDict | None = None,
) -> tuple[Tensor, Tensor]:
    """What an embedding's filters find in each patch.

    Parameters
    ----------
    x : Tensor
        Series (n, channels, length), at least one patch long.
    patches : Tensor, optional
        Patches (n,) of each series that are no padding, where that differs.
    patch : int
        Time steps of a patch.
    convolution, pointwise, norms
        See `ConvolutionEmbedding`.

    Returns
    -------
    features : Tensor
        Mean strength of every feature in each patch (n, tokens, features).
    level : Tensor
        Level and scale of each series (n, 1, 2 * channels).
    """

    def rectify(name: str, answers: Tensor) -> Tensor:
        return F.relu(norms[name](answers, valid) if norms and name in norms else answers)

    x, valid = x[..., : x.shape[2] // patch * patch], None
    if patches is not None:
        valid = torch.arange(x.shape[2], device=x.device) < patch * patches.unsqueeze(1)
    x, level = normalise(x, None if valid is None else valid.unsqueeze(1).to(x.dtype))
    strengths = rectify("convolution", convolution(x).transpose(1, 2))  # (n, length, filters)
    if pointwise is not None:
        strengths = rectify("pointwise", pointwise(strengths))
    return strengths.unflatten(1, (-1, patch)).mean(2), level.transpose(1, 2)


def normalise(x: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    """Series of mean 0 and deviation 1, and what was taken from them.

    Parameters
    ----------
    x : Tensor
        Series (n, channels, length).
    valid : Tensor, optional
        1 where they are no padding (n, 1, length), else 0.

    Returns
    -------
    x : Tensor
        Normalised series, zero in the padding.
    level : Tensor
        Mean, between -1 and 1, and logarithm of the deviation (n, 2 * channels, 1), channel after channel.
    """
    if valid is None:
        mean = x.mean(2, keepdim=True)
        x = x - mean
        variance = x.square().mean(2, keepdim=True)
    else:
        count = valid.sum(2, keepdim=True)
        mean = (x * valid).sum(2, keepdim=True) / count
        x = (x - mean) * valid
        variance = x.square().sum(2, keepdim=True) / count
    deviation = variance.sqrt() + ROUNDING * mean.abs() + SMALLEST
    return x / deviation, torch.cat([mean / (1 + mean.abs()), deviation.log()], dim=1)
