"""Quantization-aware training: training on under the rounding that static int8 will do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from tsc_lib.compress.context import TrainingContext
from tsc_lib.compress.distillation import Distill, make_teacher_loss
from tsc_lib.compress.finetuning import TrainingStep
from tsc_lib.compress.sensitivity import draw_calibration
from tsc_lib.compress.step import Family
from tsc_lib.compress.surgery import check_plain
from tsc_lib.core.limits import Limits
from tsc_lib.models.fakequant import fake_quantize
from tsc_lib.models.transformer import Transformer
from tsc_lib.training import Loss

CALIBRATION = 128
"""Training series that the ranges start from."""


@dataclass(frozen=True)
class Qat(TrainingStep):
    """Train on for some epochs with weights and inputs of linear layers rounded as static int8 rounds them.

    Attributes
    ----------
    epochs, learning_rate
        See `TrainingStep`; the best epoch is that of the rounded network.
    teacher : float
        Share in the loss of the uncompressed model's logits, as in `Distill`; 0 for none.
    """

    name: ClassVar[str] = "qat"
    summary: ClassVar[str] = "trains further under the rounding of static int8"
    family: ClassVar[Family] = Family.QUANTIZED
    title: ClassVar[str] = "trained for int8"
    titled: ClassVar[int] = 2
    limits: ClassVar[Limits] = {**TrainingStep.limits, "teacher": (0, 1)}
    examples: ClassVar[Mapping[str, str]] = {
        "qat(4)": (
            "train four more epochs as int8(static) will round; learning_rate=0.0005, teacher=0.5 for half of "
            "the loss from the uncompressed model's logits"
        ),
    }

    epochs: int
    learning_rate: float = 5e-4
    teacher: float = 0.0

    def prepare(self, network: Transformer, context: TrainingContext) -> Loss | None:
        """Round the linear layers; the network comes out in fp32, for int8(static) to quantize."""
        check_plain(network, self.name)
        calibration, _ = draw_calibration(context, CALIBRATION)
        fake_quantize(network, calibration)
        return make_teacher_loss(self.name, context, Distill.temperature, self.teacher) if self.teacher else None
