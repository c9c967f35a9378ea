"""How good a network is on the series of a split: its logits, accuracy and loss."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from tsc_lib.data import Split, batches


def classify(
    predict: Callable[[np.ndarray, np.ndarray | None], np.ndarray],
    split: Split,
    equal_length: bool,
    batch_size: int = 64,
) -> np.ndarray:
    """Logits (n, classes) of every series of a split, in its order, from any `tsc_lib.runtimes.Predictor`."""
    logits: dict[int, np.ndarray] = {}
    for batch in batches(split, batch_size, equal_length=equal_length):
        logits |= dict(zip(batch.index.tolist(), predict(batch.x, batch.lengths), strict=True))
    return np.stack([logits[i] for i in range(len(split))])


def make_predictor(model: nn.Module) -> Callable[[np.ndarray, np.ndarray | None], np.ndarray]:
    """What `classify` takes, from a network that may still be in training: without dropout and gradients."""
    model.eval()

    def predict(x: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(x), None if lengths is None else torch.from_numpy(lengths)).numpy()

    return predict


def measure_accuracy(network: nn.Module, split: Split, equal_length: bool) -> float:
    """The share of a split's series that a network, in fp32, gives their own class."""
    return float((classify(make_predictor(network), split, equal_length).argmax(axis=1) == split.y).mean())


def judge(model: nn.Module, valid: Split, equal_length: bool) -> tuple[float | None, float | None]:
    """Cross-entropy and accuracy of the validation series, if there are any."""
    if not len(valid):
        return None, None
    logits = torch.from_numpy(classify(make_predictor(model), valid, equal_length))
    target = torch.from_numpy(valid.y)
    return F.cross_entropy(logits, target).item(), (logits.argmax(1) == target).double().mean().item()
