"""How much each linear layer bears: what int8 of that one alone does to the answers on training series."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tsc_lib.compress.fakequant import FakeQuantLinear, linears, put, ranges
from tsc_lib.compress.model import CompressedModel, Material
from tsc_lib.data import Batch, batches
from tsc_lib.models.lean import Lean
from tsc_lib.runtimes.predictor import graph_inputs
from tsc_lib.training import classify, evaluator

SERIES = 256
"""Training series at most that are classified once for every layer."""


def calibration_batch(material: Material, count: int) -> tuple[Batch, np.ndarray]:
    """At most so many training series as one batch, drawn by the seed, and their positions in train."""
    subset, chosen = material.sample(count)
    return next(iter(batches(subset, len(subset), equal_length=material.equal_length))), chosen


def sensitivity(model: CompressedModel, material: Material, calibration: int) -> list[dict[str, Any]]:
    """Quantize each linear layer alone, and compare with fp32.

    The layers are those of the form that runtimes execute (`tsc_lib.models.lean.Lean`): query, key and value are one.

    Parameters
    ----------
    model : CompressedModel
        With weights in fp32.
    material : Material
        Of which the training series are used.
    calibration : int
        Series that the ranges of the inputs are observed on.

    Returns
    -------
    list of dict
        For every layer ``layer``, its name; ``divergence``, the Kullback-Leibler divergence in nats of fp32's
        probabilities from those with this layer in int8, mean over series; ``loss_increase``, the change of the
        cross-entropy in nats.
    """
    with torch.no_grad():
        network = Lean(model.network, attention="operator").eval()

    def whole(x: np.ndarray, lengths: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        x, *given = graph_inputs(x, lengths, model.network.config.patch)
        return x, given[0] if given else None

    def predict(x: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
        return evaluator(network)(*whole(x, lengths))

    x, lengths, index = calibration_batch(material, calibration)[0]
    observed = ranges(network, Batch(*whole(x, lengths), index))
    sample, _ = material.sample(SERIES)
    target = torch.from_numpy(sample.y)

    def log_probabilities() -> Tensor:
        logits = torch.from_numpy(classify(predict, sample, material.equal_length))
        return F.log_softmax(logits.double(), dim=1)

    exact = log_probabilities()
    rows = []
    for name, linear in linears(network).items():
        put(network, name, FakeQuantLinear(linear, *observed[name]).eval())
        quantized = log_probabilities()
        put(network, name, linear)
        divergence = F.kl_div(quantized, exact, reduction="batchmean", log_target=True).item()
        increase = F.nll_loss(quantized, target).item() - F.nll_loss(exact, target).item()
        rows.append({"layer": name, "divergence": divergence, "loss_increase": increase})
    return rows


def most_sensitive(rows: list[dict[str, Any]], count: int) -> tuple[str, ...]:
    """Names of the layers of the largest divergence, in the order of the network."""
    chosen = sorted(range(len(rows)), key=lambda i: -rows[i]["divergence"])[:count]
    return tuple(rows[i]["layer"] for i in sorted(chosen))
