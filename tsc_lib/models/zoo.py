"""Named architectures: the two transformers of the study."""

from __future__ import annotations

from tsc_lib.core.errors import UserError
from tsc_lib.core.limits import quote
from tsc_lib.models.embedding import PatchEmbeddingConfig, fit_patch
from tsc_lib.models.transformer import LayerConfig, Transformer, TransformerConfig

ARCHITECTURES: dict[str, dict[str, int]] = {
    "T1": {"layers": 8, "heads": 8, "d_model": 32, "d_ff": 256, "patch": 8},
    "T2": {"layers": 12, "heads": 16, "d_model": 32, "d_ff": 256, "patch": 8},
}
"""Sizes as published for T1 and T2 (arXiv:2502.16627)."""


def check_model(name: object) -> None:
    """Refuse a name that no architecture has.

    Raises
    ------
    UserError
    """
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise UserError(f"unknown model {quote(name)}; the models are {', '.join(ARCHITECTURES)}")


def configure(name: str, channels: int, classes: int, longest: int = 1) -> TransformerConfig:
    """Configuration of a named architecture for a data set's width, its number of classes and its longest series.

    Its patches are as long as published, unless series of `longest` time steps would have more tokens than positions
    are tabulated for: then they are doubled until those fit.

    Raises
    ------
    UserError
        If no architecture has that name.
    """
    check_model(name)
    size = ARCHITECTURES[name]
    return configure_sizes({**size, "patch": fit_patch(size["patch"], longest)}, channels, classes)


def configure_sizes(size: dict[str, int], channels: int, classes: int) -> TransformerConfig:
    """Configuration of an architecture like the study's, from sizes like those in `ARCHITECTURES`."""
    return TransformerConfig(
        channels=channels,
        classes=classes,
        embedding=PatchEmbeddingConfig(size["patch"]),
        d_model=size["d_model"],
        head_dim=size["d_model"] // size["heads"],
        layers=(LayerConfig(size["heads"], size["d_ff"]),) * size["layers"],
        d_hidden=size["d_ff"],
        # Twenty epochs leave nothing to regularise: on validation the models were better without dropout.
        dropout=0.0,
    )


def build(name: str, channels: int, classes: int) -> Transformer:
    """A freshly initialised model, e.g. ``build("T1", channels=4, classes=9)`` with 180,041 parameters."""
    return Transformer(configure(name, channels, classes))
