"""Named architectures: the study's two transformers, and one that is worth deploying.

A name may be followed by sizes that are to be others, as in ``ConvTransformer(layers=1, d_model=32)``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tsc_lib.core.calls import parse_call, write_signature
from tsc_lib.core.errors import UserError
from tsc_lib.core.limits import Limits, check_fields, quote
from tsc_lib.models.convolution_embedding import ConvolutionEmbeddingConfig
from tsc_lib.models.embedding import PatchEmbeddingConfig, fit_patch
from tsc_lib.models.transformer import LayerConfig, Transformer, TransformerConfig

TOKENS = 24
"""Tokens of the longest series, about, where an architecture leaves the patch open."""

DILATIONS = (1, 2, 4, 8)
"""Of the filters before the tokens of `ConvTransformer`: of nine time steps, they see 9 to 65 steps of a series."""


LIMITS: Limits = {
    "layers": (1, 64),
    "heads": (1, 256),
    "d_model": (1, 1024),
    "d_ff": (1, 4096),
    "patch": (0, 100_000),
    "experts": (1, 64),
    "active": (1, 64),
    "filters": (1, 4096),
    "pointwise": (0, 4096),
    "kernel": (1, 1023),
    "dropout": (0, 0.999),
}
"""The least and the most of a model's sizes."""


@dataclass(frozen=True)
class T1:
    """The study's smaller transformer, in sizes as published (arXiv:2502.16627).

    Attributes
    ----------
    layers, heads, d_model, d_ff : int
        Encoder layers, heads in each, embedding width, and feed-forward neurons, also of the classifier's hidden layer.
    patch : int
        Time steps per token; 0 for a patch that makes about `TOKENS` of the longest series.
    experts, active : int
        Feed-forward parts in a layer, each of `d_ff` neurons, and how many of them a token uses.
    """

    layers: int = 8
    heads: int = 8
    d_model: int = 32
    d_ff: int = 256
    patch: int = 8
    experts: int = 1
    active: int = 1

    def __post_init__(self) -> None:
        check_fields(self, "size", LIMITS)
        if self.d_model % self.heads:
            raise UserError(f"{self.d_model} channels cannot be shared by {self.heads} heads")
        if self.active > self.experts:
            raise UserError(f"a token cannot use {self.active} of {self.experts} experts")

    def configure(self, channels: int, classes: int, longest: int) -> TransformerConfig:
        """Configuration for a data set's width, its number of classes and its longest series.

        Raises
        ------
        ValueError
            If a size is impossible.
        """
        return TransformerConfig(
            channels=channels,
            classes=classes,
            embedding=PatchEmbeddingConfig(fit_patch(self.patch or max(1, round(longest / TOKENS)), longest)),
            d_model=self.d_model,
            head_dim=self.d_model // self.heads,
            layers=(LayerConfig(self.heads, self.d_ff, experts=self.experts, active=self.active),) * self.layers,
            d_hidden=self.d_ff,
            # Twenty epochs leave nothing to regularise: on validation the models were better without dropout.
            dropout=0.0,
        )


@dataclass(frozen=True)
class T2(T1):
    """The study's larger transformer, in sizes as published (arXiv:2502.16627)."""

    layers: int = 12
    heads: int = 16


@dataclass(frozen=True)
class ConvTransformer(T1):
    """Two layers on the mean strength, in each patch, of what convolution filters find.

    Attributes
    ----------
    filters, kernel : int
        Filters of the convolution before the tokens, and the time steps that each sees.
    pointwise : int
        Outputs of a pointwise convolution of the filters; 0 for none.
    dropout : float
        In training.
    norm : {"pre", "post"}
        Whether layers normalise what they read, or what they give.
    """

    layers: int = 2
    heads: int = 3
    d_model: int = 48
    d_ff: int = 96
    patch: int = 0
    filters: int = 32
    pointwise: int = 64
    kernel: int = 9
    dropout: float = 0.1
    norm: str = "pre"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.norm not in ("pre", "post") or self.kernel % 2 == 0:
            raise UserError(f"norm is pre or post, and kernel odd, not {quote(self.norm)} and {self.kernel}")

    def configure(self, channels: int, classes: int, longest: int) -> TransformerConfig:
        """See `T1`."""
        config = super().configure(channels, classes, longest)
        embedding = ConvolutionEmbeddingConfig(
            config.embedding.patch,
            filters=self.filters,
            kernel=self.kernel,
            dilations=DILATIONS,
            pointwise=self.pointwise,
        )
        return replace(config, embedding=embedding, dropout=self.dropout, pre_norm=self.norm == "pre")


ARCHITECTURES: dict[str, type[T1]] = {kind.__name__: kind for kind in (T1, T2, ConvTransformer)}
"""Every architecture by its name."""


def architectures_table() -> str:
    """Every architecture with its sizes and what it is, as a table in Markdown.

    Examples
    --------
    >>> print(architectures_table().splitlines()[0])
    | model | what it is |
    """
    rows = [
        f"| `{write_signature(name, kind)}` | {(kind.__doc__ or '').splitlines()[0]} |"
        for name, kind in ARCHITECTURES.items()
    ]
    return "\n".join(["| model | what it is |", "| --- | --- |", *rows])


def find_architecture(name: object) -> T1:
    """The architecture of a name, with the sizes that follow it.

    Raises
    ------
    UserError
        If there is none, or a size is impossible.

    Examples
    --------
    >>> find_architecture("T1(layers=2)")
    T1(layers=2, heads=8, d_model=32, d_ff=256, patch=8, experts=1, active=1)
    """
    if not isinstance(name, str) or name.partition("(")[0].strip() not in ARCHITECTURES:
        raise UserError(f"unknown model {quote(name)}; the models are {', '.join(ARCHITECTURES)}")
    return parse_call(name, ARCHITECTURES, f"model {quote(name)}", "ConvTransformer(layers=1)")


def configure(name: str, channels: int, classes: int, longest: int = 1) -> TransformerConfig:
    """Configuration of a named architecture for a data set's width, its number of classes and its longest series.

    Its patches are as long as the architecture says, unless series of `longest` time steps would have more tokens than
    positions are tabulated for: then they are doubled until those fit.

    Raises
    ------
    UserError
        If no architecture has that name.
    """
    return find_architecture(name).configure(channels, classes, longest)


def build(name: str, channels: int, classes: int, longest: int = 1) -> Transformer:
    """A freshly initialised model, e.g. ``build("T1", channels=4, classes=9)`` with 180,041 parameters."""
    return Transformer(configure(name, channels, classes, longest))
