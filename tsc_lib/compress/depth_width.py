"""Depth and width: whole encoder layers removed, channels of the embedding, and filters before the tokens.

References
----------
.. [1] Men et al., "ShortGPT: Layers in Large Language Models are More Redundant Than You Expect", 2024.
.. [2] Sajjad et al., "On the Effect of Dropping Layers of Pre-trained Transformer Models", Computer Speech &
       Language, 2023 (the first, the last, every other layer).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from tsc_lib.compress.context import TrainingContext
from tsc_lib.compress.importance import CRITERIA, check_criterion, count_filters, measure_influence
from tsc_lib.compress.step import Family, NoEffect, Step
from tsc_lib.compress.surgery import check_fp32, check_whole, keep_channels, keep_filters, keep_layers
from tsc_lib.core.errors import UserError
from tsc_lib.models.compressed import CompressedModel, Details

CHOICES = ("influence", "first", "last", "even", "random")


@dataclass(frozen=True)
class Layers(Step):
    """Keep some of the encoder layers and remove the others.

    Attributes
    ----------
    keep : int
        How many to keep.
    which : {"influence", "first", "last", "even", "random"}
        Those that change the residual stream most [1]_; those nearest to the input, or to the output; evenly spaced
        ones from the first to the last [2]_; or random ones, the control.
    """

    name: ClassVar[str] = "layers"
    summary: ClassVar[str] = "keeps some encoder layers"
    title: ClassVar[str] = "{keep} layers"
    titled: ClassVar[int] = 1
    family: ClassVar[Family] = Family.SMALLER
    examples: ClassVar[Mapping[str, str]] = {
        "layers(2)": "keep two encoder layers, by influence, or first, last, even or random",
    }

    keep: int
    which: str = "influence"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.which not in CHOICES:
            raise UserError(f"unknown choice of layers {self.which!r}; use {', '.join(CHOICES[:-1])} or {CHOICES[-1]}")

    @property
    def label(self) -> str:
        """See `Step`."""
        return super().label if self.keep > 1 else super().label.replace("layers", "layer")

    def apply(self, model: CompressedModel, context: TrainingContext) -> tuple[CompressedModel, Details]:
        """Remove whole layers; the details tell which were kept, and the influence of every layer."""
        count = len(model.network.layers)
        if self.keep >= count:
            raise NoEffect(f"layers({self.keep}) removes nothing from a model of {count} layers")
        influence = measure_influence(model.network, context)
        kept = self._choose(influence, context.seed)
        changed = dataclasses.replace(model, network=keep_layers(model.network, kept))
        return changed, {"layers": kept, "influence": influence}

    def _choose(self, influence: list[float], seed: int) -> list[int]:
        """Indices of the layers to keep, ascending."""
        layers = torch.arange(len(influence))
        if self.which == "influence":
            chosen = torch.tensor(influence).topk(self.keep).indices
        elif self.which == "random":
            chosen = torch.randperm(len(influence), generator=torch.Generator().manual_seed(seed))[: self.keep]
        elif self.which == "even":
            chosen = torch.linspace(0, len(influence) - 1, self.keep).round().long()
        else:
            chosen = layers[: self.keep] if self.which == "first" else layers[-self.keep :]
        return sorted(chosen.tolist())


@dataclass(frozen=True)
class Width(Step):
    """Keep the channels of the embedding that matter most, everywhere.

    Attributes
    ----------
    criterion : {"l1", "l2", "taylor", "activation", "random"}
        What is called important, see `tsc_lib.compress.importance`.
    d_model : int
        How many channels to keep.
    """

    name: ClassVar[str] = "width"
    summary: ClassVar[str] = "keeps some channels of the embedding"
    family: ClassVar[Family] = Family.SMALLER
    title: ClassVar[str] = "width {d_model} {criterion}"
    titled: ClassVar[int] = 2
    examples: ClassVar[Mapping[str, str]] = {
        "width(activation, 16)": "keep 16 channels of the embedding, by a criterion",
    }

    criterion: str
    d_model: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_criterion(self.criterion)

    def apply(self, model: CompressedModel, context: TrainingContext) -> tuple[CompressedModel, Details]:
        """Remove channels; the details list those that were kept.

        The layer norms' statistics change, since they are over fewer channels: expect to train on after this step.
        """
        d_model = model.network.config.d_model
        if self.d_model >= d_model:
            raise NoEffect(f"width({self.criterion}, {self.d_model}) removes nothing from {d_model} channels")
        check_whole(model.network, "width")
        scores = CRITERIA[self.criterion](model.network, context).channels
        kept = scores.topk(self.d_model).indices.sort().values
        return dataclasses.replace(model, network=keep_channels(model.network, kept)), {"channels": kept.tolist()}


@dataclass(frozen=True)
class Filters(Step):
    """Keep the filters of the convolution before the tokens that matter most.

    Attributes
    ----------
    criterion : {"l1", "l2", "taylor", "activation", "random"}
        What is called important, see `tsc_lib.compress.importance`.
    keep : int
        How many filters to keep.
    """

    name: ClassVar[str] = "filters"
    summary: ClassVar[str] = "keeps some filters of the convolution before the tokens"
    family: ClassVar[Family] = Family.SMALLER
    title: ClassVar[str] = "{keep} filters {criterion}"
    titled: ClassVar[int] = 2
    examples: ClassVar[Mapping[str, str]] = {
        "filters(activation, 16)": "keep 16 filters of the convolution before the tokens, by a criterion",
    }

    criterion: str
    keep: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_criterion(self.criterion)

    def apply(self, model: CompressedModel, context: TrainingContext) -> tuple[CompressedModel, Details]:
        """Remove filters; the details list those that were kept.

        Their layer norm is over fewer filters afterwards: expect to train on after this step.
        """
        check_fp32(model, self.name)
        count = count_filters(model.network)
        if 0 < count <= self.keep:
            raise NoEffect(f"filters({self.criterion}, {self.keep}) removes nothing from {count} filters")
        check_whole(model.network, self.name)
        scores = CRITERIA[self.criterion](model.network, context).filters
        kept = scores.topk(min(self.keep, count)).indices.sort().values
        return dataclasses.replace(model, network=keep_filters(model.network, kept)), {"filters": kept.tolist()}
