"""Knowledge distillation: learning from the uncompressed model's logits, by what is left of it or by a new student.

References
----------
.. [1] Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from tsc_lib.compress.context import TrainingContext
from tsc_lib.compress.features import FeatureLoss, features_of
from tsc_lib.compress.finetuning import train_on
from tsc_lib.compress.step import Details, Family, Step, brackets
from tsc_lib.compress.surgery import check_series
from tsc_lib.core.errors import UserError
from tsc_lib.models.compressed import CompressedModel
from tsc_lib.models.transformer import Transformer
from tsc_lib.models.zoo import config_from
from tsc_lib.training import Loss, classify, evaluator


@dataclass(frozen=True)
class Distill(Step):
    """Train on for some epochs, with the uncompressed model as teacher; the best epoch by validation is kept.

    Attributes
    ----------
    epochs : int
        Epochs to train for.
    temperature : float
        What the logits of both models are divided by before they are compared.
    weight : float
        Share of the teacher in the loss; the rest is the cross-entropy with the classes.
    learning_rate : float
        Adam's learning rate; a student from scratch needs more, such as 0.001.
    features : float
        Weight of the distance between the two models' class tokens, which is added to the loss; see
        `tsc_lib.compress.features`.
    """

    name: ClassVar[str] = "distill"
    summary: ClassVar[str] = "trains further with the uncompressed model as teacher"
    examples: ClassVar[Mapping[str, str]] = {
        "distill(4)": (
            "train four more epochs with the uncompressed model as teacher; temperature=2, weight=0.5 of its "
            "logits, features=1 for a loss on the class token too"
        ),
    }
    trains: ClassVar[bool] = True

    epochs: int
    temperature: float = 2.0
    weight: float = 0.5
    learning_rate: float = 5e-4
    features: float = 0.0

    def __post_init__(self) -> None:
        if self.epochs < 1 or not self.learning_rate > 0:
            raise UserError(f"distillation needs at least one epoch and a positive learning rate, not {self}")
        if not self.temperature > 0 or not 0 < self.weight <= 1:
            raise UserError(
                "distillation needs a positive temperature and a weight of the teacher above 0 and no more than 1, "
                f"not {self}"
            )
        if not 0 <= self.features < math.inf:
            raise UserError(f"the weight of features in distillation is at least 0, not {self.features:g}")

    @property
    def label(self) -> str:
        """See `Step`."""
        return "distilled"

    def apply(self, model: CompressedModel, context: TrainingContext) -> tuple[CompressedModel, Details]:
        """Train a copy in fp32 on what the teacher gives to the training series, computed once."""
        if context.teacher is None:
            raise UserError("distill learns from the uncompressed model, and the context has none; give it a teacher")
        logits = classify(evaluator(context.teacher.network), context.train, context.equal_length)
        loss = distillation_loss(torch.from_numpy(logits), torch.from_numpy(context.train.y), self)
        if not self.features:
            return train_on(model, context, "distill", self.epochs, self.learning_rate, loss)
        loss = FeatureLoss(features_of(context.teacher, context), loss, self.features, context.seed)
        return train_on(model, context, "distill", self.epochs, self.learning_rate, loss, loss.attach)


@dataclass(frozen=True)
class Student(Step):
    """A new and smaller network of the same kind in place of the model; a step that trains must follow.

    Attributes
    ----------
    layers, heads, d_ff, d_model, patch : int
        Encoder layers; heads and feed-forward neurons of each; embedding width; time steps per token. The classifier
        has as many hidden neurons as a layer, like the study's models.
    """

    name: ClassVar[str] = "student"
    summary: ClassVar[str] = "starts anew with a smaller network"
    examples: ClassVar[Mapping[str, str]] = {
        "student(layers=2)": "start anew with a small network; heads=4, d_ff=64, d_model=32, patch=8",
    }

    layers: int = 2
    heads: int = 4
    d_ff: int = 64
    d_model: int = 32
    patch: int = 8

    def __post_init__(self) -> None:
        if min(dataclasses.astuple(self)) < 1:
            raise UserError(f"every size of a student must be at least 1, not {self}")
        if self.d_model % self.heads:
            raise UserError(f"a student's {self.heads} heads must share its {self.d_model} channels evenly")

    @property
    def family(self) -> Family:
        """See `Step`."""
        return Family.STUDENT

    @property
    def label(self) -> str:
        """See `Step`."""
        return " ".join(["student", *brackets(self)])

    def apply(self, model: CompressedModel, context: TrainingContext) -> tuple[CompressedModel, Details]:
        """A fresh network, initialised by the seed."""
        if model.number_format != "fp32":
            raise UserError(f"a student starts in fp32, but the model is {model.number_format}; put it before int8")
        old = model.network.config
        config = config_from(dataclasses.asdict(self), old.channels, old.classes)
        config = dataclasses.replace(config, dropout=old.dropout)
        check_series(config, context)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(context.seed)
            network = Transformer(config).eval()
        return dataclasses.replace(model, network=network, trained=False), {}


def distillation_loss(teacher: Tensor, target: Tensor, step: Distill) -> Loss:
    """The loss of [1]_ for training series with these logits of the teacher (n, classes) and these classes (n,).

    The teacher's part is multiplied by the temperature's square, so that its gradients keep their size.
    """
    soft = F.log_softmax(teacher / step.temperature, dim=1)

    def loss(logits: Tensor, index: Tensor) -> Tensor:
        scaled = F.log_softmax(logits / step.temperature, dim=1)
        apart = F.kl_div(scaled, soft[index], reduction="batchmean", log_target=True) * step.temperature**2
        return step.weight * apart + (1 - step.weight) * F.cross_entropy(logits, target[index])

    return loss
