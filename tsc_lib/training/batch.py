"""What a step of the optimiser is made from: series as the network sees them, augmented and mixed."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from tsc_lib.data import Batch


class TrainingBatch(NamedTuple):
    """Some training series as the network sees them.

    Attributes
    ----------
    x : Tensor
        float32 (n, channels, longest): each series from time step 0, zeros after its end.
    lengths : Tensor or None
        Time steps of each series, int64 (n,); None if all have one length.
    index : Tensor
        Position of each series in the training split, int64 (n,).
    partner : Tensor or None
        Position of the series that was mixed into each, int64 (n,); None if nothing is mixed.
    share : Tensor or None
        Share of the first in each mixture, float32 (n,); the partner has the rest.
    taught : Tensor or None
        A teacher's class probabilities, float32 (n, classes); None where none labelled the series beforehand.
    """

    x: Tensor
    lengths: Tensor | None
    index: Tensor  # type: ignore[assignment]  # in place of tuple.index, which nobody needs here
    partner: Tensor | None = None
    share: Tensor | None = None
    taught: Tensor | None = None

    @classmethod
    def of(cls, batch: Batch) -> TrainingBatch:
        """A batch of series as they are."""
        lengths = None if batch.lengths is None else torch.from_numpy(batch.lengths)
        return cls(torch.from_numpy(batch.x), lengths, torch.from_numpy(batch.index))


def cross_entropy(logits: Tensor, batch: TrainingBatch, classes: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of a batch's logits (n, classes) with the classes (all,) of all training series.

    A mixture has the classes of both its series, in their shares.
    """
    if batch.partner is None or batch.share is None:
        return F.cross_entropy(logits, classes[batch.index], label_smoothing=smoothing)
    own = F.cross_entropy(logits, classes[batch.index], label_smoothing=smoothing, reduction="none")
    other = F.cross_entropy(logits, classes[batch.partner], label_smoothing=smoothing, reduction="none")
    return (batch.share * own + (1 - batch.share) * other).mean()
