"""A network with early exits, cut into what runs up to an exit and what goes on from there."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from tsc_lib.models.transformer import TransformerConfig


class Cuttable(Protocol):
    """What a network has to offer, in its own form or the lean one."""

    exits: nn.ModuleList

    def tokens(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Tokens and their mask."""
        ...

    def encode(self, x: Tensor, mask: Tensor | None, first: int, last: int) -> tuple[Tensor, Tensor | None]:
        """Tokens and their mask after some layers."""
        ...

    def answer(self, x: Tensor) -> Tensor:
        """Logits from the last tokens."""
        ...


class Part(nn.Module):
    """The layers from the input or an exit to the next exit or the end.

    Parameters
    ----------
    network : Transformer or InferenceTransformer
        Whose layers these are; left alone.
    config : TransformerConfig
        Of the network.
    index : int
        Which part, counted from 0; the network has one more than it has exits.
    """

    def __init__(self, network: Cuttable, config: TransformerConfig, index: int) -> None:
        super().__init__()
        self.network, self.index = network, index
        self.first, self.last = (0, *config.places)[index : index + 2]
        self.is_last = index == len(config.places) - 1

    def forward(self, x: Tensor, given: Tensor | None = None) -> tuple[Tensor, ...]:
        """Logits (n, classes), and unless this is the last part what the next one takes.

        The first part takes series and, where they differ, their lengths; the others take tokens and, where there is
        one, their mask.
        """
        x, mask = self.network.tokens(x, given) if self.index == 0 else (x, given)
        x, mask = self.network.encode(x, mask, self.first, self.last)
        if self.is_last:
            return (self.network.answer(x),)
        logits = self.network.exits[self.index](x[:, 0])
        return (logits, x) if mask is None else (logits, x, mask)


def parts_of(network: Cuttable, config: TransformerConfig) -> list[Part]:
    """Every part of a network, in order; a single one without exits."""
    return [Part(network, config, index) for index in range(len(config.places))]
