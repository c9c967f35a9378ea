"""The evidence of what a runtime executes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Conversion:
    """What a runtime made of a model.

    Attributes
    ----------
    model_bytes : int
        Size of all weights in the format in which they are executed, with their scales and zero points.
    int8_ops, fp32_ops : int
        Linear layers executed in int8 and in fp32, counted in the program that runs. Where weights alone are narrower
        the arithmetic is fp32's.
    details : dict
        What else is to be known: ``prepare_seconds`` for converting or compiling, ``prepare_peak_mb``, by how much this
        process grew for that (compilers that it starts are not seen), and what the runtime adds, such as
        ``narrow_weight_ops``, in how many linear layers the weights alone are int8 or int4, or ``instructions``, the
        instruction sets of the processor that native code was compiled for.
    """

    model_bytes: int
    int8_ops: int
    fp32_ops: int
    details: dict[str, float | int | str | bool]
