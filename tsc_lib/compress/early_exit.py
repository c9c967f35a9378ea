"""Early exit: series that a shallow classifier is sure of need not go through the rest of the network.

The classifier reads the class token after some encoder layer and is linear, so fitting it to train is a convex problem
with one solution: there are no epochs, seeds or learning rates to choose. The network itself stays as it is, so what
leaves at no exit gets the logits that it got before. Validation chooses how sure is sure enough.

References
----------
.. [1] Teerapittayanon, McDanel and Kung, "BranchyNet: Fast Inference via Early Exiting from Deep Neural Networks", ICPR
       2016 (exits by confidence).
.. [2] Xin et al., "DeeBERT: Dynamic Early Exiting for Accelerating BERT Inference", ACL 2020 (exits trained on a
       network that is left alone, so that its last layer loses nothing).
"""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from tsc_lib.compress.context import TrainingContext
from tsc_lib.compress.step import Family, NoEffect, Step
from tsc_lib.core.errors import UserError
from tsc_lib.core.limits import Limits
from tsc_lib.data import Split, batches
from tsc_lib.models.compressed import CompressedModel, Details, count_macs_by_exit
from tsc_lib.models.early_exit import split_at_exits
from tsc_lib.models.number_format import NumberFormat
from tsc_lib.models.transformer import EarlyExit, Transformer
from tsc_lib.runtimes.cascade import confidence

BATCH = 256

NEVER = -1e4
"""Bias of a class that train lacks: an exit never gives it."""


@dataclass(frozen=True)
class Exits(Step):
    """Let series leave after some encoder layers if a classifier of their class token is confident.

    Attributes
    ----------
    layer : int
        After how many layers; a recipe may have several such steps.
    tolerance : float
        Points of accuracy on validation that the exit may cost at most; as many series leave as that allows.
    """

    name: ClassVar[str] = "exits"
    summary: ClassVar[str] = "lets series leave early that a classifier after some layers is sure of"
    family: ClassVar[Family] = Family.EARLY
    title: ClassVar[str] = "exit after {layer}"
    titled: ClassVar[int] = 2
    limits: ClassVar[Limits] = {"tolerance": (0, 100)}
    examples: ClassVar[Mapping[str, str]] = {
        "exits(3)": (
            "let series leave after three layers where a classifier there is sure enough, so that validation "
            "accuracy falls by at most tolerance=0.5 points; always last, fp32, not in inductor"
        ),
    }

    layer: int
    tolerance: float = 0.5

    @property
    def label(self) -> str:
        """See `Step`."""
        return super().label + (f" ({self.tolerance} points)" if self.tolerance != Exits.tolerance else "")

    def apply(self, model: CompressedModel, context: TrainingContext) -> tuple[CompressedModel, Details]:
        """Add an exit; the details tell its threshold, and who of validation leaves where at which cost."""
        self._check(model)
        if not len(context.valid):
            raise NoEffect(
                "validation series choose how sure is sure enough for an early exit, and this data set has none: no "
                "class has two different training series; leave exits out of the recipe"
            )
        index = sum(each.layer < self.layer for each in model.network.config.exits)
        network = copy.deepcopy(model.network)
        _add_exit(network, index, self.layer, context)
        _, logits = run_exits(network, context.valid, context.equal_length)
        exits, truth = list(network.config.exits), context.valid.y
        thresholds = [each.threshold for each in exits]
        before, left = decide_exits(logits, thresholds)  # at a threshold of 1 none leaves at the new exit
        threshold = choose_threshold(logits[index], before, truth, left > index, self.tolerance)
        if threshold is None:
            raise NoEffect(
                f"no validation series can leave after layer {self.layer} within {self.tolerance:g} points of accuracy"
            )
        thresholds[index], exits[index] = threshold, EarlyExit(self.layer, threshold)
        network.config = dataclasses.replace(network.config, exits=tuple(exits))
        after, left = decide_exits(logits, thresholds)
        macs = count_macs_by_exit(network, model.reference_length)
        shares = (np.bincount(left, minlength=len(macs)) / len(left)).tolist()
        return dataclasses.replace(model, network=network), {
            "layers": [each.layer for each in exits],
            "thresholds": thresholds,
            "valid_left": shares,
            "valid_macs": float(np.dot(shares, macs)),
            "macs": macs,
            "valid_accuracy_before": float((before == truth).mean()),
            "valid_accuracy": float((after == truth).mean()),
        }

    def _check(self, model: CompressedModel) -> None:
        """Refuse a model that there cannot be such an exit in."""
        if model.number_format is not NumberFormat.FP32:
            raise UserError(f"early exits run in fp32, but the model is {model.number_format}; leave that step out")
        layers, taken = len(model.network.config.layers), [each.layer for each in model.network.config.exits]
        if self.layer >= layers or self.layer in taken:
            raise UserError(
                f"there is no room for an exit after layer {self.layer} of {layers}"
                + (f", beside those after {', '.join(map(str, taken))}" if taken else "")
                + "; choose a layer before the last that has none"
            )


