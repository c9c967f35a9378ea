"""The contract of every runtime: what it is given and what it returns."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from tsc_lib.files import read_json


class Predictor(Protocol):
    """A loaded model, ready to classify."""

    def __call__(self, x: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """Logits of a batch.

        Parameters
        ----------
        x : ndarray of float32, shape (n, channels, length)
            Scaled series, zero beyond their lengths.
        lengths : ndarray of int64, shape (n,), optional
            Time steps of each series, where they differ.

        Returns
        -------
        ndarray of float32, shape (n, classes)
        """
        ...


class RuntimeUnavailable(RuntimeError):
    """The runtime cannot work on this machine; the message says why and what to do."""


def patch_of(folder: Path) -> int:
    """Time steps in a patch of the model in `folder`, whose weights are in a runtime's own file."""
    return read_json(folder / "model.json")["config"]["patch"]


def whole_patches(x: np.ndarray, patch: int) -> np.ndarray:
    """Series without the remainder that makes no token: the length of a traced graph is a whole number of patches."""
    return np.ascontiguousarray(x[:, :, : x.shape[2] // patch * patch])
