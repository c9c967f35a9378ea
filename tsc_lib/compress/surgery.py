"""Rebuilding a network with less structure, the weights of the rest unchanged."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from tsc_lib.compress.context import TrainingContext
from tsc_lib.core.errors import UserError
from tsc_lib.models.compressed import CompressedModel
from tsc_lib.models.convolution_embedding import ConvolutionEmbedding
from tsc_lib.models.embedding import PatchEmbeddingConfig, fit_patch
from tsc_lib.models.number_format import NumberFormat
from tsc_lib.models.transformer import Transformer, TransformerConfig

USUAL_PATCH = 8
"""Time steps in a patch of the study's models, which read shorter series too."""


def keep_structure(network: Transformer, heads: list[Tensor], neurons: list[Tensor]) -> Transformer:
    """Rebuild a network with only some heads and neurons of each layer, their weights unchanged.

    Parameters
    ----------
    network : Transformer
        Left alone.
    heads, neurons : list of Tensor
        Indices to keep, one tensor per layer.
    """
    layers = [
        dataclasses.replace(layer, heads=len(kept_heads), d_ff=len(kept_neurons))
        for layer, kept_heads, kept_neurons in zip(network.config.layers, heads, neurons, strict=True)
    ]
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
    return rebuild(dataclasses.replace(network.config, layers=tuple(layers)), state)


def keep_layers(network: Transformer, layers: list[int]) -> Transformer:
    """Rebuild a network with only some of its encoder layers, in their order.

    Parameters
    ----------
    network : Transformer
        Left alone.
    layers : list of int
        Indices to keep, ascending.
    """
    config = dataclasses.replace(network.config, layers=tuple(network.config.layers[i] for i in layers))
    state = {name: value for name, value in network.state_dict().items() if not name.startswith("layers.")}
    for index, layer in enumerate(layers):
        state |= {f"layers.{index}.{name}": value for name, value in network.layers[layer].state_dict().items()}
    return rebuild(config, state)


def keep_channels(network: Transformer, channels: Tensor) -> Transformer:
    """Rebuild a network with only some channels of its embedding, in everything that writes or reads them.

    Layer norms are over fewer channels afterwards, so
    their means and deviations are others, even if the lost channels carried nothing.

    Parameters
    ----------
    network : Transformer
        Left alone.
    channels : Tensor
        Indices to keep, ascending.
    """
    embedding, embedding_weights = network.embedding.select_channels(channels)
    config = dataclasses.replace(network.config, d_model=len(channels), embedding=embedding)
    readers = ("query.weight", "key.weight", "value.weight", "expand.weight", "hidden.weight")
    # The layer norms write too: what they give is the residual stream.
    writers = ("out", "contract", "attention_norm", "feed_forward_norm", "norm")
    # What the embedding holds is its own business; its norm, for one, is not over these channels.
    state = {name: value for name, value in network.state_dict().items() if not name.startswith("embedding.")}
    for name, value in state.items():
        if name.endswith(readers):
            state[name] = value[:, channels]
        elif name.rpartition(".")[0].endswith(writers):
            state[name] = value[channels]
    own = network.embedding.state_dict() | embedding_weights
    return rebuild(config, state | {f"embedding.{name}": value for name, value in own.items()})


def keep_filters(network: Transformer, filters: Tensor) -> Transformer:
    """Rebuild a network with only some filters of the convolution before its tokens.

    Their norm is over fewer filters afterwards.

    Parameters
    ----------
    network : Transformer
        Left alone.
    filters : Tensor
        Indices to keep, ascending.

    Raises
    ------
    UserError
        If there is no such convolution.
    """
    if not isinstance(network.embedding, ConvolutionEmbedding):
        raise UserError("filters are those of a convolution before the tokens, which this model has not")
    return replace_embedding(network, *network.embedding.select_filters(filters))


def replace_embedding(network: Transformer, embedding: PatchEmbeddingConfig, weights: dict[str, Tensor]) -> Transformer:
    """Rebuild a network with another embedding of the same kind: its configuration, and the weights that change."""
    state = network.state_dict() | {f"embedding.{name}": value for name, value in weights.items()}
    return rebuild(dataclasses.replace(network.config, embedding=embedding), state)


def rebuild(config: TransformerConfig, state: dict[str, Tensor]) -> Transformer:
    """A network of this shape with these weights."""
    with torch.random.fork_rng(devices=[]):  # what it is initialised with is overwritten
        network = Transformer(config)
    network.load_state_dict({name: value.contiguous() for name, value in state.items()})
    return network.eval()


def find_zero_rows(module: nn.Linear) -> Tensor:
    """Which outputs (rows of the weight) of a linear layer are zero throughout."""
    return (module.weight == 0).all(dim=1)


def check_fp32(model: CompressedModel, step: str) -> None:
    """Refuse to change weights that are not executed as they are.

    Raises
    ------
    UserError
        If the model's number format is another.
    """
    if model.number_format is not NumberFormat.FP32:
        raise UserError(f"{step} works on fp32 weights, but the model is {model.number_format}; put it before int8")


def check_plain(network: Transformer, step: str) -> None:
    """Refuse layers whose feed-forward part is a mixture of experts.

    Raises
    ------
    UserError
        If the network has any.
    """
    if network.config.has_experts:
        raise UserError(f"{step} does not know mixtures of experts, and this model has one; leave it out")


def check_whole(network: Transformer, step: str) -> None:
    """Refuse to cut into mixtures of experts, and into linear layers that have been factorised.

    Raises
    ------
    UserError
        If the network holds any.
    """
    check_plain(network, step)
    if network.config.is_factorised:
        raise UserError(f"{step} needs linear layers of one matrix each; put it before lowrank in the recipe")


def check_series(config: TransformerConfig, context: TrainingContext) -> None:
    """Refuse a shape that cannot place every series of the context, or that has patches longer than all of them.

    Raises
    ------
    UserError
        If patches are longer than every series, or one has too many of them; it names the patch that fits.
    """
    longest, patch = int(max([*context.train.lengths, *context.valid.lengths])), config.embedding.patch
    fits, most = max(USUAL_PATCH, longest), config.embedding.length_limits[1]
    if patch > fits:
        raise UserError(
            f"a patch of {patch} time steps is longer than every training series; use one of at most {fits}"
        )
    if longest > most:
        raise UserError(
            f"the longest training series has {longest} time steps, and in patches of {patch} a model reads {most} at "
            f"most; take patches of {fit_patch(patch, longest)} time steps"
        )
