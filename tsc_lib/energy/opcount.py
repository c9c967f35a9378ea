"""Energy modelled from counted operations and moved bytes × published picojoules: deterministic, and of no machine.

It shows what arithmetic and memory of one technology would spend on a model, and so what a number format or removed
structure can save at best. It sees no runtime, no instruction that is not a multiplication, no clock and no idle power.

References
----------
.. [1] Horowitz, "Computing's Energy Problem (and what we can do about it)", ISSCC 2014: 45 nm, 0.9 V.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tsc_lib.energy.reading import Reading
from tsc_lib.models.number_format import NumberFormat

MAC_PJ = {"fp32": 3.7 + 0.9, "bf16": 1.1 + 0.9, "int8": 0.2 + 0.1}
"""Picojoules of a multiplication and an addition [1]_, by the arithmetic of a number format. bf16 is counted as [1]_'s
fp16, added up in fp32; int8 is added up in int32."""

WEIGHT_BYTES = {"fp32": 4, "bf16": 2, "int8": 1, "int4": 0.5}

MEMORY_PJ_PER_BYTE = ((8e3, 10 / 8, 10 / 8), (32e3, 20 / 8, 20 / 8), (1e6, 100 / 8, 100 / 8))
"""Bytes that a cache holds, and picojoules for a byte from it, low and high [1]_ (who gives them for 64 bits)."""

DRAM_PJ_PER_BYTE = (1300 / 8, 2600 / 8)


@dataclass(frozen=True)
class Operation:
    """A layer's work for one call, i.e. one batch.

    Attributes
    ----------
    macs : int
        Multiply-accumulates.
    number_format : NumberFormat
        Of weights and arithmetic.
    weights : int
        Weights, each read once in a call.
    activations : int
        Numbers that the layer hands on, in fp32, each written once and read once.
    """

    macs: int
    number_format: NumberFormat
    weights: int = 0
    activations: int = 0


def model_energy(label: str, operations: Iterable[Operation], inferences: int = 1) -> Reading:
    """The energy of one call with these operations, which serves so many inferences.

    All weights together come from the smallest memory that holds them, and so do the activations of each layer.
    """
    operations = list(operations)
    weight_bytes = sum(each.weights * WEIGHT_BYTES[each.number_format.weights] for each in operations)
    low = high = arithmetic = sum(each.macs * MAC_PJ[each.number_format.arithmetic] for each in operations)
    for size, moved in [(weight_bytes, weight_bytes), *((4 * o.activations, 8 * o.activations) for o in operations)]:
        cheapest, dearest = _memory_pj_per_byte(size)
        low, high = low + moved * cheapest, high + moved * dearest
    joules = (low + high) / 2e12
    return Reading(
        label=label,
        joules=joules,
        joules_low=low / 1e12,
        joules_high=high / 1e12,
        seconds=0.0,
        cpu_seconds=0.0,
        source="modelled",
        backend="opcount",
        inferences=inferences,
        domains={"arithmetic": arithmetic / 1e12, "memory": joules - arithmetic / 1e12},
        parameters={"technology": "45 nm, Horowitz 2014", "mac_pj": MAC_PJ},
    )


def _memory_pj_per_byte(size: float) -> tuple[float, float]:
    """Picojoules, low and high, for a byte of something that is so many bytes large."""
    return next(((low, high) for capacity, low, high in MEMORY_PJ_PER_BYTE if size <= capacity), DRAM_PJ_PER_BYTE)
