"""The settings of a training, and what the documentation says of each."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from tsc_lib.core.calls import write_signature
from tsc_lib.core.errors import UserError
from tsc_lib.core.limits import (
    BATCH_SIZES,
    EPOCHS,
    LEARNING_RATES,
    Limits,
    check_fields,
    parse_number,
    parse_whole,
    quote,
)
from tsc_lib.core.spec import ADDED, Spec
from tsc_lib.training.augmentation import NO_AUGMENTATION, Augmentations, augment, mix
from tsc_lib.training.augmentation_methods import AUGMENTATIONS
from tsc_lib.training.batch import TrainingBatch
from tsc_lib.training.optimizers import OPTIMIZERS, SCHEDULES
from tsc_lib.training.teachers import SELF, parse_teacher

ROUND = 25
"""Steps, about, of an epoch of a handful of series where `steps` are set: they are gone through several times."""

KEEP = {"best": "the epoch that is best on validation", "last": "the last epoch, whatever validation says"}

CHOICES = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "keep": KEEP}

LIMITS: Limits = {
    "epochs": EPOCHS,
    "batch_size": BATCH_SIZES,
    "learning_rate": LEARNING_RATES,
    "warmup_steps": (0, 1_000_000),
    "steps": (0, 100_000_000),
    "weight_decay": (0, 100),
    "clip": (0, 1_000_000),
    "average": (0, 0.999999),
    "label_smoothing": (0, 0.999),
    "mixing": (0, 100),
    "teacher_weight": (0.001, 1),
    "versions": (1, 10_000),
}
"""The least and the most of a training's settings."""


class Plan(NamedTuple):
    """How often a training goes through its series: `passes` in each of `epochs`, until so many `steps` are done."""

    epochs: int
    passes: int
    steps: int


