"""Static int8 of a network that becomes C: which linear layers multiply whole numbers, and on what grids.

Ranges are those of the graph that other runtimes get, in which the last layer has the class token alone. Weights have
seven bits, as everywhere (`INT8_WEIGHT`). What has no linear layer stays in fp32: attention's own products, the
convolutions of embeddings, norms and sums.
"""

from __future__ import annotations

import copy

import numpy as np
import torch

from tsc_lib.data import Batch
from tsc_lib.models.compressed import CompressedModel
from tsc_lib.models.convolution_embedding import ConvolutionEmbedding
from tsc_lib.models.fakequant import FakeQuantLinear, observe_ranges, replace_module
from tsc_lib.models.transformer import Transformer
from tsc_lib.runtimes.graph import InferenceTransformer, find_sources
from tsc_lib.runtimes.tracing import calibration_batches


def quantize(model: CompressedModel) -> Transformer:
    """A copy of a model's network with a `FakeQuantLinear` for every linear layer that is not to stay in fp32.

    Its logits are those of the program, but for the order of sums.

    Raises
    ------
    UserError
        If the model has no calibration series.
    """
    network = copy.deepcopy(model.network).eval()
    with torch.no_grad():
        if isinstance(network.embedding, ConvolutionEmbedding):
            _move_norm(network.embedding)
        graph = InferenceTransformer(network, attention="operator").eval()
    [(x, *lengths)] = calibration_batches(model)
    observed = observe_ranges(graph, Batch(x, lengths[0] if lengths else None, np.arange(len(x))))
    for name, limits in observed.items():
        if name not in model.quantization.fp32_layers:
            for source in find_sources(name):
                linear = network.get_submodule(source)
                assert isinstance(linear, torch.nn.Linear)
                replace_module(network, source, FakeQuantLinear(linear, *limits).eval())
    return network


def _move_norm(embedding: ConvolutionEmbedding) -> None:
    """Let the projection scale and shift instead of the norm before it, as in `ConvolutionTokens`."""
    norm, project = embedding.norm, embedding.project
    project.bias.add_(project.weight @ norm.bias)
    project.weight.mul_(norm.weight)
    norm.weight.fill_(1.0)
    norm.bias.zero_()
