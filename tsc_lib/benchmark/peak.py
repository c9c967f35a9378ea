"""What one core can compute at most: products of two 1024 x 1024 matrices, by number format.

A `Candidate` of a benchmark session like any model, so the same protocol pins, warms up, repeats and pairs it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tsc_lib.benchmark.measurement import Measurement
from tsc_lib.runtimes.processor import require_bf16

SIZE = 1024

OPERATIONS = 2 * SIZE**3
"""Multiplications and additions in one call."""

FORMATS = ("fp32", "bf16", "int8")


@dataclass(frozen=True)
class Peak:
    """What one core computes at most in a number format.

    Attributes
    ----------
    number_format : str
        One of `FORMATS`.
    gflops : float or None
        Billions of operations a second of CPU time, median over windows; None where the processor has no instructions
        for the format.
    status : str
        "ok", or "failed: " and why.
    """

    number_format: str
    gflops: float | None
    status: str

    @classmethod
    def of(cls, measured: Measurement) -> Peak:
        """What the measurement of one of `FORMATS` says."""
        milliseconds = measured.cpu_ms_per_sample
        gflops = None if milliseconds is None else OPERATIONS / milliseconds / 1e6
        return cls(measured.name, gflops, measured.status)


def load(number_format: str, threads: int, classes: int = 2) -> Callable[..., np.ndarray]:
    """A predictor that multiplies matrices once a call, whatever it is given.

    Its logits, all zeros, are of as many classes as the models have beside which it is measured.

    Raises
    ------
    RuntimeUnavailable
        If the processor has no instructions for the format.
    """
    torch.set_num_threads(threads)
    product = {"fp32": _fp32, "bf16": _bf16, "int8": _int8}[number_format]()

    def predict(x: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        with torch.inference_mode():
            product()
        return np.zeros((len(x), classes), dtype=np.float32)

    return predict


def _fp32() -> Callable[[], torch.Tensor]:
    a, b = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
    return lambda: a @ b


def _bf16() -> Callable[[], torch.Tensor]:
    require_bf16()
    a, b = torch.randn(SIZE, SIZE).bfloat16(), torch.randn(SIZE, SIZE).bfloat16()
    return lambda: a @ b


def _int8() -> Callable[[], torch.Tensor]:
    """The product behind every quantized linear layer of PyTorch: uint8 by int8, with scales."""
    a = torch.randint(0, 127, (SIZE, SIZE), dtype=torch.uint8)
    packed = torch.ops.onednn.qlinear_prepack(torch.randint(-64, 64, (SIZE, SIZE), dtype=torch.int8), [SIZE, SIZE])
    scales, zeros = torch.ones(SIZE), torch.zeros(SIZE, dtype=torch.int32)
    arguments: tuple[Any, ...] = (packed, scales, zeros, None, 1.0, 0, torch.float32, "none", [], "")
    return lambda: torch.ops.onednn.qlinear_pointwise(a, 1.0, 0, *arguments)
