"""Where results are made: on which machine, and with which source of energy; on a cluster each job may have another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

from tsc_lib.benchmark.host import Machine, describe_machine
from tsc_lib.core import store
from tsc_lib.core.files import Json, read_json, write_json
from tsc_lib.core.spec import Spec
from tsc_lib.energy import EnergyMeter

ANY_NODE = "TSC_ANY_NODE"
"""Environment variable: whether results of a run are loaded from wherever it was measured last, not from here alone."""

SETTINGS = ("TSC_ENERGY", "TSC_SYSFS_ROOT", "TSC_WATTS_PER_CORE")
"""Environment variables on which the source of energy depends."""

_place: ContextVar[Place | None] = ContextVar("place", default=None)


@dataclass(frozen=True)
class Place(Spec):
    """A machine, and what tells energy there.

    Attributes
    ----------
    machine : Machine
        What decides how a model is compiled, and how long a call takes.
    energy : dict
        Of `EnergyMeter.describe`: other watts or another source are another result.
    """

    machine: Machine
    energy: dict[str, object]

    @classmethod
    def from_json(cls, content: Json) -> Self:
        """The place that `to_json` described."""
        return cls(Machine.from_json(content["machine"]), content["energy"])


def find_place() -> Place:
    """The place whose results are asked for: this one, unless within `taking` another."""
    return _place.get() or Place(describe_machine(), _describe_energy(tuple(map(os.environ.get, SETTINGS))))


@lru_cache(maxsize=8)
def _describe_energy(_: tuple[str | None, ...]) -> dict[str, object]:
    return EnergyMeter.auto().describe()  # starts programs to ask them


@contextmanager
def taking(place: Place | None) -> Iterator[None]:
    """Within it results are those of a place; of none, or within another such block, nothing changes."""
    if place is None or _place.get() is not None:
        yield
        return
    token = _place.set(place)
    try:
        yield
    finally:
        _place.reset(token)


def is_any_node() -> bool:
    """Whether results may come from other machines."""
    return bool(os.environ.get(ANY_NODE))


def record_place(name: str) -> None:
    """Record that results of this name are made here, where they may be made elsewhere."""
    if is_any_node():
        write_json(_locate(name), find_place().to_json())


def recall_place(name: str) -> Place | None:
    """Where results of a name were made last; None if nobody said so, or it must be here."""
    path = _locate(name)
    return Place.from_json(read_json(path)) if is_any_node() and path.is_file() else None


def _locate(name: str) -> Path:
    return store.OUTPUTS / "store" / "places" / f"{name}.json"
