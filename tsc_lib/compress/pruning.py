"""Structured pruning, as two strategies that must not be confused.

*Masks* set whole rows of weight matrices to zero and leave every shape as it was: a dense kernel multiplies the zeros
like any other number, and nothing becomes cheaper. *Removal* takes attention heads and feed-forward neurons out and
rebuilds the model smaller.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from tsc_lib.compress.model import CompressedModel, Material, zero_rows
from tsc_lib.compress.recipe import register
from tsc_lib.errors import UserError
from tsc_lib.models.transformer import EncoderLayer, Transformer

NORMS = {"l1": 1, "l2": 2}


def _check(norm: str, ratio: float) -> None:
    if norm not in NORMS:
        raise UserError(f"unknown pruning norm {norm!r}; use {' or '.join(NORMS)}")
    if not 0 < ratio < 1:
        raise UserError(f"a pruning ratio lies between 0 and 1, not {ratio:g}")


@dataclass(frozen=True)
class Mask:
    """Zero the rows of least norm in every linear layer of the encoder (`torch.nn.utils.prune.ln_structured`)."""

    norm: str
    ratio: float

    def __post_init__(self) -> None:
        _check(self.norm, self.ratio)


@dataclass(frozen=True)
class Prune:
    """Remove the attention heads and feed-forward neurons of least norm from every layer."""

    norm: str
    ratio: float

    def __post_init__(self) -> None:
        _check(self.norm, self.ratio)


@register("mask", Mask)
def mask(model: CompressedModel, step: Mask, material: Material) -> tuple[CompressedModel, dict[str, Any]]:
    """Zero rows; shapes, MACs and bytes stay."""
    network = copy.deepcopy(model.network)
    linears = [module for module in network.layers.modules() if isinstance(module, nn.Linear)]
    for linear in linears:
        torch_prune.ln_structured(linear, "weight", amount=step.ratio, n=NORMS[step.norm], dim=0)
        torch_prune.remove(linear, "weight")
    details = {"zero_rows": sum(int(zero_rows(m).sum()) for m in linears), "rows": sum(m.out_features for m in linears)}
    return dataclasses.replace(model, network=network), details


@register("prune", Prune)
def prune(model: CompressedModel, step: Prune, material: Material) -> tuple[CompressedModel, dict[str, Any]]:
    """Remove structure; the details list the indices that were kept, per layer."""
    kept_heads, kept_neurons = [], []
    for layer in model.network.layers:
        assert isinstance(layer, EncoderLayer)
        kept_heads.append(_strongest(head_importance(layer, NORMS[step.norm]), step.ratio))
        kept_neurons.append(_strongest(neuron_importance(layer, NORMS[step.norm]), step.ratio))
    network = keep(model.network, kept_heads, kept_neurons)
    details = {"heads": [k.tolist() for k in kept_heads], "neurons": [k.tolist() for k in kept_neurons]}
    return dataclasses.replace(model, network=network), details


def head_importance(layer: EncoderLayer, p: int) -> Tensor:
    """The p-norm (heads,) of all weights that belong to a head: its query, key, value rows and output columns."""
    attention = layer.attention
    shape = (attention.heads, attention.head_dim, -1)
    parts = [m.weight.view(shape) for m in (attention.query, attention.key, attention.value)]
    parts.append(attention.out.weight.T.reshape(shape))
    return torch.cat(parts, dim=2).detach().flatten(1).norm(p, dim=1)


def neuron_importance(layer: EncoderLayer, p: int) -> Tensor:
    """The p-norm (d_ff,) of all weights that belong to a feed-forward neuron: its row in and its column out."""
    feed_forward = layer.feed_forward
    return torch.cat([feed_forward.expand.weight, feed_forward.contract.weight.T], dim=1).detach().norm(p, dim=1)


def _strongest(importance: Tensor, ratio: float) -> Tensor:
    count = max(1, len(importance) - round(len(importance) * ratio))
    return importance.topk(count).indices.sort().values


def keep(network: Transformer, heads: list[Tensor], neurons: list[Tensor]) -> Transformer:
    """Rebuild a network with only some heads and neurons of each layer, their weights unchanged.

    Parameters
    ----------
    network : Transformer
        Left alone.
    heads, neurons : list of Tensor
        Indices to keep, one tensor per layer.
    """
    config = dataclasses.replace(
        network.config, heads=tuple(len(k) for k in heads), d_ff=tuple(len(k) for k in neurons)
    )
    state = network.state_dict()
    for index, (kept_heads, kept_neurons) in enumerate(zip(heads, neurons, strict=True)):
        width = network.config.head_dim
        rows = (kept_heads[:, None] * width + torch.arange(width)).flatten()
        attention, feed_forward = f"layers.{index}.attention", f"layers.{index}.feed_forward"
        for name in ("query", "key", "value"):
            for kind in ("weight", "bias"):
                state[f"{attention}.{name}.{kind}"] = state[f"{attention}.{name}.{kind}"][rows]
        state[f"{attention}.out.weight"] = state[f"{attention}.out.weight"][:, rows]
        state[f"{feed_forward}.expand.weight"] = state[f"{feed_forward}.expand.weight"][kept_neurons]
        state[f"{feed_forward}.expand.bias"] = state[f"{feed_forward}.expand.bias"][kept_neurons]
        state[f"{feed_forward}.contract.weight"] = state[f"{feed_forward}.contract.weight"][:, kept_neurons]
    smaller = Transformer(config)
    smaller.load_state_dict({name: value.contiguous() for name, value in state.items()})
    return smaller.eval()
