"""Longer patches: a trained model that reads a series in fewer tokens.

Attention takes the square of the number of tokens, and everything else but the classifier is proportional to it.

References
----------
.. [1] Beyer et al., "FlexiViT: One Model for All Patch Sizes", CVPR 2023.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from tsc_lib.compress.context import TrainingContext
from tsc_lib.compress.step import Family, NoEffect, Step
from tsc_lib.compress.surgery import check_fp32, check_series, replace_embedding
from tsc_lib.core.errors import UserError
from tsc_lib.models.compressed import CompressedModel, Details
from tsc_lib.models.transformer import Transformer


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
    family: ClassVar[Family] = Family.SMALLER
    title: ClassVar[str] = "patches of {size}"
    titled: ClassVar[int] = 1
    examples: ClassVar[Mapping[str, str]] = {
        "patch(16)": "read the series in patches of 16 time steps, a multiple of the model's; train on after it",
    }

    size: int

    def apply(self, model: CompressedModel, context: TrainingContext) -> tuple[CompressedModel, Details]:
        """Lengthen the patches; the details tell how many of the old ones a new one covers."""
        old = model.network.config.embedding.patch
        check_fp32(model, self.name)
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


def lengthen_patches(network: Transformer, count: int) -> Transformer:
    """Rebuild a network with patches that are several times as long.

    A longer patch is, to begin with, the last of those that it stands for, or their mean, as the embedding has it. So
    the layers read what they were trained on, only fewer.

    FlexiViT's resized kernel [1]_ is meant for images of another resolution: here it would look for the old shapes
    drawn out in time.

    Parameters
    ----------
    network : Transformer
        Left alone.
    count : int
        Old patches in a new one.
    """
    return replace_embedding(network, *network.embedding.lengthen(count))