@dataclass(frozen=True)
class TrainSpec(Spec):
    """Settings of a training. By default it is the study's: Adam on cross-entropy, the best epoch by validation.

    Over the first `warmup_steps` steps the learning rate grows linearly to its full value. Post-norm transformers need
    that (Xiong et al., "On Layer Normalization in the Transformer Architecture", ICML 2020): without it a seed may
    never leave chance.

    Examples
    --------
    >>> spec = TrainSpec(steps=1500, optimizer="adamw", weight_decay=0.05, augment="shift(0.1) > noise")
    >>> TrainSpec.from_json(spec.to_json()) == spec
    True
    """

    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 1e-3
    warmup_steps: int = 20
    steps: int = field(default=0, metadata=ADDED)
    optimizer: str = field(default="adam", metadata=ADDED)
    weight_decay: float = field(default=0.0, metadata=ADDED)
    schedule: str = field(default="constant", metadata=ADDED)
    clip: float = field(default=0.0, metadata=ADDED)
    average: float = field(default=0.0, metadata=ADDED)
    filter_norm: bool = field(default=False, metadata=ADDED)
    label_smoothing: float = field(default=0.0, metadata=ADDED)
    augment: Augmentations = field(default=NO_AUGMENTATION, metadata=ADDED)
    mixing: float = field(default=0.0, metadata=ADDED)
    keep: str = field(default="best", metadata=ADDED)
    refit: bool = field(default=False, metadata=ADDED)
    teacher: str = field(default="", metadata=ADDED)
    teacher_weight: float = field(default=0.9, metadata=ADDED)
    versions: int = field(default=8, metadata=ADDED)
    pretrain: str = field(default="", metadata=ADDED)

    def __post_init__(self) -> None:
        object.__setattr__(self, "augment", Augmentations.parse(self.augment))  # JSON gives a text
        check_fields(self, "training setting", LIMITS)
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise UserError(f"training setting {name!r} is {' or '.join(known)}, not {quote(getattr(self, name))}")
        if self.teacher and SELF in parse_teacher(self.teacher):
            raise UserError(
                f"the teacher {SELF} is for compressed models: a training from scratch has no model before it"
            )
        if self.optimizer == "schedulefree" and (self.schedule != "constant" or self.average):
            raise UserError(
                "the optimizer schedulefree averages the weights itself; give it no 'schedule' and no 'average'"
            )

    @property
    def changes_series(self) -> bool:
        """Whether a network in training sees other series than those that are there."""
        return bool(self.augment or self.mixing)

    def alter(self, batch: TrainingBatch, rng: np.random.Generator) -> TrainingBatch:
        """A batch of series, augmented and mixed."""
        if self.augment:
            batch = augment(batch, self.augment, rng)
        return mix(batch, self.mixing, rng) if self.mixing else batch

    def plan(self, series: int) -> Plan:
        """How a training on so many series goes; `steps`, where they are set, decide and not `epochs`."""
        once = math.ceil(series / self.batch_size)
        if not self.steps:
            return Plan(self.epochs, 1, self.epochs * once)
        passes = max(1, ROUND // once)
        return Plan(math.ceil(self.steps / (once * passes)), passes, self.steps)

    def change(self, settings: Mapping[str, object]) -> TrainSpec:
        """These settings with some others.

        `epochs` that are given count, whatever `steps` there were, and the optimiser schedulefree ends a schedule and
        an average, unless those are given, too.

        Raises
        ------
        UserError
            If there is no such setting, or no such value of it.
        """
        for name in settings:
            if name not in SUMMARIES:
                raise UserError(f"unknown training setting {quote(name)}; the settings are {', '.join(SUMMARIES)}")
        ended: dict[str, Any] = {"steps": 0} if "epochs" in settings else {}
        if settings.get("optimizer") == "schedulefree":  # which does both itself
            ended |= {"schedule": "constant", "average": 0.0}
        return dataclasses.replace(self, **{**ended, **settings})

    def write_changes(self, base: TrainSpec) -> list[str]:
        """What differs from other settings, as `parse_settings` reads it; nothing if both are the same."""
        changed = {name: getattr(self, name) for name in SUMMARIES if getattr(self, name) != getattr(base, name)}
        if "epochs" in changed and self.steps:
            changed["steps"] = self.steps  # which epochs alone would end
        return [f"{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in changed.items()]

    def __str__(self) -> str:
        """Duration, optimiser and what differs from the default, as model cards say it."""
        length = f"{self.steps} steps" if self.steps else f"{self.epochs} epoch{'s' * (self.epochs > 1)}"
        changed = [
            f"{each.name} {value}"
            for each in dataclasses.fields(self)
            if each.name not in ("epochs", "steps", "batch_size", "learning_rate", "warmup_steps", "optimizer")
            and (value := getattr(self, each.name)) != each.default
        ]
        rate = f"{length} of {self.optimizer} at a learning rate of {self.learning_rate:g}"
        return ", ".join([rate, f"batches of {self.batch_size}", *changed])


SUMMARIES = {
    "epochs": "how often all training series are gone through",
    "batch_size": "series in a step of the optimiser",
    "learning_rate": "the full learning rate",
    "warmup_steps": "steps over which the learning rate grows to that",
    "steps": "steps of the optimiser in place of `epochs`, so that small and large data sets are trained as long; "
    f"an epoch then goes through a handful of series several times, in some {ROUND} steps",
    "optimizer": "; ".join(f"`{name}`: {text}" for name, text in OPTIMIZERS.items()),
    "weight_decay": "decay of the weights; biases, norms and the like have none",
    "schedule": "; ".join(f"`{name}`: {text}" for name, text in SCHEDULES.items()),
    "clip": "the gradient's norm at most; 0 for any",
    "average": "decay of an exponential moving average of the weights, which is kept in their place; 0 for none",
    "filter_norm": "batch normalisation of the filters before the tokens in the training of new weights; "
    "it is folded into them at the end",
    "label_smoothing": "share of the target that is spread over all classes",
    "augment": "methods of the second table, such as `warp(0.2) > noise(0.05)`, for every batch anew",
    "mixing": "mixup: every series is mixed with another, in shares from Beta(mixing, mixing); 0 for none",
    "keep": "; ".join(f"`{name}`: {text}" for name, text in KEEP.items()),
    "teacher": "classics, or other networks, whose class probabilities are learned, such as `QUANT+MiniROCKET`",
    "teacher_weight": "share of the teacher in the loss; the rest is the cross-entropy with the classes",
    "versions": "augmented versions of each training series that a teacher labels; more where it may take longer",
    "pretrain": "data sets on whose training series the encoder first fills gaps, such as `ScreenType+PowerCons`",
    "refit": "train anew on training and validation series together, for as many epochs as were chosen",
}
"""What each setting is."""


def parse_settings(texts: Iterable[str]) -> dict[str, object]:
    """Settings that are written ``name=value``, such as ``optimizer=adamw``.

    Raises
    ------
    UserError
        If a text is not well formed, or names an unknown setting.
    """
    read: dict[str, Callable[[str], object]] = {"int": parse_whole, "float": parse_number, "bool": _parse_choice}
    kinds = {each.name: str(each.type) for each in dataclasses.fields(TrainSpec)}
    found: dict[str, object] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or name not in kinds or name in found:
            raise UserError(
                f"training setting {quote(text)} is none, or given twice; write e.g. optimizer=adamw, with one of "
                f"{', '.join(kinds)}"
            )
        try:
            found[name] = read.get(kinds[name], str)(value)
        except ValueError as error:
            raise UserError(f"training setting {name!r}: {error}") from None
    return found


def _parse_choice(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"{quote(text)} is neither true nor false")
    return text == "true"


def options_table() -> str:
    """Every setting of a training with its default, as a table in Markdown.

    Examples
    --------
    >>> print(options_table().splitlines()[2])
    | `epochs` | 20 | how often all training series are gone through |
    """
    rows = [f"| `{f.name}` | {_write(f.default)} | {SUMMARIES[f.name]} |" for f in dataclasses.fields(TrainSpec)]
    return "\n".join(["| setting | default | what it is |", "| --- | --- | --- |", *rows])


def augmentations_table() -> str:
    """Every method of augmentation with its parameters and what it does, as a table in Markdown."""
    rows = [f"| `{write_signature(name, each)}` | {each.summary} |" for name, each in sorted(AUGMENTATIONS.items())]
    return "\n".join(["| method | what it does |", "| --- | --- |", *rows])


def _write(default: object) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    return f"{default:g}" if isinstance(default, int | float) else str(default) or "none"
