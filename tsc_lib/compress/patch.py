"""Longer patches: a trained model that reads a series in fewer tokens.

Attention takes the square of the number of tokens, and everything else but the classifier is proportional to it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from tsc_lib.compress.context import TrainingContext
from tsc_lib.compress.step import Details, Family, NoEffect, Step
from tsc_lib.compress.surgery import check_series, lengthen_patches
from tsc_lib.core.errors import UserError
from tsc_lib.models.compressed import CompressedModel


@dataclass(frozen=True)
class Patch(Step):
    """Read the series in longer patches; train on after this step.

    Attributes
    ----------
    size : int
        Time steps per token, a multiple of the model's own.
    """

    name: ClassVar[str] = "patch"
    summary: ClassVar[str] = "reads the series in longer patches, so in fewer tokens"
    examples: ClassVar[Mapping[str, str]] = {
        "patch(16)": "read the series in patches of 16 time steps, a multiple of the model's; train on after it",
    }

    size: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UserError(f"a patch has at least 1 time step, not {self.size}")

    @property
    def family(self) -> Family:
        """See `Step`."""
        return Family.SMALLER

    @property
    def label(self) -> str:
        """See `Step`."""
        return f"patches of {self.size}"

    def apply(self, model: CompressedModel, context: TrainingContext) -> tuple[CompressedModel, Details]:
        """Lengthen the patches; the details tell how many of the old ones a new one covers."""
        old = model.network.config.patch
        if model.number_format != "fp32":
            raise UserError(f"patch works on fp32 weights, but the model is {model.number_format}; put it before int8")
        if self.size == old:
            raise NoEffect(f"patch({self.size}) changes nothing in a model whose patches have {old} time steps")
        if self.size % old:
            raise UserError(
                f"patch({self.size}) is no multiple of the {old} time steps that the model's patches have; "
                f"use {2 * old} or {4 * old}"
            )
        network = lengthen_patches(model.network, self.size // old)
        check_series(network.config, context)
        return dataclasses.replace(model, network=network), {"patches": self.size // old}
