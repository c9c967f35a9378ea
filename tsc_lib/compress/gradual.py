"""Gradual removal: a little at a time, with training between, so that importance is judged on what has adapted."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from tsc_lib.compress.context import TrainingContext
from tsc_lib.compress.distillation import Distill
from tsc_lib.compress.finetuning import FineTune
from tsc_lib.compress.pruning import Prune, remove
from tsc_lib.compress.step import Family, Step
from tsc_lib.core.errors import UserError
from tsc_lib.core.limits import EPOCHS, Limits
from tsc_lib.models.compressed import CompressedModel, Details


@dataclass(frozen=True)
class Gradual(Step):
    """Remove heads and neurons in several rounds with some epochs of training between them.

    Attributes
    ----------
    criterion, ratio, parts, scope, multiple
        As of `Prune`; the ratio is what is gone after the last round.
    steps : int
        Rounds.
    epochs : int
        Epochs of training between two rounds; the training after the last is a step of its own.
    training : {"finetune", "distill"}
        How it is trained, with that step's other parameters as they are by default.
    """

    name: ClassVar[str] = "gradual"
    summary: ClassVar[str] = "removes attention heads and feed-forward neurons in rounds, with training between"
    family: ClassVar[Family] = Family.SMALLER
    title: ClassVar[str] = "remove {criterion} {ratio:.1%} in rounds"
    titled: ClassVar[int] = 2
    examples: ClassVar[Mapping[str, str]] = {
        "gradual(taylor, 0.5)": (
            "remove half in steps=4 rounds with epochs=1 of training=finetune or distill between them"
        ),
    }

    limits: ClassVar[Limits] = {"steps": (2, 1000), "epochs": EPOCHS}

    criterion: str
    ratio: float
    steps: int = 4
    epochs: int = 1
    training: str = "finetune"
    parts: str = "both"
    scope: str = "layer"
    multiple: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.training not in ("finetune", "distill"):
            raise UserError(f"gradual trains by finetune or distill, not by {self.training!r}")
        self.round(self.steps)

    def round(self, number: int) -> Prune:
        """The removal of a round, counted from 1, with the share that is gone after it."""
        return Prune(self.criterion, self.ratio * number / self.steps, self.parts, self.scope, self.multiple)

    def apply(self, model: CompressedModel, context: TrainingContext) -> tuple[CompressedModel, Details]:
        """Remove and train in turn; the details list what was kept in the end, and the histories of the trainings."""
        whole = model.network.config
        kept = {
            "heads": [list(range(layer.heads)) for layer in whole.layers],
            "neurons": [list(range(layer.d_ff)) for layer in whole.layers],
        }
        histories = []
        for number in range(1, self.steps + 1):
            model, found = remove(model, self.round(number), context, whole)
            for part, layers in kept.items():
                kept[part] = [[own[i] for i in chosen] for own, chosen in zip(layers, found[part], strict=True)]
            if number == self.steps:
                break
            # Rounds that a killed run has finished are read from their checkpoints.
            folder = None if context.folder is None else context.folder / f"round-{number}"
            between = dataclasses.replace(context, folder=folder)
            training = FineTune(self.epochs) if self.training == "finetune" else Distill(self.epochs)
            model, details = training.apply(model, between)
            histories.append(details["history"])
        return model, {**kept, "histories": histories}
