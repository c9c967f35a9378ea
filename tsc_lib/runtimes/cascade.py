"""Early exit: series whose logits are confident leave after a part of the network, and the others go on together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePath

import numpy as np

from tsc_lib.runtimes.predictor import graph_inputs

Part = Callable[..., Sequence[np.ndarray]]
"""Takes what the part before has left, at first a batch; returns logits and what the next part takes, rows alike."""


class CascadePredictor:
    """Executes the parts of a network one after another, each on the series that have not left.

    Parameters
    ----------
    parts : sequence of callable
        See `Part`.
    thresholds : sequence of float
        Confidence above which a series leaves, for each part but the last.
    stride : int
        Time steps from one token to the next.

    Attributes
    ----------
    left : ndarray of int64, shape (parts,)
        How many series so far have left after each part.
    """

    def __init__(self, parts: Sequence[Part], thresholds: Sequence[float], stride: int) -> None:
        self.parts, self.thresholds, self.stride = parts, thresholds, stride
        self.left = np.zeros(len(parts), dtype=np.int64)

    def __call__(self, x: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """Logits (n, classes) of series x (n, channels, length), each from where the series has left."""
        given = graph_inputs(x, lengths, self.stride)
        logits, *state = self.parts[0](*given)
        waiting = np.arange(len(x))
        for index, (part, threshold) in enumerate(zip(self.parts[1:], self.thresholds, strict=True)):
            going = confidence(logits[waiting]) <= threshold
            self.left[index] += len(waiting) - np.count_nonzero(going)
            waiting = waiting[going]
            if not len(waiting):
                return logits
            own, *state = part(*(array if going.all() else array[going] for array in state))
            if index == 0:
                logits = logits.copy()  # what a runtime gave may be its own
            logits[waiting] = own
        self.left[-1] += len(waiting)
        return logits


def confidence(logits: np.ndarray) -> np.ndarray:
    """The largest probability (n,) of the softmax of logits (n, classes), in float32."""
    return 1 / np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)


def part_names(name: str, exits: int) -> list[str]:
    """Names of the files of a network's parts: that of the whole network, model.onnx, then model-2.onnx and so on."""
    path = PurePath(name)
    return [name, *(f"{path.stem}-{number}{path.suffix}" for number in range(2, exits + 2))]
