"""What every step of a recipe is: a frozen dataclass that owns all that is known of its method.

A new method is one new file in this folder with a subclass of `Step`. The parser, help texts, model cards, the
documentation's table and the labels of figures read it there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar

from tsc_lib.compress.context import TrainingContext
from tsc_lib.core.calls import write_arguments, write_call
from tsc_lib.core.limits import Limits, check_fields
from tsc_lib.models.compressed import CompressedModel, Details


class NoEffect(RuntimeError):
    """A step left the model exactly as it was."""


class Family(StrEnum):
    """Kinds of strategies, in the order of legends and tables.

    Masks, removal and both with int8 are the study's: one share of heads and neurons from every layer, at most
    fine-tuned. Whatever else removes structure is a smaller shape: whole layers, channels, ranks, longer patches, in
    rounds, by other shares in every layer, or distilled. Fewer tokens and early exits save work by input, whatever else
    a recipe does. Other quantization is int4, and int8 by another observer, with layers left in fp32, of weights alone,
    or after a training for it.
    """

    BASELINE = "baseline"
    RUNTIME = "runtime only"
    DYNAMIC = "dynamic int8"
    STATIC = "static int8"
    QUANTIZED = "other quantization"
    MASKS = "masks"
    REMOVAL = "removal"
    COMBINED = "combined"
    SMALLER = "smaller shape"
    STUDENT = "student"
    FEWER = "fewer tokens"
    EARLY = "early exit"
    OTHER = "other"


STEPS: dict[str, type[Step]] = {}
"""Every method by the name that recipes give it; subclasses of `Step` enter themselves."""


CRITERIA = {"l1": "L1", "l2": "L2", "taylor": "Taylor"}
"""Criteria of importance as labels write them, where that is not as recipes do."""


class Step:
    """Base of every method; subclasses are frozen dataclasses whose fields are the method's parameters.

    Attributes
    ----------
    name : str
        What recipes call the method.
    summary : str
        What it does, in a few words that follow "it": "removes attention heads and feed-forward neurons".
    examples : dict of str to str
        Recipes of one step, and what each does, for help texts.
    title : str
        The beginning of `label`, with parameters in braces, as `str.format` takes them; by default the name. A share is
        written ``{ratio:.1%}``, which makes "50 %" of 0.5.
    titled : int
        How many parameters, from the first, the title stands for; the others follow it in brackets.
    limits : dict of str to pair
        The least and the most of parameters; by default whole numbers are from 1 to 100,000, and others finite.
    trains : bool
        Whether the step trains the network further.

    Raises
    ------
    UserError
        If a parameter is not of its type, or beyond its limits.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    examples: ClassVar[Mapping[str, str]] = {}
    title: ClassVar[str] = "{name}"
    titled: ClassVar[int] = 0
    limits: ClassVar[Limits] = {}
    trains: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        if "name" in cls.__dict__:
            STEPS[cls.name] = cls

    def __post_init__(self) -> None:
        check_fields(self, f"{self.name}, parameter", self.limits)

    @property
    def family(self) -> Family:
        """The kind of strategy that a recipe of this step alone is."""
        return Family.OTHER

    @property
    def label(self) -> str:
        """A short name for figures, e.g. "remove L1 50 %"."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]  # subclasses are dataclasses
        values = {field.name: getattr(self, field.name) for field in fields}
        named = {name: CRITERIA.get(value, value) for name, value in values.items()}
        title = self.title.format(name=self.name, **named).replace(".0%", "%").replace("%", " %")
        rest = write_arguments(self)[self.titled :]
        return title + (f" ({', '.join(rest)})" if rest else "")

    def apply(self, model: CompressedModel, context: TrainingContext) -> tuple[CompressedModel, Details]:
        """The step's result, a new model, and what evidence is to tell of it; both arguments are left alone.

        Raises
        ------
        UserError
            If the model cannot be treated so.
        NoEffect
            If the step would change nothing.
        """
        raise NotImplementedError

    def __str__(self) -> str:
        """The step as recipes write it: parameters at the end that have their default are left out."""
        return write_call(self.name, self)
