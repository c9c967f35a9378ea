"""Recipes: how people write down compression.

A recipe is an ordered list of steps, ``prune(l1, 0.5) > finetune(4) > int8(static)``, or ``baseline`` for none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from tsc_lib.compress.context import TrainingContext
from tsc_lib.compress.step import STEPS, Family, NoEffect, Step
from tsc_lib.core.calls import parse_call
from tsc_lib.core.errors import UserError
from tsc_lib.core.html import view
from tsc_lib.core.limits import quote
from tsc_lib.models.compressed import CompressedModel, Evidence, measure_size
from tsc_lib.models.number_format import NumberFormat

EXAMPLE = "prune(l1, 0.5) > finetune(4)"


@dataclass(frozen=True)
class Recipe:
    """The steps that compress a model, in order.

    Attributes
    ----------
    steps : tuple of Step
        None for the uncompressed model.

    Examples
    --------
    >>> recipe = Recipe.parse("prune(criterion=l1, ratio=0.5) > finetune(4, 0.0005)")
    >>> str(recipe)
    'prune(l1, 0.5) > finetune(4)'
    >>> recipe.family.value, recipe.label, recipe.number_format.value
    ('removal', 'Remove L1 50 %, tuned', 'fp32')
    >>> str(Recipe())
    'baseline'
    """

    steps: tuple[Step, ...] = ()

    @classmethod
    def parse(cls, text: str | Recipe) -> Recipe:
        """The recipe that a text describes; one that is a recipe already stays as it is.

        Raises
        ------
        UserError
            If the text is not well formed, or names an unknown method or parameter.
        """
        if isinstance(text, Recipe):
            return text
        if not isinstance(text, str):
            raise UserError(f"a recipe is text such as {EXAMPLE!r}, not {quote(text)}")
        if text.strip() == str(BASELINE):
            return cls()
        return cls(tuple(parse_call(part, STEPS, f"recipe {quote(text)}", EXAMPLE) for part in text.split(">")))

    def __str__(self) -> str:
        """The recipe in its one canonical spelling."""
        return " > ".join(map(str, self.steps)) or "baseline"

    def _repr_html_(self) -> str:
        rows = [(number, str(step), step.summary) for number, step in enumerate(self.steps, start=1)]
        return view(
            str(self), rows, ["", "step", "what it does"] if rows else [], f"{self.label}; {self.number_format}"
        )

    def to_json(self) -> str:
        """The recipe as specifications store it."""
        return str(self)

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __getitem__(self, places: slice) -> Recipe:
        """Some of the steps, as a recipe of their own."""
        return Recipe(self.steps[places])

    def __add__(self, other: Recipe) -> Recipe:
        return Recipe(self.steps + other.steps)

    @property
    def number_format(self) -> NumberFormat:
        """The format that the model ends in."""
        found = (step.number_format for step in reversed(self.steps) if hasattr(step, "number_format"))
        return next(found, NumberFormat.FP32)

    @property
    def observer(self) -> str:
        """How static int8 makes ranges of what it observes; "native" where the recipe does not say."""
        return next((step.observer for step in reversed(self.steps) if hasattr(step, "observer")), "native")

    @property
    def training(self) -> Recipe:
        """The steps that train the model further, as a recipe of their own."""
        return Recipe(tuple(step for step in self.steps if step.trains))

    @property
    def is_tuned(self) -> bool:
        """Whether the model is trained further by a step."""
        return bool(self.training.steps)

    @property
    def family(self) -> Family:
        """The kind of strategy that the recipe is; see `Family`."""
        families = [step.family for step in self.steps]
        found = {family for family in families if family is not Family.OTHER}
        for wins in (Family.EARLY, Family.STUDENT):
            if wins in found:
                return wins
        study = {Family.MASKS, Family.REMOVAL, Family.DYNAMIC, Family.STATIC}
        plain = all(step.family in study or step.name == "finetune" for step in self.steps)
        pruned = [family for family in families if family in (Family.MASKS, Family.REMOVAL)]
        narrow = [family for family in families if family in (Family.DYNAMIC, Family.STATIC)]
        if plain and len(pruned) == 1:
            return Family.COMBINED if narrow else pruned[0]
        if Family.FEWER in found:
            return Family.FEWER
        if found & {Family.REMOVAL, Family.SMALLER}:
            return Family.SMALLER
        if plain and narrow and not pruned:
            return narrow[0]
        if found & {Family.DYNAMIC, Family.STATIC, Family.QUANTIZED}:
            return Family.QUANTIZED
        return Family.OTHER if self.steps else Family.BASELINE

    @property
    def label(self) -> str:
        """A short name for figures, e.g. "Remove L1 50 %, tuned"."""
        text = ", ".join(step.label for step in self.steps) or "fp32"
        return text[0].upper() + text[1:] if self.steps else text


BASELINE = Recipe()
"""The uncompressed model."""


def apply(model: CompressedModel, recipe: Recipe | str, context: TrainingContext) -> CompressedModel:
    """Compress a model.

    Parameters
    ----------
    model : CompressedModel
        Left alone.
    recipe : Recipe or str
        Steps to execute in order.
    context : TrainingContext
        Training data and settings.

    Returns
    -------
    CompressedModel
        A new model, with evidence of every step.

    Raises
    ------
    UserError
        If the recipe is not well formed, or a step cannot treat the model.
    NoEffect
        If a step changed nothing.
    """
    for step in Recipe.parse(recipe):
        if model.network.config.exits and step.family is not Family.EARLY:
            raise UserError(f"{step} would change a model whose exits are calibrated; put exits last in the recipe")
        changed, details = step.apply(model, context)
        if _is_same(model, changed):
            raise NoEffect(f"{step} changed nothing")
        before, after = (dataclasses.asdict(measure_size(each)) for each in (model, changed))
        sizes = {f"{k}_before": before[k] for k in before} | {f"{k}_after": after[k] for k in after}
        changed.evidence = [*model.evidence, Evidence(step=str(step), details=dict(details), **sizes)]
        model = changed
    return model


def _is_same(a: CompressedModel, b: CompressedModel) -> bool:
    first, second = a.network.state_dict(), b.network.state_dict()
    return (
        a.number_format == b.number_format
        and a.network.config == b.network.config
        and all(torch.equal(first[name], second[name]) for name in first)
    )
