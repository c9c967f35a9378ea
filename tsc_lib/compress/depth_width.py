"""Depth and width: whole encoder layers removed, and channels of the embedding.

References
----------
.. [1] Men et al., "ShortGPT: Layers in Large Language Models are More Redundant Than You Expect", 2024.
.. [2] Sajjad et al., "On the Effect of Dropping Layers of Pre-trained Transformer Models", Computer Speech &
       Language, 2023 (the first, the last, every other layer).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch

from tsc_lib.compress.context import TrainingContext
from tsc_lib.compress.importance import CRITERIA, check_criterion, influence
from tsc_lib.compress.recipe import NoEffect, register
from tsc_lib.compress.surgery import check_whole, keep_channels, keep_layers
from tsc_lib.core.errors import UserError
from tsc_lib.models.compressed import CompressedModel

CHOICES = ("influence", "first", "last", "even", "random")


@dataclass(frozen=True)
class Layers:
    """Keep some of the encoder layers and remove the others.

    Attributes
    ----------
    keep : int
        How many to keep.
    which : {"influence", "first", "last", "even", "random"}
        Those that change the residual stream most [1]_; those nearest to the input, or to the output; evenly spaced
        ones from the first to the last [2]_; or random ones, the control.
    """

    keep: int
    which: str = "influence"

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise UserError(f"a model keeps at least 1 layer, not {self.keep}")
        if self.which not in CHOICES:
            raise UserError(f"unknown choice of layers {self.which!r}; use {', '.join(CHOICES[:-1])} or {CHOICES[-1]}")


@dataclass(frozen=True)
class Width:
    """Keep the channels of the embedding that matter most, everywhere.

    Attributes
    ----------
    criterion : {"l1", "l2", "taylor", "activation", "random"}
        What is called important, see `tsc_lib.compress.importance`.
    d_model : int
        How many channels to keep.
    """

    criterion: str
    d_model: int

    def __post_init__(self) -> None:
        check_criterion(self.criterion)
        if self.d_model < 1:
            raise UserError(f"an embedding keeps at least 1 channel, not {self.d_model}")


@register("layers", Layers)
def layers(model: CompressedModel, step: Layers, context: TrainingContext) -> tuple[CompressedModel, dict[str, Any]]:
    """Remove whole layers; the details tell which were kept, and the influence of every layer."""
    count = len(model.network.layers)
    if step.keep >= count:
        raise NoEffect(f"layers({step.keep}) removes nothing from a model of {count} layers")
    scores = influence(model.network, context)
    if step.which == "influence":
        chosen = torch.tensor(scores).topk(step.keep).indices
    elif step.which == "random":
        chosen = torch.randperm(count, generator=torch.Generator().manual_seed(context.seed))[: step.keep]
    elif step.which == "even":
        chosen = torch.linspace(0, count - 1, step.keep).round().long()
    else:
        chosen = torch.arange(count)[: step.keep] if step.which == "first" else torch.arange(count)[-step.keep :]
    kept = sorted(chosen.tolist())
    return dataclasses.replace(model, network=keep_layers(model.network, kept)), {"layers": kept, "influence": scores}


@register("width", Width)
def width(model: CompressedModel, step: Width, context: TrainingContext) -> tuple[CompressedModel, dict[str, Any]]:
    """Remove channels; the details list those that were kept.

    The layer norms' statistics change, since they are over fewer channels: expect to train on after this step.
    """
    d_model = model.network.config.d_model
    if step.d_model >= d_model:
        raise NoEffect(f"width({step.criterion}, {step.d_model}) removes nothing from {d_model} channels")
    check_whole(model.network, "width")
    scores = CRITERIA[step.criterion](model.network, context).channels
    kept = scores.topk(step.d_model).indices.sort().values
    return dataclasses.replace(model, network=keep_channels(model.network, kept)), {"channels": kept.tolist()}
