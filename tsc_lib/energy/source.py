"""What every source of energy is, and what it gives for one window of work."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from itertools import pairwise
from statistics import median
from typing import Any, ClassVar, Literal, NamedTuple

Device = Literal["cpu", "gpu"]

SourceKind = Literal["measured", "estimated", "modelled"]
"""A counter was read; CPU time was multiplied by stated watts; operations were multiplied by picojoules."""

CHANGES = 6
"""Changes of a counter that `change_interval` waits for."""


class InvalidWindowError(Exception):
    """A source cannot vouch for a window; the message says why."""


class UnusableError(Exception):
    """A source cannot be used at all; the message says why and how to mend that."""


class Energy(NamedTuple):
    """Energy of one window in joules, with the bounds that its source vouches for and its parts by domain."""

    joules: float
    low: float
    high: float
    warnings: tuple[str, ...] = ()
    domains: Mapping[str, float] = {}


class Source(ABC):
    """A way to know the energy of a window of work.

    Attributes
    ----------
    device : {"cpu", "gpu"}
        Whose energy it is.
    kind : {"measured", "estimated", "modelled"}
        How it is known.
    backend : str
        Short name that goes into records.
    shortest_window_s : float
        Wall time below which a window is not resolved; 0 if any can be.
    warnings : tuple of str
        What may be doubted about all of its windows.
    parameters : mapping
        JSON-able constants that the energy depends on.
    """

    device: ClassVar[Device] = "cpu"
    kind: ClassVar[SourceKind] = "measured"
    backend: ClassVar[str]
    shortest_window_s: float = 0.0
    warnings: tuple[str, ...] = ()
    parameters: Mapping[str, object] = {}

    @abstractmethod
    def unavailable(self) -> str | None:
        """Why this machine cannot use the source and how to mend that; None if it can."""

    def resolution_s(self) -> float | None:
        """Seconds between two values of this source, as seen here; None if it was not seen to change."""
        return None

    @abstractmethod
    def start(self) -> Any:
        """Open a window; what is returned is handed to `stop`."""

    @abstractmethod
    def stop(self, mark: Any, seconds: float, cpu_seconds: float) -> Energy:
        """Close the window that `start` opened and that lasted this wall and CPU time.

        Raises
        ------
        InvalidWindowError
            If the energy cannot be vouched for.
        """


def sum_domains(domains: Mapping[str, float], seconds: float, uncertain_s: float) -> Energy:
    """Joules by domain as one energy, whose bounds are what this much of the window's time is worth."""
    joules = sum(domains.values())
    uncertain = joules * uncertain_s / seconds
    return Energy(joules, joules - uncertain, joules + uncertain, domains=domains)


def change_interval(read: Callable[[], float], timeout_s: float) -> float | None:
    """Median seconds between changes of what `read` returns; None if fewer than two are seen in the time given."""
    end, before, changes = time.monotonic() + timeout_s, read(), list[float]()
    while len(changes) < CHANGES and (now := time.monotonic()) < end:
        if (value := read()) != before:
            before = value
            changes.append(now)
        time.sleep(1e-4)
    return median(b - a for a, b in pairwise(changes)) if len(changes) > 1 else None
