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

from tsc_lib.compress.context import TrainingContext
from tsc_lib.compress.features import FeatureLoss, read_features
from tsc_lib.compress.finetuning import TrainingStep
from tsc_lib.compress.step import Family, Step
from tsc_lib.compress.surgery import check_series
from tsc_lib.core.errors import UserError
from tsc_lib.core.limits import Limits
from tsc_lib.models.compressed import CompressedModel, Details
from tsc_lib.models.convolution_embedding import ConvolutionEmbeddingConfig
from tsc_lib.models.number_format import NumberFormat
from tsc_lib.models.transformer import LayerConfig, Transformer, TransformerConfig
from tsc_lib.models.zoo import LIMITS
from tsc_lib.training import SELF, Loss, Pool, make_loss, make_predictor, parse_teacher, read_labels


@dataclass(frozen=True)
class Distill(TrainingStep):
    """Train on for some epochs with a teacher; the best epoch by validation is kept.

    Attributes
    ----------
    epochs, learning_rate
        See `TrainingStep`; a student from scratch needs a higher rate than by default, such as 0.001.
    temperature : float
        What the logits of both models are divided by before they are compared.
    weight : float
        Share of the teacher in the loss; the rest is the cross-entropy with the classes.
    features : float
        Weight of the distance between the two models' class tokens, which is added to the loss; see
        `tsc_lib.compress.features`.
    teacher : str
        ``self`` is the uncompressed model; others are classics, and committees such as ``QUANT+MiniROCKET``, which
        label versions of the training series beforehand; see `tsc_lib.training.teachers`.
    """

    name: ClassVar[str] = "distill"
    summary: ClassVar[str] = "trains further with the uncompressed model, or another, as teacher"
    title: ClassVar[str] = "distilled"
    titled: ClassVar[int] = 5
    examples: ClassVar[Mapping[str, str]] = {
        "distill(4)": (
            "train four more epochs with the uncompressed model as teacher; temperature=2, weight=0.5 of its "
            "logits, features=1 for a loss on the class token too"
        ),
        "distill(60, teacher=QUANT+MiniROCKET)": "learn what classics say of augmented series, fitted out of fold",
    }
    limits: ClassVar[Limits] = {
        **TrainingStep.limits,
        "temperature": (0.001, 1000),
        "weight": (0.001, 1),
        "features": (0, 1_000_000),
    }

    epochs: int
    temperature: float = 2.0
    weight: float = 0.5
    learning_rate: float = 5e-4
    features: float = 0.0
    teacher: str = SELF

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_teacher(self.teacher)
        if self.features and self.teacher != SELF:
            raise UserError(f"only {SELF} has class tokens to learn from; give another teacher no features")

    def teach(self, network: Transformer, context: TrainingContext) -> Pool | None:
        """What classics say of the training series; the uncompressed model is asked while it teaches."""
        return None if self.teacher == SELF else context.teach(self.teacher, network.config.classes)

    def prepare(self, network: Transformer, context: TrainingContext) -> Loss:
        """The loss on what the teacher gives."""
        if self.teacher != SELF:
            return make_loss(read_labels, torch.from_numpy(context.train.y), self.temperature, self.weight)
        loss = make_teacher_loss(self.name, context, self.temperature, self.weight)
        if not self.features:
            return loss
        assert context.teacher is not None
        teacher = context.teacher.network
        asked = context.ask(read_features(teacher))
        return FeatureLoss(network, asked, teacher.config.d_model, loss, self.features, context.seed)


@dataclass(frozen=True)
class Student(Step):
    """A new and smaller network of the same kind in place of the model; a step that trains must follow.

    Attributes
    ----------
    layers, heads, d_ff, d_model, patch : int
        Encoder layers; heads and feed-forward neurons of each; embedding width; time steps per token. The classifier
        has as many hidden neurons as a layer.
    filters : int
        Of the convolution before the tokens, where the model has one; 0 for as many as the model has.
    """

    name: ClassVar[str] = "student"
    summary: ClassVar[str] = "starts anew with a smaller network"
    family: ClassVar[Family] = Family.STUDENT
    examples: ClassVar[Mapping[str, str]] = {
        "student(layers=2)": "start anew with a small network; heads=4, d_ff=64, d_model=32, patch=8",
    }
    limits: ClassVar[Limits] = {**LIMITS, "patch": (1, 100_000), "filters": (0, 4096)}

    layers: int = 2
    heads: int = 4
    d_ff: int = 64
    d_model: int = 32
    patch: int = 8
    filters: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.d_model % self.heads:
            raise UserError(f"a student's {self.heads} heads must share its {self.d_model} channels evenly")

    def apply(self, model: CompressedModel, context: TrainingContext) -> tuple[CompressedModel, Details]:
        """A fresh network, initialised by the seed."""
        if model.number_format is not NumberFormat.FP32:
            raise UserError(f"a student starts in fp32, but the model is {model.number_format}; put it before int8")
        config = self.configure(model.network.config)
        check_series(config, context)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(context.seed)
            network = Transformer(config).eval()
        return dataclasses.replace(model, network=network, trained=False), {}

    def configure(self, old: TransformerConfig) -> TransformerConfig:
        """The student's sizes, in place of those of a model of its kind.

        Raises
        ------
        UserError
            If there are to be filters, but the model has none.
        """
        embedding = dataclasses.replace(
            old.embedding, patch=self.patch, position_stride=1, position_width=None, position_channels=None
        )
        if isinstance(embedding, ConvolutionEmbeddingConfig):
            filters = self.filters or embedding.filters
            pointwise = math.ceil(embedding.pointwise * filters / embedding.filters)  # none only where there was none
            embedding = dataclasses.replace(embedding, filters=filters, pointwise=pointwise)
        elif self.filters:
            raise UserError("a student has filters where its model has a convolution before the tokens; leave them out")
        return dataclasses.replace(
            old,
            embedding=embedding,
            d_model=self.d_model,
            head_dim=self.d_model // self.heads,
            layers=(LayerConfig(self.heads, self.d_ff),) * self.layers,
            d_hidden=self.d_ff,
            exits=(),
        )


def make_teacher_loss(name: str, context: TrainingContext, temperature: float, weight: float) -> Loss:
    """The loss of [1]_ with the uncompressed model as teacher, for a step of this name.

    Raises
    ------
    UserError
        If the context has no teacher.
    """
    if context.teacher is None:
        raise UserError(f"{name} learns from the uncompressed model, and the context has none; give it a teacher")
    ask = context.ask(make_predictor(context.teacher.network))
    return make_loss(ask, torch.from_numpy(context.train.y), temperature, weight)
