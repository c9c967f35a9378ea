"""Token reduction: from some layer on, a series is fewer tokens, merged where alike or dropped where hardly looked at.

Weights stay as they are, and how many tokens stay depends on the length alone: which ones depends on the series. The
reductions themselves, and their references, are in `tsc_lib.models.token_reduction`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from tsc_lib.compress.context import TrainingContext
from tsc_lib.compress.step import Family, NoEffect, Step
from tsc_lib.compress.surgery import rebuild
from tsc_lib.core.errors import UserError
from tsc_lib.models.compressed import CompressedModel, Details
from tsc_lib.models.token_reduction import TokenReduction


@dataclass(frozen=True)
class Reduction(Step):
    """Fewer tokens after the attention of a layer.

    Attributes
    ----------
    keep : float
        Share of the tokens that is left; the class token is not counted and always stays.
    layer : int
        The layer, counted from 1.
    """

    family: ClassVar[Family] = Family.FEWER
    title: ClassVar[str] = "{name} tokens to {keep:.1%}"
    titled: ClassVar[int] = 2

    keep: float
    layer: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        TokenReduction(self.name, self.keep)

    @property
    def label(self) -> str:
        """See `Step`."""
        return super().label + (f" (layer {self.layer})" if self.layer != Reduction.layer else "")

    def apply(self, model: CompressedModel, context: TrainingContext) -> tuple[CompressedModel, Details]:
        """Reduce tokens; the details count those of a series of the reference length, before and after every layer."""
        config, name = model.network.config, f"{self.name}({self.keep:g}, {self.layer})"
        layers = len(config.layers)
        if self.layer >= layers:
            raise UserError(
                f"{name} has no effect on a model of {layers} layer(s), "
                "where only the class token is read after the last; "
                + (f"choose a layer up to {layers - 1}" if layers > 1 else "it needs a second layer")
            )
        *before, layer = config.layers[: self.layer]
        if layer.reduction is not None:
            raise UserError(f"{name} finds the tokens of layer {self.layer} reduced already; choose another layer")
        layer = dataclasses.replace(layer, reduction=TokenReduction(self.name, self.keep))
        changed = dataclasses.replace(config, layers=(*before, layer, *config.layers[self.layer :]))
        longest = int(max([*context.train.lengths, *context.valid.lengths]))
        tokens = config.count_tokens(longest)[self.layer]
        if changed.count_tokens(longest)[self.layer] == tokens:
            raise NoEffect(f"{name} leaves all {tokens} tokens of the longest series")
        network = rebuild(changed, model.network.state_dict())
        details = {"tokens": list(changed.count_tokens(model.reference_length))}
        return dataclasses.replace(model, network=network), details


class Merge(Reduction):
    """Merge similar tokens; at least a half is left."""

    name: ClassVar[str] = "merge"
    summary: ClassVar[str] = "merges similar tokens after the attention of a layer"
    examples: ClassVar[Mapping[str, str]] = {
        "merge(0.5)": "merge similar tokens until half are left, after the attention of layer=2",
    }


class Drop(Reduction):
    """Drop the tokens that the class token attends to least."""

    name: ClassVar[str] = "drop"
    summary: ClassVar[str] = "drops the tokens that the class token attends to least"
    examples: ClassVar[Mapping[str, str]] = {
        "drop(0.5)": "keep the half of the tokens that the class token attends to most, after that of layer=2",
    }
