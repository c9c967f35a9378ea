"""Depth and width: whole encoder layers removed, and channels of the embedding.

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
from tsc_lib.compress.importance import CRITERIA, check_criterion, criterion_label, influence
from tsc_lib.compress.step import Details, Family, NoEffect, Step, brackets
from tsc_lib.compress.surgery import check_whole, keep_channels, keep_layers
from tsc_lib.core.errors import UserError
from tsc_lib.models.compressed import CompressedModel

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
    examples: ClassVar[Mapping[str, str]] = {
        "layers(2)": "keep two encoder layers, by influence, or first, last, even or random",
    }

    keep: int
    which: str = "influence"

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise UserError(f"a model keeps at least 1 layer, not {self.keep}")
        if self.which not in CHOICES:
            raise UserError(f"unknown choice of layers {self.which!r}; use {', '.join(CHOICES[:-1])} or {CHOICES[-1]}")

    @property
    def family(self) -> Family:
        """See `Step`."""
        return Family.SMALLER

    @property
    def label(self) -> str:
        """See `Step`."""
        return " ".join([f"{self.keep} layer{'s' * (self.keep != 1)}", *brackets(self, 1)])

    def apply(self, model: CompressedModel, context: TrainingContext) -> tuple[CompressedModel, Details]:
        """Remove whole layers; the details tell which were kept, and the influence of every layer."""
        count = len(model.network.layers)
        if self.keep >= count:
            raise NoEffect(f"layers({self.keep}) removes nothing from a model of {count} layers")
        scores = influence(model.network, context)
        if self.which == "influence":
            chosen = torch.tensor(scores).topk(self.keep).indices
        elif self.which == "random":
            chosen = torch.randperm(count, generator=torch.Generator().manual_seed(context.seed))[: self.keep]
        elif self.which == "even":
            chosen = torch.linspace(0, count - 1, self.keep).round().long()
        else:
            chosen = torch.arange(count)[: self.keep] if self.which == "first" else torch.arange(count)[-self.keep :]
        kept = sorted(chosen.tolist())
        return dataclasses.replace(model, network=keep_layers(model.network, kept)), {
            "layers": kept,
            "influence": scores,
        }


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
    examples: ClassVar[Mapping[str, str]] = {
        "width(activation, 16)": "keep 16 channels of the embedding, by a criterion",
    }

    criterion: str
    d_model: int

    def __post_init__(self) -> None:
        check_criterion(self.criterion)
        if self.d_model < 1:
            raise UserError(f"an embedding keeps at least 1 channel, not {self.d_model}")

    @property
    def family(self) -> Family:
        """See `Step`."""
        return Family.SMALLER

    @property
    def label(self) -> str:
        """See `Step`."""
        return f"width {self.d_model} {criterion_label(self.criterion)}"

    def apply(self, model: CompressedModel, context: TrainingContext) -> tuple[CompressedModel, Details]:
        """Remove channels; the details list those that were kept.

        The layer norms' statistics change, since they are over fewer channels: expect to train on after this self.
        """
        d_model = model.network.config.d_model
        if self.d_model >= d_model:
            raise NoEffect(f"width({self.criterion}, {self.d_model}) removes nothing from {d_model} channels")
        check_whole(model.network, "width")
        scores = CRITERIA[self.criterion](model.network, context).channels
        kept = scores.topk(self.d_model).indices.sort().values
        return dataclasses.replace(model, network=keep_channels(model.network, kept)), {"channels": kept.tolist()}
