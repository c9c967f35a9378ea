"""Quantization-aware training: training on under the rounding that static int8 will do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from tsc_lib.compress.context import TrainingContext
from tsc_lib.compress.distillation import Distill, distillation_loss
from tsc_lib.compress.fakequant import fake_quantize
from tsc_lib.compress.finetuning import train_on
from tsc_lib.compress.sensitivity import calibration_batch
from tsc_lib.compress.step import Details, Family, Step, brackets
from tsc_lib.core.errors import UserError
from tsc_lib.models.compressed import CompressedModel
from tsc_lib.models.transformer import Transformer
from tsc_lib.training import Loss, classify, evaluator

CALIBRATION = 128
"""Training series that the ranges start from."""


@dataclass(frozen=True)
class Qat(Step):
    """Train on for some epochs with weights and inputs of linear layers rounded as static int8 rounds them.

    Attributes
    ----------
    epochs : int
        Epochs to train for; the best by validation of the rounded network is kept.
    learning_rate : float
        Adam's learning rate.
    teacher : float
        Share in the loss of the uncompressed model's logits, as in `Distill`; 0 for none.
    """

    name: ClassVar[str] = "qat"
    summary: ClassVar[str] = "trains further under the rounding of static int8"
    examples: ClassVar[Mapping[str, str]] = {
        "qat(4)": (
            "train four more epochs as int8(static) will round; learning_rate=0.0005, teacher=0.5 for half of "
            "the loss from the uncompressed model's logits"
        ),
    }
    trains: ClassVar[bool] = True

    epochs: int
    learning_rate: float = 5e-4
    teacher: float = 0.0

    def __post_init__(self) -> None:
        if self.epochs < 1 or not self.learning_rate > 0:
            raise UserError(f"quantization-aware training needs an epoch and a positive learning rate, not {self}")
        if not 0 <= self.teacher <= 1:
            raise UserError(f"the teacher's share lies between 0 and 1, not {self.teacher}")

    @property
    def family(self) -> Family:
        """See `Step`."""
        return Family.QUANTIZED

    @property
    def label(self) -> str:
        """See `Step`."""
        return " ".join(["trained for int8", *brackets(self, 2)])

    def apply(self, model: CompressedModel, context: TrainingContext) -> tuple[CompressedModel, Details]:
        """Train a copy whose linear layers are rounded; it comes out in fp32, for int8(static) to quantize."""
        calibration, _ = calibration_batch(context, CALIBRATION)

        def prepare(network: Transformer) -> None:
            fake_quantize(network, calibration)

        loss = _teachers(self, context) if self.teacher else None
        return train_on(model, context, "qat", self.epochs, self.learning_rate, loss, prepare)


def _teachers(step: Qat, context: TrainingContext) -> Loss:
    if context.teacher is None:
        raise UserError("qat with a teacher learns from the uncompressed model, and the context has none")
    logits = classify(evaluator(context.teacher.network), context.train, context.equal_length)
    learn = Distill(step.epochs, weight=step.teacher)
    return distillation_loss(torch.from_numpy(logits), torch.from_numpy(context.train.y), learn)
