"""How far a long command is, in one line: the unit, its stage, which of all, the time so far and what is left."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

IN_BATCH = "TSC_IN_BATCH"
"""Environment variable that is set in what a batch starts, whose lines go to its log."""

MARK = "tsc_lib: "
"""How a line of ours begins in a batch's log, where others write, too."""

Begin = Callable[..., None]
"""Begins a stage: its name, and where known the seconds that it will take."""


@dataclass
class Progress:
    """A unit of work that goes through stages.

    Attributes
    ----------
    unit : str
        What is worked on, such as a training run's label.
    stages : sequence of str
        What is done to it, in order; a stage that is not needed may be left out.
    """

    unit: str
    stages: Sequence[str]
    _started: float = field(default_factory=lambda: time.monotonic())
    _stage: str = ""
    _since: float = 0.0
    _seconds: float | None = None

    def begin(self, stage: str, seconds: float | None = None) -> None:
        """Go over to a stage, which lines name once it does something; `seconds` are what it will take, if known."""
        self._stage, self._since, self._seconds = stage, time.monotonic(), seconds

    def describe(self, message: str, steps: tuple[int, int] = (0, 0)) -> str:
        """A message as the line of this moment.

        Parameters
        ----------
        message : str
            What is being done within the stage.
        steps : tuple of int
            How much of the stage is done, of how much; (0, 0) if that is not known.

        Examples
        --------
        >>> progress = Progress("PLAID-T1-s0", ["training", "measuring"])
        >>> progress.begin("measuring", seconds=75)
        >>> progress.describe("PLAID-T1-s0: 3 variants")
        'PLAID-T1-s0 · measuring, 2 of 2 · 3 variants · 0 s · about 1 min 15 s left of this stage'
        """
        now = time.monotonic()
        place = f"{self._stage}, {self.stages.index(self._stage) + 1} of {len(self.stages)}" if self._stage else ""
        own = message.removeprefix(f"{self.unit}: ")
        times = [duration(now - self._started), self._left(now, steps)]
        parts = [self.unit, place, "" if own and own in self._stage else own, *times]
        return " · ".join(filter(None, parts))

    def _left(self, now: float, steps: tuple[int, int]) -> str:
        spent, (done, total) = now - self._since, steps
        left = None if self._seconds is None else self._seconds - spent
        if 0 < done < total:
            left = spent / done * (total - done)
        return "" if left is None else f"about {duration(max(0.0, left))} left of this stage"


_current: ContextVar[Progress | None] = ContextVar("progress", default=None)


@contextmanager
def track(unit: str, stages: Sequence[str]) -> Iterator[Begin]:
    """Within it whatever is logged is shown as a line of the unit's progress; gives what begins a stage."""
    progress = Progress(unit, stages)
    token = _current.set(progress)
    try:
        yield progress.begin
    finally:
        _current.reset(token)


class ProgressFormatter(logging.Formatter):
    """Messages as lines of the progress that is tracked; warnings, and all where nothing is tracked, as they are.

    In a batch they begin with `MARK`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """A record as it is shown."""
        text, progress = super().format(record), _current.get()
        if progress is not None and record.levelno <= logging.INFO:
            text = progress.describe(text, getattr(record, "steps", (0, 0)))
        return MARK + text if IN_BATCH in os.environ else text


def duration(seconds: float) -> str:
    """A time span in words.

    Examples
    --------
    >>> duration(7.2), duration(75), duration(7300)
    ('7 s', '1 min 15 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
