"""What a session is asked to measure, as plain values that travel to the child as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tsc_lib.core.spec import BenchmarkSettings

__all__ = ["CONTROL", "PEAK", "BenchmarkSettings", "Candidate"]

CONTROL = "control"
"""Name of the reference's second copy in a session."""

PEAK = "peak in fp32"
"""Name of `tsc_lib.benchmark.peak`'s product in fp32 in a session of models."""


@dataclass(frozen=True)
class Candidate:
    """A variant to measure.

    Attributes
    ----------
    name : str
        Unique within the session; names its results.
    loader : str
        ``"module:function"``; the child calls ``function(**options)`` and gets a predictor:
        ``predictor(x, lengths=None) -> logits``.
    options : dict
        JSON-able keyword arguments of the loader.
    """

    name: str
    loader: str
    options: dict[str, Any] = field(default_factory=dict)
