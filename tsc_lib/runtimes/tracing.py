"""A network as one graph for every batch size, and for every length where lengths differ; runtimes start from it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tsc_lib.core.errors import UserError
from tsc_lib.data import Batch
from tsc_lib.models.compressed import CompressedModel
from tsc_lib.models.early_exit import split_at_exits
from tsc_lib.models.embedding import MAX_TOKENS
from tsc_lib.runtimes.graph import Form, InferenceTransformer
from tsc_lib.runtimes.predictor import graph_inputs

LARGEST_BATCH = 65_536


def example(model: CompressedModel, equal_length: bool) -> tuple[tuple[Tensor, ...], tuple[Any, ...]]:
    """Inputs to trace the network with, and which of their sizes may vary."""
    config, length, n = model.network.config, model.reference_length, 8  # neither 0 nor 1, which would be specialised
    batch = torch.export.Dim("batch", min=1, max=LARGEST_BATCH)
    if equal_length:
        return (torch.zeros(n, config.channels, length),), ({0: batch},)
    tokens = torch.export.Dim("tokens", min=1, max=MAX_TOKENS)
    stride = config.embedding.stride
    whole = max(2, length // stride) * stride
    inputs = (torch.zeros(n, config.channels, whole), torch.full((n,), whole))
    return inputs, ({0: batch, 2: stride * tokens}, {0: batch})


def layer_of(weight: np.ndarray, network: nn.Module) -> str | None:
    """The linear layer that a graph's weight belongs to: that of the nearest weight; None if none has its shape.

    Parameters
    ----------
    weight : numpy.ndarray
        Two-dimensional, as the layer has it or transposed, maybe after quantization.
    network : nn.Module
        What the graph was traced from.
    """
    distances: list[tuple[float, str]] = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear):
            own = module.weight.detach().numpy()
            ways = [way for way in (weight, weight.T) if way.shape == own.shape]
            distances += [(float(np.linalg.norm(own - way)), name) for way in ways]
    return min(distances)[1] if distances else None


def graphs(model: CompressedModel, equal_length: bool, *, attention: Form) -> list[torch.export.ExportedProgram]:
    """The graph of a model in its lean form, or of each of its parts, where it has early exits."""
    network, config = InferenceTransformer(model.network, attention=attention).eval(), model.network.config
    inputs, shapes = example(model, equal_length)
    found = []
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not config.exits:
            return [traced(network, inputs, shapes)]
        for part in split_at_exits(network, config):
            found.append(traced(part, inputs, shapes))
            inputs, batch = part(*inputs)[1:], shapes[0][0]
            if equal_length:
                shapes = tuple({0: batch} for _ in inputs)
            else:
                tokens = torch.export.Dim.DYNAMIC  # a named one would have to prove that some tokens are always dropped
                shapes = ({0: batch, 1: tokens}, {0: batch, 3: tokens})
    return found


def traced(network: nn.Module, inputs: tuple[Tensor, ...], shapes: tuple[Any, ...]) -> torch.export.ExportedProgram:
    """The network's graph."""
    return torch.export.export(network, inputs, dynamic_shapes=shapes)


def calibration_of(model: CompressedModel) -> tuple[np.ndarray, ...]:
    """What static int8 observes, as a traced graph takes it.

    Raises
    ------
    UserError
        If the model has no calibration series.
    """
    batch: Batch | None = model.calibration
    if batch is None:
        raise UserError("static int8 needs calibration series; make the model with the recipe step int8(static)")
    return graph_inputs(batch.x, batch.lengths, model.network.config.embedding.stride)
