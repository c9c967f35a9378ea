"""Narrower numbers: which format the linear layers are executed in, and what static ranges are observed on.

The steps here decide; the conversion itself is the runtime's (`tsc_lib.deploy`), since only there is it known which
operators really run.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import Any

from tsc_lib.compress.model import CompressedModel, Material
from tsc_lib.compress.recipe import register
from tsc_lib.data import batches
from tsc_lib.errors import UserError


def number_format(steps: tuple[Any, ...]) -> str:
    """The number format that a parsed recipe ends in; see `CompressedModel`."""
    last = next((step for step in reversed(steps) if isinstance(step, Bf16 | Int8)), None)
    if last is None:
        return "fp32"
    return "bf16" if isinstance(last, Bf16) else f"int8 {last.mode}"


@dataclass(frozen=True)
class Int8:
    """Post-training int8 of every linear layer.

    Attributes
    ----------
    mode : {"dynamic", "static"}
        Ranges of the activations measured on every input as it comes, or observed beforehand.
    calibration : int
        Number of training series that static ranges are observed on.
    """

    mode: str
    calibration: int = 128

    def __post_init__(self) -> None:
        if self.mode not in ("dynamic", "static"):
            raise UserError(f"unknown int8 mode {self.mode!r}; use dynamic or static")
        if self.calibration < 1:
            raise UserError(f"int8 needs at least 1 calibration series, not {self.calibration}")


@dataclass(frozen=True)
class Bf16:
    """Execution in bfloat16: the range of fp32 with eight bits of precision, which takes no calibration."""


@register("bf16", Bf16)
def bf16(model: CompressedModel, step: Bf16, material: Material) -> tuple[CompressedModel, dict[str, Any]]:
    """Choose the number format; the runtime converts the weights."""
    return _with_format(model, "bf16"), {}


@register("int8", Int8)
def int8(model: CompressedModel, step: Int8, material: Material) -> tuple[CompressedModel, dict[str, Any]]:
    """Choose the number format and, for static int8, the calibration series: drawn at random from train alone."""
    changed = _with_format(model, f"int8 {step.mode}")
    if step.mode == "dynamic":
        return changed, {}
    subset, chosen = material.sample(step.calibration)
    changed.calibration = next(iter(batches(subset, len(subset), equal_length=material.equal_length)))
    return changed, {"calibration_series": chosen.tolist()}


def _with_format(model: CompressedModel, number_format: str) -> CompressedModel:
    if model.number_format != "fp32":
        raise UserError(f"the model is {model.number_format} already; a recipe quantizes once, and last")
    return dataclasses.replace(
        model, network=copy.deepcopy(model.network), number_format=number_format, calibration=None
    )
