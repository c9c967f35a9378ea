"""Frozen dataclasses as people write them: ``name(value, key=value)``."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from tsc_lib.core.errors import UserError
from tsc_lib.core.limits import parse_number, parse_whole, quote

T = TypeVar("T")


def parse_call(text: str, known: Mapping[str, type[T]], where: str, example: str) -> T:
    """What a text such as ``prune(l1, 0.5)`` describes.

    Parameters
    ----------
    text : str
        A name, with parameters by place or by name.
    known : dict of str to type
        Dataclasses with fields of the types int, float and str, by the name that texts give them.
    where, example : str
        What sentences begin with, and how it is written rightly.

    Raises
    ------
    UserError
        If the text is not well formed, or names an unknown method or parameter.
    """
    match = re.fullmatch(r"(\w+)\s*(?:\(([^()]*)\))?", text.strip())
    if match is None:
        raise UserError(f"{where}: cannot read {quote(text.strip())}; write e.g. {example!r}")
    name, given = match.group(1), match.group(2) or ""
    if name not in known:
        raise UserError(f"{where}: unknown method {quote(name)}; the methods are {', '.join(sorted(known))}")
    kind = known[name]
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]  # they are dataclasses
    values: dict[str, Any] = {}
    for position, argument in enumerate(a.strip() for a in given.split(",") if given.strip()):
        key, by_name, value = (word.strip() for word in argument.rpartition("="))
        if by_name and key not in [f.name for f in fields]:
            raise UserError(f"{where}: {name} has no parameter {quote(key)}; it is {write_signature(name, kind)}")
        if not by_name and position >= len(fields):
            raise UserError(f"{where}: {name} takes at most {len(fields)} parameters")
        field = next(f for f in fields if f.name == key) if by_name else fields[position]
        if field.name in values:
            raise UserError(f"{where}: {name} is given {field.name} twice; it is {write_signature(name, kind)}")
        values[field.name] = _convert(value, field, f"{where}: {name}, {field.name}")
    missing = [f.name for f in fields if f.name not in values and f.default is dataclasses.MISSING]
    if missing:
        raise UserError(f"{where}: {name} needs {' and '.join(missing)}")
    try:
        return kind(**values)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def write_call(name: str, value: Any) -> str:
    """A dataclass as `parse_call` reads it: parameters at the end that have their default are left out."""
    given = write_arguments(value)
    return f"{name}({', '.join(given)})" if given else name


def write_arguments(value: Any) -> list[str]:
    """The parameters of a dataclass as people write them, without those at the end that have their default."""
    fields = dataclasses.fields(value)
    values = [getattr(value, field.name) for field in fields]
    while values and values[-1] == fields[len(values) - 1].default:
        values.pop()
    return [str(value) for value in values]


def write_signature(name: str, kind: type) -> str:
    """A method with all its parameters and their defaults, e.g. ``finetune(epochs, learning_rate=0.0005)``."""
    fields = dataclasses.fields(kind)
    given = [f.name if f.default is dataclasses.MISSING else f"{f.name}={_short(f.default)}" for f in fields]
    return f"{name}({', '.join(given)})" if given else name


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _convert(value: str, field: dataclasses.Field[Any], where: str) -> int | float | str:
    read: dict[str, Callable[[str], int | float | str]] = {"int": parse_whole, "float": parse_number, "str": str}
    try:
        return read[str(field.type)](value)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None
