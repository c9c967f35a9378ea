"""The contract of every runtime: what it is given and what it returns."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tsc_lib.errors import UserError
from tsc_lib.files import read_json

NUMBER_FORMATS = ("fp32", "bf16", "int8 dynamic", "int8 static", "int8 weights", "int4 weights")


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


def description_of(folder: Path) -> dict[str, Any]:
    """What ``model.json`` says of the model in `folder`; the weights may be in a runtime's own file.

    Raises
    ------
    UserError
        If it is damaged, or has no sound ``config.patch`` (time steps in a patch) or ``number_format``.
    """
    path = folder / "model.json"
    facts = read_json(path)
    try:
        patch, number_format = facts["config"]["patch"], facts["number_format"]
    except (LookupError, TypeError):
        patch = number_format = None
    if type(patch) is not int or patch < 1 or number_format not in NUMBER_FORMATS:
        raise UserError(f"{path} does not describe a model; copy the folder again, or make the model again")
    return facts


def graph_inputs(x: np.ndarray, lengths: np.ndarray | None, patch: int) -> tuple[np.ndarray, ...]:
    """What a traced graph takes: series of one length as they are, others with their lengths.

    A graph for unequal lengths reads a whole number of patches: the remainder that makes no token is cut off, and
    series shorter than a patch fill one with zeros.
    """
    if lengths is None:
        return (x,)
    missing = patch - x.shape[2]
    whole = np.pad(x, ((0, 0), (0, 0), (0, missing))) if missing > 0 else x[:, :, : x.shape[2] // patch * patch]
    return np.ascontiguousarray(whole), np.maximum(lengths, patch)


def in_parts(execute: Callable[..., np.ndarray], inputs: tuple[np.ndarray, ...], time_steps: int) -> np.ndarray:
    """What `execute` gives for a batch, executed in parts of about `time_steps`, of equal numbers of series."""
    x = inputs[0]
    parts = min(len(x), math.ceil(len(x) * x.shape[2] / time_steps))
    if parts <= 1:
        return execute(*inputs)
    split = zip(*(np.array_split(array, parts) for array in inputs), strict=True)
    return np.concatenate([execute(*part) for part in split])
