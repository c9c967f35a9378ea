"""The contract of every runtime: what it is given and what it returns."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from tsc_lib.core.errors import RuntimeUnavailable, UserError, shorten
from tsc_lib.core.files import read_json
from tsc_lib.models.number_format import NumberFormat


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


def not_importable(runtime: str, error: ImportError, install: str = "") -> RuntimeUnavailable:
    """What to raise where a package of a runtime is not there, or is but cannot be imported.

    What is to be installed is the package itself, if nothing else is said.
    """
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        install = install or package
        return RuntimeUnavailable(f"{runtime} needs {package}, which is not installed: pip install {install}")
    return RuntimeUnavailable(f"{runtime} cannot be imported ({shorten(error)}); install its packages again")


@dataclass(frozen=True)
class ModelDescription:
    """What ``model.json`` says of a model; the weights may be in a runtime's own file.

    Attributes
    ----------
    stride : int
        Time steps from one token to the next.
    number_format : NumberFormat
        What the model is executed in.
    thresholds : tuple of float
        Confidence above which a series leaves at each early exit; none without exits.
    """

    stride: int
    number_format: NumberFormat
    thresholds: tuple[float, ...]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The description of the model in `folder`.

        Raises
        ------
        UserError
            If it is damaged, of another version, or names no sound stride or number format.
        """
        path = folder / "model.json"
        facts = read_json(path)
        try:
            stride, number_format = facts["stride"], NumberFormat(facts["number_format"])
            thresholds = tuple(float(each["threshold"]) for each in facts["config"]["exits"])
        except (LookupError, TypeError, ValueError):
            stride = 0
        if type(stride) is not int or stride < 1:
            raise UserError(
                f"{path} does not describe a model as this version does; copy the folder again, or make the model again"
            )
        return cls(stride, number_format, thresholds)


def graph_inputs(x: np.ndarray, lengths: np.ndarray | None, stride: int) -> tuple[np.ndarray, ...]:
    """What a traced graph takes: series of one length as they are, others with their lengths.

    A graph for unequal lengths reads a whole number of patches: the remainder that makes no token is cut off, and
    series shorter than a patch fill one with zeros.
    """
    if lengths is None:
        return (x,)
    missing = stride - x.shape[2]
    whole = np.pad(x, ((0, 0), (0, 0), (0, missing))) if missing > 0 else x[:, :, : x.shape[2] // stride * stride]
    return np.ascontiguousarray(whole), np.maximum(lengths, stride)


def run_in_parts(
    execute: Callable[..., np.ndarray], inputs: tuple[np.ndarray, ...], time_steps: int, stride: int
) -> np.ndarray:
    """What `execute` gives for `graph_inputs`, executed in parts of about `time_steps`.

    Series of one length come in parts of equal size. Others share a part with those of similar length, and none is
    longer than its part needs: most of a batch whose lengths differ much is padding.
    """
    x, *rest = inputs
    parts = min(len(x), math.ceil(len(x) * x.shape[2] / time_steps))
    if parts <= 1:
        return execute(*inputs)
    if not rest:
        return np.concatenate([execute(part) for part in np.array_split(x, parts)])
    [lengths] = rest
    groups = group_by_length(lengths, lambda longest: time_steps // longest)
    ends = [int(lengths[group[0]]) // stride * stride for group in groups]
    found = [
        execute(np.ascontiguousarray(x[group, :, :end]), lengths[group])
        for group, end in zip(groups, ends, strict=True)
    ]
    logits = np.concatenate(found)
    logits[np.concatenate(groups)] = logits.copy()
    return logits


def group_by_length(lengths: np.ndarray, count: Callable[[int], int]) -> list[np.ndarray]:
    """Positions of series in groups of similar length, the longest first.

    `count` tells from the length of a group's longest series how many there may be; there is one at least.
    """
    order = np.argsort(-lengths, kind="stable")
    groups = []
    while len(order):
        size = max(1, count(int(lengths[order[0]])))
        groups.append(order[:size])
        order = order[size:]
    return groups
