"""Gradual removal: a little at a time, with training between, so that importance is judged on what has adapted."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from tsc_lib.compress.context import TrainingContext
from tsc_lib.compress.distillation import Distill, distill
from tsc_lib.compress.finetuning import FineTune, finetune
from tsc_lib.compress.pruning import Prune, remove
from tsc_lib.compress.recipe import register
from tsc_lib.core.errors import UserError
from tsc_lib.models.compressed import CompressedModel


@dataclass(frozen=True)
class Gradual:
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

    criterion: str
    ratio: float
    steps: int = 4
    epochs: int = 1
    training: str = "finetune"
    parts: str = "both"
    scope: str = "layer"
    multiple: int = 1

    def __post_init__(self) -> None:
        if self.steps < 2 or self.epochs < 1:
            raise UserError(
                f"gradual takes at least 2 steps and 1 epoch between them, not {self.steps} and {self.epochs}; "
                "prune removes everything at once"
            )
        if self.training not in ("finetune", "distill"):
            raise UserError(f"gradual trains by finetune or distill, not by {self.training!r}")
        self.removal(self.steps)

    def removal(self, number: int) -> Prune:
        """The removal of a round, counted from 1, reckoned of the model before the first."""
        return Prune(self.criterion, self.ratio * number / self.steps, self.parts, self.scope, self.multiple)


@register("gradual", Gradual)
def gradual(model: CompressedModel, step: Gradual, context: TrainingContext) -> tuple[CompressedModel, dict[str, Any]]:
    """Remove and train in turn; the details list what was kept in the end, and the histories of the trainings."""
    whole = model.network.config
    kept = {"heads": [list(range(n)) for n in whole.heads], "neurons": [list(range(n)) for n in whole.d_ff]}
    histories = []
    for number in range(1, step.steps + 1):
        model, found = remove(model, step.removal(number), context, whole)
        for part, layers in kept.items():
            kept[part] = [[own[i] for i in chosen] for own, chosen in zip(layers, found[part], strict=True)]
        if number == step.steps:
            break
        # Rounds that a killed run has finished are read from their checkpoints.
        folder = None if context.folder is None else context.folder / f"round-{number}"
        between = dataclasses.replace(context, folder=folder)
        if step.training == "finetune":
            model, details = finetune(model, FineTune(step.epochs), between)
        else:
            model, details = distill(model, Distill(step.epochs), between)
        histories.append(details["history"])
    return model, {**kept, "histories": histories}
