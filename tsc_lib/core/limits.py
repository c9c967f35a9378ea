"""Limits of what people ask for: numbers of the right kind and size, and lists in which nothing stands twice.

The limits keep a slip of the keyboard from starting work that has no end, or that no memory holds.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from tsc_lib.core.errors import UserError

Limits = Mapping[str, tuple[float, float]]
"""The least and the most of numbers, by the name of a field."""

SEEDS = (0, 2**32 - 1)
EPOCHS = (1, 100_000)
LEARNING_RATES = (1e-15, 10)
BATCH_SIZES = (1, 65_536)
THREADS = (1, 1024)

MOST = sys.float_info.max
"""Of finite numbers."""


def quote(value: object) -> str:
    """A value as a sentence names it: as Python writes it, cut where it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # Python writes no number of thousands of digits
        return f"a very long {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."


def check_whole(value: object, what: str, least: float, most: float) -> None:
    """Refuse what is no whole number, or lies beyond the limits.

    Raises
    ------
    UserError
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value <= most:
        raise UserError(f"{what} must be a whole number from {_write(least)} to {_write(most)}, not {quote(value)}")


def check_number(value: object, what: str, least: float = -MOST, most: float = MOST) -> None:
    """Refuse what is no finite number, or lies beyond the limits.

    Raises
    ------
    UserError
    """
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not number or not least <= value <= most:  # type: ignore[operator]  # it is a number
        limits = "" if most == MOST else f" from {_write(least)} to {_write(most)}"
        raise UserError(f"{what} must be a finite number{limits}, not {quote(value)}")


def check_different(values: Collection[object], what: str) -> None:
    """Refuse a list in which something stands twice: work would be done twice, and rows be told apart by nothing.

    Raises
    ------
    UserError
    """
    seen: list[object] = []
    for value in values:
        if value in seen:
            raise UserError(f"{what} has {quote(value)} twice; leave one out")
        seen.append(value)


def check_fields(owner: Any, what: str, limits: Limits) -> None:
    """Refuse a dataclass whose fields are not of their types, or beyond their limits; lists hold nothing twice.

    Parameters
    ----------
    owner : dataclass
        Its fields of the types int, float, bool, str and tuple of int are checked.
    what : str
        What stands before a field's name: "training setting".
    limits : dict
        The least and the most of numbers; without them an int is from 1 to 100,000, and a float is finite.

    Raises
    ------
    UserError
    """
    for field in dataclasses.fields(owner):
        value, name = getattr(owner, field.name), f"{what} {field.name!r}"
        if field.type == "int":
            check_whole(value, name, *limits.get(field.name, (1, 100_000)))
        elif field.type == "float":
            check_number(value, name, *limits.get(field.name, ()))
        elif field.type == "bool" and not isinstance(value, bool):
            raise UserError(f"{name} must be true or false, not {quote(value)}")
        elif field.type == "str" and not isinstance(value, str):
            raise UserError(f"{name} must be text, not {quote(value)}")
        elif field.type == "tuple[int, ...]":
            check_list(value, name, *limits[field.name])


def check_list(values: object, what: str, least: float, most: float) -> None:
    """Refuse what is no list of at least one whole number within the limits, each of them once.

    Raises
    ------
    UserError
    """
    if not isinstance(values, list | tuple) or not values:
        raise UserError(f"{what} must be a list of whole numbers, not {quote(values)}")
    for value in values:
        check_whole(value, f"every entry of {what}", least, most)
    check_different(values, what)


def parse_whole(text: str) -> int:
    """A whole number in plain digits; Python would also read ``1_000``, and the digits of other scripts.

    Raises
    ------
    ValueError
    """
    if not re.fullmatch(r"[+-]?[0-9]{1,100}", text.strip()):
        raise ValueError(f"{quote(text)} is not a whole number")
    return int(text)


def parse_number(text: str) -> float:
    """A finite number in plain digits, as in ``0.5`` or ``1e-3``.

    Raises
    ------
    ValueError
    """
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]{1,3})?", text.strip().lower(), re.ASCII):
        raise ValueError(f"{quote(text)} is not a number")
    return float(text)


def _write(limit: float) -> str:
    return f"{limit:,}" if isinstance(limit, int) else f"{limit:g}"