def run_exits(network: Transformer, split: Split, equal_length: bool) -> tuple[list[np.ndarray], np.ndarray]:
    """What every series of a split would give at each exit, and at the end, if none left.

    Returns
    -------
    tokens : list of ndarray of shape (n, d_model)
        The class token at each exit.
    logits : ndarray of shape (exits + 1, n, classes)
        The logits at each exit, and last the network's.
    """
    stages, config = split_at_exits(network.eval(), network.config), network.config
    tokens = [np.empty((len(split), config.d_model), np.float32) for _ in stages[1:]]
    logits = np.empty((len(stages), len(split), config.classes), np.float32)
    with torch.inference_mode():
        for batch in batches(split, BATCH, equal_length=equal_length):
            given = (batch.x,) if batch.lengths is None else (batch.x, batch.lengths)
            state = tuple(map(torch.from_numpy, given))
            for index, stage in enumerate(stages):
                own, *rest = stage(*state)
                state = tuple(rest)
                logits[index, batch.index] = own.numpy()
                if rest:
                    tokens[index][batch.index] = network.pool(rest[0]).numpy()
    return tokens, logits


def fit_classifier(x: np.ndarray, y: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Weight (classes, width) and bias (classes,) of the linear classifier of x (n, width) by logistic regression."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a solution that is not quite reached is judged on validation like any other
        found = LogisticRegression(solver="newton-cholesky").fit(x.astype(np.float64), y)
    weight = np.zeros((classes, x.shape[1]), np.float32)
    bias = np.full(classes, NEVER, np.float32)
    known = found.classes_ if len(found.classes_) > 2 else found.classes_[1:]  # of two, one is the other's opposite
    bias[found.classes_] = 0.0
    weight[known], bias[known] = found.coef_, found.intercept_
    return weight, bias


def decide_exits(logits: np.ndarray, thresholds: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """The class that each series gets, and the exit at which it leaves, as `CascadePredictor` decides it.

    Parameters
    ----------
    logits : ndarray of shape (exits + 1, n, classes)
        Of `run_exits`.
    thresholds : list of float
        The confidence above which a series leaves, for each exit.
    """
    left = np.full(logits.shape[1], len(thresholds))
    for index in reversed(range(len(thresholds))):
        left[confidence(logits[index]) > thresholds[index]] = index
    return logits[left, np.arange(len(left))].argmax(axis=1), left


def choose_threshold(
    logits: np.ndarray, before: np.ndarray, truth: np.ndarray, reaching: np.ndarray, tolerance: float
) -> float | None:
    """The lowest confidence above which series may leave at an exit without costing more accuracy than allowed.

    Parameters
    ----------
    logits : ndarray of shape (n, classes)
        At the exit.
    before, truth : ndarray of shape (n,)
        The class that each series gets without the exit, and its own.
    reaching : ndarray of bool, shape (n,)
        Which series come as far as the exit.
    tolerance : float
        Points of accuracy, over all series.

    Returns
    -------
    float or None
        A float32 between the confidence of the last series that leaves and the first that does not; None if none may
        leave.
    """
    sure = confidence(logits)
    order = np.flatnonzero(reaching)[np.argsort(-sure[reaching], kind="stable")]
    gained = (logits.argmax(axis=1) == truth).astype(int) - (before == truth)
    allowed = np.cumsum(gained[order]) >= -tolerance / 100 * len(truth) - 1e-9
    following = np.append(sure[order[1:]], np.float32(1 / logits.shape[1]))
    possible = np.flatnonzero(allowed & (sure[order] > following))
    if not len(possible):
        return None
    least, next_one = sure[order[possible[-1]]], following[possible[-1]]
    middle = np.float32((float(least) + float(next_one)) / 2)
    return float(middle if middle < least else next_one)


def _add_exit(network: Transformer, index: int, layer: int, context: TrainingContext) -> None:
    """Give a network another exit, in place, with a classifier fitted to train and a threshold that none passes."""
    config, exits = network.config, network.config.exits
    network.config = dataclasses.replace(config, exits=(*exits[:index], EarlyExit(layer, 1.0), *exits[index:]))
    classifier = nn.Linear(config.d_model, config.classes, device="meta").to_empty(device="cpu")
    network.exits.insert(index, classifier)
    tokens, _ = run_exits(network, context.train, context.equal_length)
    weight, bias = fit_classifier(tokens[index], context.train.y, config.classes)
    classifier.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
