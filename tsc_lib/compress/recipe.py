"""Recipes: how people write down compression, and the registry of the methods that they may name.

A recipe is an ordered list of steps, ``prune(l1, 0.5) > finetune(4) > int8(static)``, or ``baseline`` for none. Every
step is a frozen dataclass with the method's parameters; one registered function executes it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from tsc_lib.compress.context import TrainingContext
from tsc_lib.core.errors import UserError
from tsc_lib.models.compressed import CompressedModel, Evidence, measures

BASELINE = "baseline"

S = TypeVar("S")
Method = Callable[[CompressedModel, Any, TrainingContext], tuple[CompressedModel, dict[str, Any]]]

_METHODS: dict[str, tuple[type, Method]] = {}


class NoEffect(RuntimeError):
    """A step left the model exactly as it was."""


def register(
    name: str, config: type[S]
) -> Callable[
    [Callable[[CompressedModel, S, TrainingContext], tuple[CompressedModel, dict[str, Any]]]],
    Callable[[CompressedModel, S, TrainingContext], tuple[CompressedModel, dict[str, Any]]],
]:
    """Decorator that makes a function the method `name` of recipes, with parameters `config`.

    The function takes the model, its parameters and the context, leaves all three alone, and returns the new model
    with the details that it wants in the evidence.
    """

    def decorate(
        function: Callable[[CompressedModel, S, TrainingContext], tuple[CompressedModel, dict[str, Any]]],
    ) -> Callable[[CompressedModel, S, TrainingContext], tuple[CompressedModel, dict[str, Any]]]:
        _METHODS[name] = (config, function)
        return function

    return decorate


def parse(recipe: str) -> tuple[Any, ...]:
    """The steps of a recipe.

    Raises
    ------
    UserError
        If the recipe is not well formed, or names an unknown method or parameter.

    Examples
    --------
    >>> parse("mask(l1, 0.5) > finetune(4)")
    (Mask(norm='l1', ratio=0.5), FineTune(epochs=4, learning_rate=0.0005))
    """
    if recipe.strip() == BASELINE:
        return ()
    return tuple(_parse_step(part.strip(), recipe) for part in recipe.split(">"))


def text(steps: tuple[Any, ...]) -> str:
    """The recipe of some steps, in its one canonical spelling: parameters that have their default are left out."""
    return " > ".join(_step_text(step) for step in steps) or BASELINE


def apply(model: CompressedModel, recipe: str, context: TrainingContext) -> CompressedModel:
    """Compress a model.

    Parameters
    ----------
    model : CompressedModel
        Left alone.
    recipe : str
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
        If the recipe is not well formed.
    NoEffect
        If a step changed nothing.
    """
    for step in parse(recipe):
        if model.network.config.exits is not None and _name_of(step) != "exits":
            raise UserError(
                f"{_step_text(step)} would change a model whose exits are calibrated; put exits last in the recipe"
            )
        _, function = _METHODS[_name_of(step)]
        changed, details = function(model, step, context)
        before, after = measures(model), measures(changed)
        if _same(model, changed):
            raise NoEffect(f"{_step_text(step)} changed nothing")
        sizes = {f"{k}_before": before[k] for k in before} | {f"{k}_after": after[k] for k in after}
        changed.evidence = [*model.evidence, Evidence(step=_step_text(step), details=details, **sizes)]
        model = changed
    return model


def _same(a: CompressedModel, b: CompressedModel) -> bool:
    first, second = a.network.state_dict(), b.network.state_dict()
    shapes = [v.shape for v in first.values()] == [v.shape for v in second.values()]
    return (
        a.number_format == b.number_format
        and a.network.config == b.network.config
        and shapes
        and all(torch.equal(first[name], second[name]) for name in first)
    )


def _parse_step(part: str, recipe: str) -> Any:
    match = re.fullmatch(r"(\w+)\s*(?:\(([^()]*)\))?", part)
    if match is None:
        raise UserError(f"recipe {recipe!r}: cannot read {part!r}; write e.g. 'prune(l1, 0.5) > finetune(4)'")
    name, arguments = match.group(1), match.group(2) or ""
    if name not in _METHODS:
        raise UserError(f"recipe {recipe!r}: unknown method {name!r}; the methods are {', '.join(sorted(_METHODS))}")
    config = _METHODS[name][0]
    fields: list[dataclasses.Field[Any]] = list(dataclasses.fields(config))
    values: dict[str, Any] = {}
    for position, argument in enumerate(a.strip() for a in arguments.split(",") if arguments.strip()):
        key, _, value = argument.rpartition("=")
        if key.strip() and key.strip() not in [f.name for f in fields]:
            raise UserError(f"recipe {recipe!r}: {name} has no parameter {key.strip()!r}")
        if not key and position >= len(fields):
            raise UserError(f"recipe {recipe!r}: {name} takes at most {len(fields)} parameters")
        chosen = next(f for f in fields if f.name == key.strip()) if key else fields[position]
        values[chosen.name] = _convert(value.strip(), str(chosen.type), f"recipe {recipe!r}: {name}, {chosen.name}")
    missing = [f.name for f in fields if f.name not in values and f.default is dataclasses.MISSING]
    if missing:
        raise UserError(f"recipe {recipe!r}: {name} needs {' and '.join(missing)}")
    return config(**values)


def _convert(value: str, kind: str, where: str) -> Any:
    try:
        return {"int": int, "float": float, "str": str}[kind](value)
    except ValueError:
        raise UserError(f"{where}: {value!r} is not {'a whole number' if kind == 'int' else 'a number'}") from None


def _name_of(step: Any) -> str:
    return next(name for name, (config, _) in _METHODS.items() if config is type(step))


def _step_text(step: Any) -> str:
    fields = dataclasses.fields(step)
    values = [getattr(step, f.name) for f in fields]
    while values and values[-1] == fields[len(values) - 1].default:
        values.pop()
    return f"{_name_of(step)}({', '.join(str(v) for v in values)})" if values else _name_of(step)
