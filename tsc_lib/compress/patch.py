"""Longer patches: a trained model that reads a series in fewer tokens.

Attention takes the square of the number of tokens, and everything else but the classifier is proportional to it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from tsc_lib.compress.context import TrainingContext
from tsc_lib.compress.recipe import NoEffect, register
from tsc_lib.compress.surgery import check_series, lengthen_patches
from tsc_lib.core.errors import UserError
from tsc_lib.models.compressed import CompressedModel


@dataclass(frozen=True)
class Patch:
    """Read the series in longer patches; train on after this step.

    Attributes
    ----------
    size : int
        Time steps per token, a multiple of the model's own.
    """

    size: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UserError(f"a patch has at least 1 time step, not {self.size}")


@register("patch", Patch)
def patch(model: CompressedModel, step: Patch, context: TrainingContext) -> tuple[CompressedModel, dict[str, Any]]:
    """Lengthen the patches; the details tell how many of the old ones a new one covers."""
    old = model.network.config.patch
    if model.number_format != "fp32":
        raise UserError(f"patch works on fp32 weights, but the model is {model.number_format}; put it before int8")
    if step.size == old:
        raise NoEffect(f"patch({step.size}) changes nothing in a model whose patches have {old} time steps")
    if step.size % old:
        raise UserError(
            f"patch({step.size}) is no multiple of the {old} time steps that the model's patches have; "
            f"use {2 * old} or {4 * old}"
        )
    network = lengthen_patches(model.network, step.size // old)
    check_series(network.config, context)
    return dataclasses.replace(model, network=network), {"patches": step.size // old}
