"""Token reduction: from some layer on, a series is fewer tokens, merged where alike or dropped where hardly looked at.

Weights stay as they are, and how many tokens stay depends on the length alone: which ones depends on the series. The
reductions themselves, and their references, are in `tsc_lib.models.token_reduction`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

from tsc_lib.compress.context import TrainingContext
from tsc_lib.compress.recipe import NoEffect, register
from tsc_lib.compress.surgery import rebuilt
from tsc_lib.core.errors import UserError
from tsc_lib.models.compressed import CompressedModel
from tsc_lib.models.token_reduction import check_share


@dataclass(frozen=True)
class Reduction:
    """Fewer tokens after the attention of a layer.

    Attributes
    ----------
    keep : float
        Share of the tokens that is left; the class token is not counted and always stays.
    layer : int
        The layer, counted from 1.
    """

    method: ClassVar[str]
    keep: float
    layer: int = 2

    def __post_init__(self) -> None:
        check_share(self.method, self.keep)
        if self.layer < 1:
            raise UserError(f"layers are counted from 1, so there is no layer {self.layer}")


class Merge(Reduction):
    """Merge similar tokens; at least a half is left."""

    method = "merge"


class Drop(Reduction):
    """Drop the tokens that the class token attends to least."""

    method = "drop"


def reduce(model: CompressedModel, step: Reduction, context: TrainingContext) -> tuple[CompressedModel, dict[str, Any]]:
    """Reduce tokens; the details count those of a series of the reference length, before and after every layer."""
    config, name = model.network.config, f"{step.method}({step.keep:g}, {step.layer})"
    layers = len(config.heads)
    if step.layer >= layers:
        raise UserError(
            f"{name} has no effect on a model of {layers} layer(s), where only the class token is read after the last; "
            + (f"choose a layer up to {layers - 1}" if layers > 1 else "it needs a second layer")
        )
    reductions = list(config.reductions or (None,) * layers)
    if reductions[step.layer - 1] is not None:
        raise UserError(f"{name} finds the tokens of layer {step.layer} reduced already; choose another layer")
    reductions[step.layer - 1] = (step.method, step.keep)
    changed = dataclasses.replace(config, reductions=tuple(reductions))
    longest = max(int(split.lengths.max()) for split in (context.train, context.valid))
    before = config.tokens_of(longest)[step.layer]
    if changed.tokens_of(longest)[step.layer] == before:
        raise NoEffect(f"{name} leaves all {before} tokens of the longest series")
    network = rebuilt(changed, model.network.state_dict())
    return dataclasses.replace(model, network=network), {"tokens": list(changed.tokens_of(model.reference_length))}


register("merge", Merge)(reduce)
register("drop", Drop)(reduce)
