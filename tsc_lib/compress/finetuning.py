"""Fine-tuning: some more epochs of training for whatever the steps before have left."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from tsc_lib.compress.context import TrainingContext
from tsc_lib.compress.step import Details, Step
from tsc_lib.compress.surgery import zero_rows
from tsc_lib.core.errors import UserError
from tsc_lib.models.compressed import CompressedModel
from tsc_lib.models.transformer import Transformer
from tsc_lib.training import Loss, best_epoch, fit


@dataclass(frozen=True)
class FineTune(Step):
    """Train on for some epochs; the best epoch by validation is kept, and masked rows stay zero."""

    name: ClassVar[str] = "finetune"
    summary: ClassVar[str] = "trains further"
    examples: ClassVar[Mapping[str, str]] = {
        "finetune(4)": "train four more epochs; learning_rate=0.0005",
    }
    trains: ClassVar[bool] = True

    epochs: int
    learning_rate: float = 5e-4

    def __post_init__(self) -> None:
        if self.epochs < 1 or not self.learning_rate > 0:
            raise UserError(f"fine-tuning needs at least one epoch and a positive learning rate, not {self}")

    @property
    def label(self) -> str:
        """See `Step`."""
        return "tuned"

    def apply(self, model: CompressedModel, context: TrainingContext) -> tuple[CompressedModel, Details]:
        """Fine-tune a copy in fp32."""
        return train_on(model, context, "finetune", self.epochs, self.learning_rate)


def train_on(
    model: CompressedModel,
    context: TrainingContext,
    name: str,
    epochs: int,
    learning_rate: float,
    loss: Loss | None = None,
    prepare: Callable[[Transformer], None] | None = None,
) -> tuple[CompressedModel, Details]:
    """Train a copy of a model, with another loss than cross-entropy if one is given.

    Parameters
    ----------
    model : CompressedModel
        Left alone.
    context : TrainingContext
        Data, settings, seed, and the folder for a checkpoint.
    name : str
        The step's name, for its checkpoint and for messages.
    epochs : int
        Epochs to train for.
    learning_rate : float
        Adam's learning rate.
    loss : callable, optional
        See `tsc_lib.training.fit`.
    prepare : callable, optional
        Changes the copy, in place, for the time of the training: whatever it adds is not in the result.

    Returns
    -------
    model : CompressedModel
        The trained copy, at its best epoch by validation.
    details : dict
        The history and the best epoch.

    Raises
    ------
    UserError
        If the model's weights are not fp32 any more.
    """
    if model.number_format != "fp32":
        raise UserError(f"{name} works on fp32 weights, but the model is {model.number_format}; put it before int8")
    network = copy.deepcopy(model.network)
    if prepare is not None:
        prepare(network)
    masked = [(m, zero_rows(m)) for m in network.layers.modules() if isinstance(m, nn.Linear)]
    masked = [(linear, rows) for linear, rows in masked if rows.any()]

    def keep_masks() -> None:
        with torch.no_grad():
            for linear, rows in masked:
                linear.weight[rows] = 0.0

    # Trained weights need no warm-up, and a few epochs of a small data set have no steps to spare for one.
    warmup_steps = 0 if model.trained else context.settings.warmup_steps
    settings = dataclasses.replace(
        context.settings, epochs=epochs, learning_rate=learning_rate, warmup_steps=warmup_steps
    )
    history = fit(
        network,
        context.train,
        context.valid,
        settings,
        context.seed,
        equal_length=context.equal_length,
        checkpoint=None if context.folder is None else context.folder / f"{name}.safetensors",
        after_step=keep_masks if masked else None,
        loss=loss,
        watch=context.watch,
    )
    details = {"history": history, "best_epoch": best_epoch(history)}
    if prepare is not None:
        trained, network = network.state_dict(), copy.deepcopy(model.network)
        network.load_state_dict({weight: trained[weight] for weight in network.state_dict()})
    return dataclasses.replace(model, network=network, trained=True), details
