"""Narrower numbers: which format the linear layers are executed in, and what static ranges are observed on.

The steps here decide; the conversion itself is the runtime's (`tsc_lib.runtimes.convert`), since only there is it
known which operators really run.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from tsc_lib.compress.context import TrainingContext
from tsc_lib.compress.sensitivity import draw_calibration, measure_sensitivity, select_most_sensitive
from tsc_lib.compress.step import Family, Step
from tsc_lib.compress.surgery import check_plain
from tsc_lib.core.calls import write_arguments
from tsc_lib.core.errors import UserError
from tsc_lib.core.limits import Limits
from tsc_lib.models.compressed import OBSERVERS, CompressedModel, Details, Quantization
from tsc_lib.models.number_format import NumberFormat

MODES = ("dynamic", "static", "weights")


@dataclass(frozen=True)
class Int8(Step):
    """Post-training int8 of every linear layer.

    Attributes
    ----------
    mode : {"dynamic", "static", "weights"}
        Ranges of the activations measured on every input as it comes, or observed beforehand; or weights alone.
    calibration : int
        Number of training series that static ranges are observed on.
    observer : {"native", "minmax", "percentile", "mse"}
        How a static range is made of what was observed; see `Quantization`.
    percentile : float
        Per cent of the observed values that lie within a range, of the observer of that name.
    fp32_layers : int
        How many linear layers, those that static int8 harms most, are left in fp32.
    """

    name: ClassVar[str] = "int8"
    summary: ClassVar[str] = "lets linear layers run in int8, or holds their weights in it"
    title: ClassVar[str] = "{mode} int8"
    titled: ClassVar[int] = 2
    limits: ClassVar[Limits] = {"fp32_layers": (0, 1000)}
    examples: ClassVar[Mapping[str, str]] = {
        "int8(dynamic)": "int8 linear layers, ranges taken from every input (eager, onnxruntime)",
        "int8(static)": (
            "int8 linear layers, ranges observed on training series (inductor, onnxruntime, openvino, c); "
            "calibration=128 series, observer=native, minmax, percentile or mse, percentile=99.99, "
            "fp32_layers=8 to leave the eight most sensitive layers in fp32"
        ),
        "int8(weights)": "int8 weights, arithmetic in fp32 (onnxruntime, openvino)",
    }

    mode: str
    calibration: int = 128
    observer: str = "native"
    percentile: float = 99.99
    fp32_layers: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mode not in MODES:
            raise UserError(f"unknown int8 mode {self.mode!r}; use dynamic, static or weights")
        if self.observer not in OBSERVERS:
            raise UserError(f"unknown observer {self.observer!r}; use native, minmax, percentile or mse")
        if not 50 < self.percentile <= 100:
            raise UserError(f"a percentile lies above 50 and is no more than 100, not {self.percentile}")
        if self.percentile != Int8.percentile and self.observer != "percentile":
            raise UserError(f"a percentile belongs to the observer percentile, not to {self.observer}")
        if self.mode != "static" and (self.observer != Int8.observer or self.fp32_layers):
            raise UserError(f"int8({self.mode}) observes no ranges: observer and fp32_layers belong to int8(static)")

    @property
    def label(self) -> str:
        """See `Step`."""
        return "int8 weights" if self.mode == "weights" else super().label

    @property
    def family(self) -> Family:
        """See `Step`."""
        if self.mode == "weights" or write_arguments(self)[2:]:
            return Family.QUANTIZED
        return Family.DYNAMIC if self.mode == "dynamic" else Family.STATIC

    @property
    def number_format(self) -> NumberFormat:
        """The format that the model is executed in."""
        return NumberFormat(f"int8 {self.mode}")

    def apply(self, model: CompressedModel, context: TrainingContext) -> tuple[CompressedModel, Details]:
        """Choose the number format and, for static int8, the calibration series: drawn at random from train alone."""
        changed = _set_format(model, self.number_format)
        if self.mode != "static":
            return changed, {}
        changed.calibration, chosen = draw_calibration(context, self.calibration)
        changed.quantization = Quantization(self.observer, self.percentile)
        details = {"calibration_series": chosen.tolist()}
        if not self.fp32_layers:
            return changed, details
        rows = measure_sensitivity(model, context, self.calibration)
        if self.fp32_layers >= len(rows):
            raise UserError(f"{self.fp32_layers} layers in fp32 leave none in int8; the model has {len(rows)}")
        sensitive = select_most_sensitive(rows, self.fp32_layers)
        changed.quantization = Quantization(self.observer, self.percentile, fp32_layers=sensitive)
        return changed, {**details, "sensitivity": rows, "fp32_layers": sensitive}


@dataclass(frozen=True)
class Int4(Step):
    """Post-training int4 of the linear layers' weights alone; the arithmetic stays in fp32.

    Attributes
    ----------
    group : int
        Weights of one output that share a scale: 16, 32, 64 or 128.
    """

    name: ClassVar[str] = "int4"
    summary: ClassVar[str] = "holds the weights of linear layers in int4"
    family: ClassVar[Family] = Family.QUANTIZED
    title: ClassVar[str] = "int4 weights"
    examples: ClassVar[Mapping[str, str]] = {
        "int4": "int4 weights, arithmetic in fp32, group=32 weights to a scale (onnxruntime, openvino)",
    }
    number_format: ClassVar[NumberFormat] = NumberFormat.INT4_WEIGHTS

    group: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.group not in (16, 32, 64, 128):
            raise UserError(f"int4 takes a group of 16, 32, 64 or 128 weights, not {self.group}")

    def apply(self, model: CompressedModel, context: TrainingContext) -> tuple[CompressedModel, Details]:
        """Choose the number format; the runtime converts the weights."""
        changed = _set_format(model, self.number_format)
        changed.quantization = Quantization(group=self.group)
        return changed, {}


@dataclass(frozen=True)
class Bf16(Step):
    """Execution in bfloat16: the range of fp32 with eight bits of precision, which takes no calibration."""

    name: ClassVar[str] = "bf16"
    summary: ClassVar[str] = "lets the network run in bfloat16"
    examples: ClassVar[Mapping[str, str]] = {
        "bf16": "bfloat16, where the processor has it (eager, inductor, openvino)",
    }
    number_format: ClassVar[NumberFormat] = NumberFormat.BF16

    def apply(self, model: CompressedModel, context: TrainingContext) -> tuple[CompressedModel, Details]:
        """Choose the number format; the runtime converts the weights."""
        return _set_format(model, self.number_format), {}


def _set_format(model: CompressedModel, number_format: NumberFormat) -> CompressedModel:
    if model.number_format is not NumberFormat.FP32:
        raise UserError(f"the model is {model.number_format} already; a recipe quantizes once, and last")
    check_plain(model.network, number_format)
    return dataclasses.replace(
        model, network=copy.deepcopy(model.network), number_format=number_format, calibration=None
    )
