"""A network as one graph for every batch size, and for every length where lengths differ; runtimes start from it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tsc_lib.core.errors import UserError
from tsc_lib.models.compressed import CompressedModel
from tsc_lib.models.early_exit import split_at_exits
from tsc_lib.models.embedding import MAX_TOKENS
from tsc_lib.runtimes.graph import POSITIONS, Form, InferenceTransformer
from tsc_lib.runtimes.predictor import graph_inputs

LARGEST_BATCH = 65_536

WRAPPED = "network."
"""Before the names of modules and buffers where a graph is that of a part, or of a wrapper, of an inference form."""


def make_example(model: CompressedModel, equal_length: bool) -> tuple[tuple[Tensor, ...], tuple[Any, ...]]:
    """Inputs to trace the network with, and which of their sizes may vary."""
    config, length, n = model.network.config, model.reference_length, 8  # neither 0 nor 1, which would be specialised
    batch = torch.export.Dim("batch", min=1, max=LARGEST_BATCH)
    if equal_length:
        return (torch.zeros(n, config.channels, length),), ({0: batch},)
    patch = config.embedding.patch
    # Where each time step is a token, export cannot prove for a named dimension what it can for its multiples.
    steps = patch * torch.export.Dim("tokens", min=1, max=MAX_TOKENS) if patch > 1 else torch.export.Dim.DYNAMIC
    whole = max(2, length // patch) * patch
    inputs = (torch.zeros(n, config.channels, whole), torch.full((n,), whole))
    return inputs, ({0: batch, 2: steps}, {0: batch})


def make_inference_form(model: CompressedModel, equal_length: bool, form: Form) -> InferenceTransformer:
    """The network in its inference form, for series of one length or of any."""
    length = model.reference_length if equal_length else None
    return InferenceTransformer(model.network, attention=form, length=length).eval()


def trace_parts(model: CompressedModel, equal_length: bool, form: Form) -> list[torch.export.ExportedProgram]:
    """The graph of a model in its inference form, or of each of its parts, where it has early exits."""
    network, config = make_inference_form(model, equal_length, form), model.network.config
    inputs, shapes = make_example(model, equal_length)
    found = []
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not config.exits:
            return [torch.export.export(network, inputs, dynamic_shapes=shapes)]
        for part in split_at_exits(network, config):
            found.append(torch.export.export(part, inputs, dynamic_shapes=shapes))
            inputs, batch = part(*inputs)[1:], shapes[0][0]
            if equal_length:
                shapes = tuple({0: batch} for _ in inputs)
            else:
                tokens = torch.export.Dim.DYNAMIC  # a named one would have to prove that some tokens are always dropped
                shapes = ({0: batch, 1: tokens}, {0: batch, 3: tokens})
    return found


def is_positions(name: str) -> bool:
    """Whether this is the name of the table of positions in a graph."""
    return name.removeprefix(WRAPPED) == POSITIONS


def calibration_batches(model: CompressedModel, size: int | None = None) -> list[tuple[np.ndarray, ...]]:
    """What static int8 observes, as a traced graph takes it, in batches of so many series or in one.

    Raises
    ------
    UserError
        If the model has no calibration series.
    """
    batch = model.calibration
    if batch is None:
        raise UserError("static int8 needs calibration series; make the model with the recipe step int8(static)")
    arrays = graph_inputs(batch.x, batch.lengths, model.network.config.embedding.patch)
    size = size or len(arrays[0])
    return [tuple(array[start : start + size] for array in arrays) for start in range(0, len(arrays[0]), size)]
