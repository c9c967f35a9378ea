"""The contract of every runtime: what it is given, what it returns, and the evidence of what it executes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from tsc_lib.store import read_json


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


@dataclass(frozen=True)
class Deployed:
    """What a runtime made of a model.

    Attributes
    ----------
    model_bytes : int
        Size of all weights in the format in which they are executed, with their scales and zero points.
    int8_ops, fp32_ops : int
        Linear layers executed in int8 and in fp32, counted in the program that runs.
    details : dict
        What else the runtime wants to be known, e.g. compilation time in seconds.
    """

    model_bytes: int
    int8_ops: int
    fp32_ops: int
    details: dict[str, float | int | str | bool]


class RuntimeUnavailable(RuntimeError):
    """The runtime cannot work on this machine; the message says why and what to do."""


def patch_of(folder: Path) -> int:
    """Time steps in a patch of the model in `folder`, whose weights are in a runtime's own file."""
    return read_json(folder / "model.json")["config"]["patch"]
