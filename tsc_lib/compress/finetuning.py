"""Fine-tuning: some more epochs of training for whatever the steps before have left; and what other trainings share."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from tsc_lib.compress.context import TrainingContext
from tsc_lib.compress.step import Step
from tsc_lib.compress.surgery import check_fp32, find_zero_rows
from tsc_lib.core.limits import EPOCHS, LEARNING_RATES, Limits
from tsc_lib.models.compressed import CompressedModel, Details
from tsc_lib.models.transformer import Transformer
from tsc_lib.training import Loss, Pool, fit


class TrainingStep(Step):
    """Base of the steps that train a copy of the network further, in fp32; its zeroed rows stay zero.

    Attributes
    ----------
    epochs : int
        Epochs to train for; the best by validation is kept.
    learning_rate : float
        Adam's learning rate.
    """

    trains: ClassVar[bool] = True
    limits: ClassVar[Limits] = {"epochs": EPOCHS, "learning_rate": LEARNING_RATES}

    epochs: int
    learning_rate: float

    def prepare(self, network: Transformer, context: TrainingContext) -> Loss | None:
        """Change a network, in place, for the time of the training: whatever this adds is not in the result.

        Returns
        -------
        callable or None
            What to minimise, see `tsc_lib.training.fit`; None for the cross-entropy.
        """
        return None

    def teach(self, network: Transformer, context: TrainingContext) -> Pool | None:
        """What to train on in place of the training series, if a teacher labelled versions of them beforehand."""
        return None

    def apply(self, model: CompressedModel, context: TrainingContext) -> tuple[CompressedModel, Details]:
        """Train a copy; the details tell the history, the best epoch and what teaching took."""
        check_fp32(model, self.name)
        network = copy.deepcopy(model.network)
        pool = self.teach(network, context)
        loss = self.prepare(network, context)
        masked = [(m, find_zero_rows(m)) for m in network.layers.modules() if isinstance(m, nn.Linear)]
        masked = [(linear, rows) for linear, rows in masked if rows.any()]

        def keep_masks() -> None:
            with torch.no_grad():
                for linear, rows in masked:
                    linear.weight[rows] = 0.0

        # Trained weights need no warm-up, and a few epochs of a small data set have no steps to spare for one.
        warmup_steps = 0 if model.trained else context.settings.warmup_steps
        settings = dataclasses.replace(
            context.settings,
            epochs=self.epochs,
            steps=0,
            learning_rate=self.learning_rate,
            warmup_steps=warmup_steps,
            filter_norm=context.settings.filter_norm and not model.trained,
        )
        history = fit(
            network,
            context.train,
            context.valid,
            settings,
            context.seed,
            equal_length=context.equal_length,
            checkpoint=None if context.folder is None else context.folder / f"{self.name}.safetensors",
            after_step=keep_masks if masked else None,
            loss=loss,
            watch=context.watch,
            pool=pool,
        )
        result, trained = copy.deepcopy(model.network), network.state_dict()
        result.load_state_dict({weight: trained[weight] for weight in result.state_dict()})
        best = next(each["epoch"] for each in history if each["best"])
        details: dict[str, object] = {"history": history, "best_epoch": best}
        if pool is not None:
            details["teaching"] = dataclasses.asdict(pool.teaching)
        return dataclasses.replace(model, network=result.eval(), trained=True), details


@dataclass(frozen=True)
class FineTune(TrainingStep):
    """Train on with the cross-entropy, as the model was trained."""

    name: ClassVar[str] = "finetune"
    summary: ClassVar[str] = "trains further"
    title: ClassVar[str] = "tuned"
    titled: ClassVar[int] = 2
    examples: ClassVar[Mapping[str, str]] = {
        "finetune(4)": "train four more epochs; learning_rate=0.0005",
    }

    epochs: int
    learning_rate: float = 5e-4
