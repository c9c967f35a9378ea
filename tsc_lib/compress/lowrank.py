"""Low rank: a linear layer as the product of two thinner ones, by truncated singular value decomposition.

References
----------
.. [1] Denton et al., "Exploiting Linear Structure Within Convolutional Networks for Efficient Evaluation", NeurIPS
       2014 (singular value decomposition of trained layers, then fine-tuning).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tsc_lib.compress.context import TrainingContext
from tsc_lib.compress.step import Family, NoEffect, Step
from tsc_lib.compress.surgery import check_whole, rebuild
from tsc_lib.core.errors import UserError
from tsc_lib.models.compressed import CompressedModel, Details
from tsc_lib.models.transformer import WHOLE, Ranks, Transformer

LINEARS = {
    **{name: f"attention.{name}" for name in ("query", "key", "value", "out")},
    **{name: f"feed_forward.{name}" for name in ("expand", "contract")},
}
"""Where an encoder layer has the linear layers that `Ranks` names, in its order."""


@dataclass(frozen=True)
class LowRank(Step):
    """Factorise the encoder's linear layers where that takes fewer multiply-accumulates, the others stay whole.

    Attributes
    ----------
    energy : float
        Share of the squared singular values of each weight that its rank must hold.
    """

    name: ClassVar[str] = "lowrank"
    summary: ClassVar[str] = "holds linear layers as two thinner ones, where that is cheaper"
    family: ClassVar[Family] = Family.SMALLER
    title: ClassVar[str] = "low rank {energy:.1%}"
    titled: ClassVar[int] = 1
    examples: ClassVar[Mapping[str, str]] = {
        "lowrank(0.9)": (
            "factorise linear layers where that is cheaper, keeping 90 % of their squared singular values"
        ),
    }

    energy: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.energy < 1:
            raise UserError(f"the energy that a low rank keeps lies between 0 and 1, not {self.energy:g}")

    def apply(self, model: CompressedModel, context: TrainingContext) -> tuple[CompressedModel, Details]:
        """Factorise; the details give the rank of every linear layer, 0 for one that stayed whole."""
        check_whole(model.network, "lowrank")
        state = model.network.state_dict()
        ranks = [
            Ranks(**{n: choose_rank(state[f"layers.{i}.{path}.weight"], self.energy) for n, path in LINEARS.items()})
            for i in range(len(model.network.layers))
        ]
        if all(of_layer == WHOLE for of_layer in ranks):
            raise NoEffect(f"lowrank({self.energy:g}) finds no linear layer that two factors would make cheaper")
        network = factorise(model.network, ranks)
        details = {"linears": list(LINEARS), "ranks": [list(dataclasses.astuple(of_layer)) for of_layer in ranks]}
        return dataclasses.replace(model, network=network), details


def choose_rank(weight: Tensor, energy: float) -> int:
    """The least rank that holds a share of a weight's squared singular values; 0 if two factors would cost more."""
    squares = torch.linalg.svdvals(weight).square()
    rank = int((squares.cumsum(0) < energy * squares.sum()).sum()) + 1
    outputs, inputs = weight.shape
    return rank if rank * (inputs + outputs) < inputs * outputs else 0


def factorise(network: Transformer, ranks: Sequence[Ranks]) -> Transformer:
    """Rebuild a network whose linear layers have these ranks, each the best approximation of its weight.

    Parameters
    ----------
    network : Transformer
        Not factorised yet; left alone.
    ranks : sequence of Ranks
        For each encoder layer.
    """
    state = network.state_dict()
    for layer, of_layer in enumerate(ranks):
        for name, rank in dataclasses.asdict(of_layer).items():
            if rank:
                path = f"layers.{layer}.{LINEARS[name]}"
                u, s, v = torch.linalg.svd(state.pop(f"{path}.weight"), full_matrices=False)
                root = s[:rank].sqrt()  # half of it to each factor, so that both are of one size for training
                state[f"{path}.0.weight"] = root[:, None] * v[:rank]
                state[f"{path}.1.weight"] = u[:, :rank] * root
                state[f"{path}.1.bias"] = state.pop(f"{path}.bias")
    layers = [dataclasses.replace(old, ranks=new) for old, new in zip(network.config.layers, ranks, strict=True)]
    return rebuild(dataclasses.replace(network.config, layers=tuple(layers)), state)
