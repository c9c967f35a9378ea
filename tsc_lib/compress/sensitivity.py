"""How much each linear layer bears: what int8 of that one alone does to the answers on training series."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tsc_lib.compress.context import TrainingContext
from tsc_lib.data import Batch, batches
from tsc_lib.models.compressed import CompressedModel
from tsc_lib.models.fakequant import FakeQuantLinear, find_linears, observe_ranges, replace_module
from tsc_lib.runtimes.graph import InferenceTransformer
from tsc_lib.runtimes.predictor import graph_inputs
from tsc_lib.training import classify, make_predictor

SERIES = 256
"""Training series at most that are classified once for every layer."""


class Sensitivity(TypedDict):
    """What int8 of one layer does.

    Attributes
    ----------
    layer : str
        Its name.
    divergence : float
        The Kullback-Leibler divergence, in nats, of fp32's probabilities from those with this layer in int8, mean over
        series.
    loss_increase : float
        The change of the cross-entropy, in nats.
    """

    layer: str
    divergence: float
    loss_increase: float


def draw_calibration(context: TrainingContext, count: int) -> tuple[Batch, np.ndarray]:
    """At most so many training series as one batch, drawn by the seed, and their positions in train."""
    subset, chosen = context.sample(count)
    return next(iter(batches(subset, len(subset), equal_length=context.equal_length))), chosen


def measure_sensitivity(model: CompressedModel, context: TrainingContext, calibration: int) -> list[Sensitivity]:
    """Quantize each linear layer alone, and compare with fp32.

    The layers are those that runtimes execute (`tsc_lib.runtimes.graph.InferenceTransformer`): query, key and value
    are one.

    Parameters
    ----------
    model : CompressedModel
        With weights in fp32.
    context : TrainingContext
        Of which the training series are used.
    calibration : int
        Series that the ranges of the inputs are observed on.

    Returns
    -------
    list of Sensitivity
        One for every layer, in the order of the network.
    """
    with torch.no_grad():
        network = InferenceTransformer(model.network, attention="operator").eval()

    def whole(x: np.ndarray, lengths: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        x, *given = graph_inputs(x, lengths, model.network.config.embedding.patch)
        return x, given[0] if given else None

    def predict(x: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
        return make_predictor(network)(*whole(x, lengths))

    x, lengths, index = draw_calibration(context, calibration)[0]
    observed = observe_ranges(network, Batch(*whole(x, lengths), index))
    sample, _ = context.sample(SERIES)
    target = torch.from_numpy(sample.y)

    def log_probabilities() -> Tensor:
        logits = torch.from_numpy(classify(predict, sample, context.equal_length))
        return F.log_softmax(logits.double(), dim=1)

    exact = log_probabilities()
    rows: list[Sensitivity] = []
    for name, linear in find_linears(network).items():
        replace_module(network, name, FakeQuantLinear(linear, *observed[name]).eval())
        quantized = log_probabilities()
        replace_module(network, name, linear)
        divergence = F.kl_div(quantized, exact, reduction="batchmean", log_target=True).item()
        increase = F.nll_loss(quantized, target).item() - F.nll_loss(exact, target).item()
        rows.append({"layer": name, "divergence": divergence, "loss_increase": increase})
    return rows


def select_most_sensitive(rows: list[Sensitivity], count: int) -> tuple[str, ...]:
    """Names of the layers of the largest divergence, in the order of the network."""
    chosen = sorted(range(len(rows)), key=lambda i: -rows[i]["divergence"])[:count]
    return tuple(rows[i]["layer"] for i in sorted(chosen))
