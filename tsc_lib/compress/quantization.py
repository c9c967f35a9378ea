"""Narrower numbers: which format the linear layers are executed in, and what static ranges are observed on.

The steps here decide; the conversion itself is the runtime's (`tsc_lib.runtimes.convert`), since only there is it
known which operators really run.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import Any

from tsc_lib.compress.context import TrainingContext
from tsc_lib.compress.recipe import register
from tsc_lib.compress.sensitivity import calibration_batch, most_sensitive, sensitivity
from tsc_lib.core.errors import UserError
from tsc_lib.models.compressed import OBSERVERS, CompressedModel, Quantization

MODES = ("dynamic", "static", "weights")


def number_format(steps: tuple[Any, ...]) -> str:
    """The number format that a parsed recipe ends in; see `CompressedModel`."""
    last = _last(steps)
    if last is None:
        return "fp32"
    return "bf16" if isinstance(last, Bf16) else "int4 weights" if isinstance(last, Int4) else f"int8 {last.mode}"


def observer(steps: tuple[Any, ...]) -> str:
    """The observer of static ranges that a parsed recipe asks for; see `Quantization`."""
    last = _last(steps)
    return last.observer if isinstance(last, Int8) else Int8.observer


def _last(steps: tuple[Any, ...]) -> Any:
    return next((step for step in reversed(steps) if isinstance(step, Bf16 | Int4 | Int8)), None)


@dataclass(frozen=True)
class Int8:
    """Post-training int8 of every linear layer.

    Attributes
    ----------
    mode : {"dynamic", "static", "weights"}
        Ranges of the activations measured on every input as it comes, or observed beforehand; or weights alone.
    calibration : int
        Number of training series that static ranges are observed on.
    observer : {"own", "minmax", "percentile", "mse"}
        How a static range is made of what was observed; see `Quantization`.
    percentile : float
        Per cent of the observed values that lie within a range, of the observer of that name.
    fp32_layers : int
        How many linear layers, those that static int8 harms most, are left in fp32.
    """

    mode: str
    calibration: int = 128
    observer: str = "own"
    percentile: float = 99.99
    fp32_layers: int = 0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UserError(f"unknown int8 mode {self.mode!r}; use dynamic, static or weights")
        if self.calibration < 1:
            raise UserError(f"int8 needs at least 1 calibration series, not {self.calibration}")
        if self.observer not in OBSERVERS:
            raise UserError(f"unknown observer {self.observer!r}; use own, minmax, percentile or mse")
        if not 50 < self.percentile <= 100:
            raise UserError(f"a percentile lies above 50 and is no more than 100, not {self.percentile}")
        if self.percentile != Int8.percentile and self.observer != "percentile":
            raise UserError(f"a percentile belongs to the observer percentile, not to {self.observer}")
        if self.fp32_layers < 0:
            raise UserError(f"int8 leaves at least 0 layers in fp32, not {self.fp32_layers}")
        if self.mode != "static" and (self.observer != Int8.observer or self.fp32_layers):
            raise UserError(f"int8({self.mode}) observes no ranges: observer and fp32_layers belong to int8(static)")


@dataclass(frozen=True)
class Int4:
    """Post-training int4 of the linear layers' weights alone; the arithmetic stays in fp32.

    Attributes
    ----------
    group : int
        Weights of one output that share a scale: 16, 32, 64 or 128.
    """

    group: int = 32

    def __post_init__(self) -> None:
        if self.group not in (16, 32, 64, 128):
            raise UserError(f"int4 takes a group of 16, 32, 64 or 128 weights, not {self.group}")


@dataclass(frozen=True)
class Bf16:
    """Execution in bfloat16: the range of fp32 with eight bits of precision, which takes no calibration."""


@register("bf16", Bf16)
def bf16(model: CompressedModel, step: Bf16, context: TrainingContext) -> tuple[CompressedModel, dict[str, Any]]:
    """Choose the number format; the runtime converts the weights."""
    return _with_format(model, "bf16"), {}


@register("int4", Int4)
def int4(model: CompressedModel, step: Int4, context: TrainingContext) -> tuple[CompressedModel, dict[str, Any]]:
    """Choose the number format; the runtime converts the weights."""
    changed = _with_format(model, "int4 weights")
    changed.quantization = Quantization(group=step.group)
    return changed, {}


@register("int8", Int8)
def int8(model: CompressedModel, step: Int8, context: TrainingContext) -> tuple[CompressedModel, dict[str, Any]]:
    """Choose the number format and, for static int8, the calibration series: drawn at random from train alone."""
    changed = _with_format(model, f"int8 {step.mode}")
    if step.mode != "static":
        return changed, {}
    changed.calibration, chosen = calibration_batch(context, step.calibration)
    changed.quantization = Quantization(step.observer, step.percentile)
    details: dict[str, Any] = {"calibration_series": chosen.tolist()}
    if step.fp32_layers:
        details["sensitivity"] = rows = sensitivity(model, context, step.calibration)
        if step.fp32_layers >= len(rows):
            raise UserError(f"{step.fp32_layers} layers in fp32 leave none in int8; the model has {len(rows)}")
        details["fp32_layers"] = most_sensitive(rows, step.fp32_layers)
        changed.quantization = dataclasses.replace(changed.quantization, fp32_layers=details["fp32_layers"])
    return changed, details


def _with_format(model: CompressedModel, number_format: str) -> CompressedModel:
    if model.number_format != "fp32":
        raise UserError(f"the model is {model.number_format} already; a recipe quantizes once, and last")
    return dataclasses.replace(
        model, network=copy.deepcopy(model.network), number_format=number_format, calibration=None
    )
