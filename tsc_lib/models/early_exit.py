"""A network with early exits, split into what runs up to an exit and what goes on from there."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from tsc_lib.models.transformer import TransformerConfig


class Splittable(Protocol):
    """What a network has to offer, in its own form or the one for inference."""

    exits: nn.ModuleList

    def embed(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Tokens of series, and their mask."""
        ...

    def encode(self, x: Tensor, mask: Tensor | None, first: int, last: int) -> tuple[Tensor, Tensor | None]:
        """Tokens and their mask after some layers."""
        ...

    def pool(self, x: Tensor) -> Tensor:
        """What classifiers read of tokens (n, d_model)."""
        ...

    def classify_tokens(self, x: Tensor) -> Tensor:
        """Logits from the last tokens."""
        ...


class Stage(nn.Module):
    """The layers from the input or an exit to the next exit or the end.

    Parameters
    ----------
    network : Transformer or InferenceTransformer
        Whose layers these are; left alone.
    config : TransformerConfig
        Of the network.
    index : int
        Which stage, counted from 0; the network has one more than it has exits.
    """

    def __init__(self, network: Splittable, config: TransformerConfig, index: int) -> None:
        super().__init__()
        self.network, self.index = network, index
        self.first, self.last = (0, *config.stage_ends)[index : index + 2]
        self.is_last = index == len(config.exits)

    def forward(self, x: Tensor, given: Tensor | None = None) -> tuple[Tensor, ...]:
        """Logits (n, classes), and unless this is the last stage what the next one takes.

        The first stage takes series and, where they differ, their lengths; the others take tokens and, where there is
        one, their mask.
        """
        x, mask = self.network.embed(x, given) if self.index == 0 else (x, given)
        x, mask = self.network.encode(x, mask, self.first, self.last)
        if self.is_last:
            return (self.network.classify_tokens(x),)
        logits = self.network.exits[self.index](self.network.pool(x))
        return (logits, x) if mask is None else (logits, x, mask)


def split_at_exits(network: Splittable, config: TransformerConfig) -> list[Stage]:
    """Every stage of a network, in order; a single one without exits."""
    return [Stage(network, config, index) for index in range(len(config.stage_ends))]
