"""What is done to series before a model sees them: scaling, fitted on the training series, and padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from tsc_lib.core.errors import UserError

KINDS = ("channel", "series", "none")

FARTHEST = 1e15
"""Largest size of a scaled value: its square, and sums of such, are still numbers in float32."""


@dataclass(frozen=True, eq=False)
class Scaler:
    """What is done to a series before a model sees it.

    Attributes
    ----------
    kind : {"channel", "series", "none"}
        Standardised per channel by constants, each series by its own mean and deviation, or left alone.
    mean, deviation : ndarray of float64, shape (channels, 1), optional
        The constants of kind "channel".
    """

    kind: str
    mean: np.ndarray | None = None
    deviation: np.ndarray | None = None

    @classmethod
    def fit(cls, kind: str, train: list[np.ndarray]) -> Self:
        """The scaler of a kind for training series (channels, length).

        Raises
        ------
        UserError
            If the kind is unknown.
        """
        if kind not in KINDS:
            raise UserError(f"unknown scaling '{kind}'; choose channel, series or none")
        if kind != "channel":
            return cls(kind)
        return cls(kind, *_mean_and_deviation(np.concatenate(train, axis=1)))

    def __call__(self, series: np.ndarray, where: str = "a series") -> np.ndarray:
        """The scaled series, float32 (channels, length); `where` names its place in messages.

        Raises
        ------
        UserError
            If a value is larger than `FARTHEST` after scaling.
        """
        if self.kind != "none":
            given = None if self.mean is None or self.deviation is None else (self.mean, self.deviation)
            mean, deviation = given or _mean_and_deviation(series)
            series = (series - mean) / deviation
        if series.size and np.abs(series).max() > FARTHEST:
            raise UserError(
                f"{where} has a value of size {np.abs(series).max():.0e} after scaling, too large to compute with; "
                "mend it or leave the series out"
            )
        return series.astype(np.float32)

    def to_json(self) -> dict[str, str | list[float]]:
        """Plain values, from which `from_json` makes an equal scaler."""
        if self.mean is None or self.deviation is None:
            return {"kind": self.kind}
        return {"kind": self.kind, "mean": self.mean[:, 0].tolist(), "deviation": self.deviation[:, 0].tolist()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The scaler that `to_json` described.

        Raises
        ------
        LookupError, TypeError, ValueError
            If it did not.
        """
        kind = content["kind"]
        constants = {name: np.array(values, np.float64)[:, None] for name, values in content.items() if name != "kind"}
        expected = {"mean", "deviation"} if kind == "channel" else set()
        finite = all(np.isfinite(values).all() for values in constants.values())
        if kind not in KINDS or constants.keys() != expected or not finite:
            raise ValueError(f"no scaling: {content}")
        return cls(kind, **constants)


def _mean_and_deviation(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each channel of ``steps`` (channels, length), each (channels, 1)."""
    mean = steps.mean(axis=1, keepdims=True)
    deviation = steps.std(axis=1, keepdims=True)
    # The deviation of a constant channel is rounding noise, not always 0: it must not be blown up to a signal.
    constant = deviation <= 1e-12 * np.abs(steps).max(axis=1, keepdims=True)
    return mean, np.where(constant, 1.0, deviation)


def pad(series: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Float32 series (channels, length_i) as x (n, channels, longest), zero past their ends; and int64 lengths (n,)."""
    lengths = np.array([one.shape[1] for one in series], dtype=np.int64)
    if lengths.min() == lengths.max():
        return np.stack(series), lengths
    x = np.zeros((len(series), series[0].shape[0], lengths.max()), dtype=np.float32)
    for row, one in zip(x, series, strict=True):
        row[:, : one.shape[1]] = one
    return x, lengths
