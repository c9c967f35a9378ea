"""What a runtime made of a model: the evidence of what it executes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

COUNTS = ("model_bytes", "int8_ops", "fp32_ops")


@dataclass(frozen=True)
class ProductChoice:
    """Which of two programs inductor executes, for calls with so many series.

    Attributes
    ----------
    series : int
        Series in the call that was timed.
    cpu_ms : dict of str to float
        CPU time of a call where PyTorch's library computes matrix products ("library") and where the compiler's own
        loops do ("compiler").
    """

    series: int
    cpu_ms: Mapping[str, float]

    @property
    def faster(self) -> str:
        """What is executed."""
        return min(self.cpu_ms, key=self.cpu_ms.__getitem__)


@dataclass(frozen=True)
class Conversion:
    """What a runtime made of a model.

    Attributes
    ----------
    model_bytes : int
        Size of all weights in the format in which they are executed, with their scales and zero points.
    int8_ops, fp32_ops : int
        Linear layers executed in int8 and in fp32, counted in the graph that runs. Where weights alone are narrower the
        arithmetic is fp32's.
    bf16_ops : int, optional
        Linear layers executed in bf16; of bf16 alone.
    narrow_weight_ops : int, optional
        Linear layers whose weights alone are int8 or int4; of these formats alone.
    reduce_range : bool, optional
        Whether inductor's static int8 has inputs of seven bits, because the processor has no VNNI.
    engine : str, optional
        PyTorch's library for int8 in eager.
    instructions : str, optional
        Instruction sets of the processor that native code was compiled for.
    products : tuple of ProductChoice, optional
        Who computes the matrix products of inductor's programs for one series and for more.
    longest : int, optional
        Time steps of the longest series that a program was made for; None where any length will do.
    flash_bytes, ram_bytes, stack_bytes : int, optional
        Of a program without a runtime: its code with weights and constants, the memory that it is given, and the
        deepest chain of its functions.
    prepare_seconds : float, optional
        Time that converting or compiling took.
    prepare_peak_mb : float, optional
        By how much this process grew for that; compilers that it starts are not seen.
    """

    model_bytes: int
    int8_ops: int
    fp32_ops: int
    bf16_ops: int | None = None
    narrow_weight_ops: int | None = None
    reduce_range: bool | None = None
    engine: str | None = None
    instructions: str | None = None
    products: tuple[ProductChoice, ...] | None = None
    longest: int | None = None
    flash_bytes: int | None = None
    ram_bytes: int | None = None
    stack_bytes: int | None = None
    prepare_seconds: float | None = None
    prepare_peak_mb: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Sizes and counts as plain values; what else is known is among ``details``."""
        known = {name: value for name, value in asdict(self).items() if value is not None}
        return {name: known.pop(name) for name in COUNTS} | {"details": known}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """What `to_json` gave."""
        details = dict(stored["details"])
        if "products" in details:
            details["products"] = tuple(ProductChoice(**choice) for choice in details["products"])
        return cls(**{name: stored[name] for name in COUNTS}, **details)
