"""Number formats: what the weights of linear layers are held in, and what they are multiplied in."""

from __future__ import annotations

from enum import StrEnum

INT8_WEIGHT = 64
"""The largest int8 weight of a product in int8.

A processor without VNNI adds two products of eight bits in 16 bits, where larger weights overflow: the answers would be
wrong there, without a message. With seven bits they are the same everywhere.
"""


class NumberFormat(StrEnum):
    """Format of the linear layers' weights and inputs at execution, or of their weights alone.

    The values are what records, tables and exported models call them.

    Examples
    --------
    >>> NumberFormat("int8 weights").arithmetic
    'fp32'
    >>> NumberFormat.INT8_STATIC.weights
    'int8'
    """

    FP32 = "fp32"
    BF16 = "bf16"
    INT8_DYNAMIC = "int8 dynamic"
    INT8_STATIC = "int8 static"
    INT8_WEIGHTS = "int8 weights"
    INT4_WEIGHTS = "int4 weights"

    @property
    def weights(self) -> str:
        """What one weight is held in: fp32, bf16, int8 or int4."""
        return self.value.split()[0]

    @property
    def weights_only(self) -> bool:
        """Whether only the weights are narrow, and the arithmetic is fp32's."""
        return self in (NumberFormat.INT8_WEIGHTS, NumberFormat.INT4_WEIGHTS)

    @property
    def arithmetic(self) -> str:
        """What products are computed in: fp32, bf16 or int8."""
        return "fp32" if self.weights_only else self.weights

    @property
    def is_integer(self) -> bool:
        """Whether weights are whole numbers with a scale."""
        return self.weights.startswith("int")
