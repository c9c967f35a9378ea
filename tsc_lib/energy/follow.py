"""Follows counters of energy while windows are open: ``python -I -S follow.py JSON``, in a process of its own.

Only between readings that are close together can a fault be told from work: within a few milliseconds no processor
draws two joules, and no counter falls back that is not about to wrap. So counters are read every millisecond. A thread
could not do that beside work that holds the interpreter's lock, and its CPU time would be the work's.

JSON is a list of the counters, each as `Counter` takes it. Every line of standard input is a command and gets a line of
JSON as its answer: ``start N`` opens the window N, ``stop N`` closes it. The program ends when standard input does. It
uses the standard library alone, so that it starts at once.
"""

from __future__ import annotations

import io
import json
import os
import select
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

READ_S = 0.001

STALL_S = 0.1
"""A counter that rests for so long, and for several of its updates, has stopped: even an idle package draws power."""

STALL_UPDATES = 4


class CounterFile:
    """An open counter; reading it again is many times cheaper than opening it again."""

    def __init__(self, path: str, range_uj: int) -> None:
        self._file = io.FileIO(path)  # closes itself
        self._descriptor = self._file.fileno()
        self._range_uj = range_uj

    def energy_uj(self) -> int:
        """The counter now, in microjoules.

        Raises
        ------
        OSError
            If it cannot be read any more.
        ValueError
            If it is not a whole number within its range.
        """
        value = parse_count(os.pread(self._descriptor, 64, 0))
        if value > self._range_uj:
            raise ValueError(f"it reads {value}, beyond its range of {self._range_uj} microjoules")
        return value

    @property
    def removed(self) -> bool:
        """Whether the counter is gone, though its last value may still be read."""
        return os.fstat(self._descriptor).st_nlink == 0


def parse_count(text: bytes) -> int:
    """The number that digits and white space make; a `ValueError` for anything else."""
    digits = text.strip()
    if not digits.isdigit():
        raise ValueError(f"it reads {text.decode(errors='replace').strip()!r} instead of a whole number")
    return int(digits)


class Counter:
    """A counter and what it gained since it was first read, across its wraps.

    Parameters
    ----------
    domain : str
        Its name in sentences.
    path : str
        Its file.
    range_uj : int
        Where it wraps to zero, in microjoules.
    update_s : float
        How often its value changes.
    most_watts : float
        What rises faster is no energy.

    Attributes
    ----------
    total_uj : int
        What it gained, faults left out.
    last : int
        What it read last.
    changed : float
        When its value was last seen to change.
    fault : str or None
        Why what it gained up to the last reading is not known; None if it is.
    """

    def __init__(self, domain: str, path: str, range_uj: int, update_s: float, most_watts: float) -> None:
        self._domain, self._path, self._range_uj = domain, path, range_uj
        self._update_s, self._most_uw = update_s, 1e6 * most_watts
        self._file: CounterFile | None = None
        self.last, self._read = 0, 0.0
        self.total_uj, self.changed = 0, 0.0
        self.fault: str | None = "it was not read yet"

    def advance(self, now: float) -> None:
        """Add what the counter gained since it was read last; if that cannot be told, `fault` says why."""
        anew = self.fault is not None  # what it gained since a fault may be of the time before
        try:
            if self._file is None:
                self._file = CounterFile(self._path, self._range_uj)
            value = self._file.energy_uj()
            if not anew and self._judge(value, now):
                value = self._file.energy_uj()  # the first read may have met a write halfway
        except (OSError, ValueError) as error:
            self._file = None  # it may come back as another file
            self.fault = f"{self._domain} cannot be read: {error}"
            return
        self.fault = None if anew else self._judge(value, now)
        if self.fault is None and not anew:
            self.total_uj += self._gained(value)
        if anew or value != self.last:
            self.changed = now
        elif now - self.changed > 2 * self._update_s and self._file.removed:  # one that still moves is there
            self._file = None
            self.fault = f"{self._domain} cannot be read: it was removed"
        self.last, self._read = value, now

    def forget(self) -> None:
        """Begin anew with the next reading."""
        self.fault = "it was not read yet"

    def _judge(self, value: int, now: float) -> str | None:
        """What is wrong with this reading after the last one."""
        elapsed, rested = now - self._read, now - self.changed
        gained = self._gained(value)
        if elapsed < 0:
            return f"the clock went back by {-elapsed:.3f} s"
        # The energy of one update more than has passed: the last change may have been seen late.
        if gained > self._most_uw * (rested + self._update_s):
            return f"{self._domain} jumped from {self.last} to {value} microjoules within {rested:.3f} s"
        if gained + self._range_uj <= self._most_uw * elapsed:
            return f"{self._domain} was not read for {elapsed:.3f} s, in which it may have wrapped unseen"
        if value == self.last and rested > max(STALL_S, STALL_UPDATES * self._update_s):
            return f"{self._domain} has stood still for {rested:.2f} s"
        return None

    def _gained(self, value: int) -> int:
        gained = value - self.last
        return gained if gained >= 0 else gained + self._range_uj


@dataclass
class OpenWindow:
    """A window: the counters' totals when it opened, what went wrong since, and how it ended."""

    totals_uj: list[int]
    fault: str | None
    stopped: float | None = None
    gained_uj: tuple[int, ...] = ()
    last_uj: tuple[int, ...] = ()


class Follower:
    """Counters, and the windows that are open over them."""

    def __init__(self, counters: list[Counter]) -> None:
        self.counters = counters
        self.windows: dict[str, OpenWindow] = {}

    def advance(self) -> None:
        """Bring every counter up to date, and tell the windows of faults."""
        for counter in self.counters:
            # Each has its own clock reading: a process may be held up between two counters.
            counter.advance(time.monotonic())
        for window in self.windows.values():
            window.fault = window.fault or self.fault()

    def fault(self) -> str | None:
        """What is wrong with a counter now."""
        return next((counter.fault for counter in self.counters if counter.fault), None)

    def start(self, name: str) -> dict[str, Any]:
        """Open a window; what the counters read."""
        if not self.windows:
            for counter in self.counters:
                counter.forget()
        self.advance()
        self.windows[name] = OpenWindow([counter.total_uj for counter in self.counters], self.fault())
        return {"last_uj": [counter.last for counter in self.counters]}

    def stop(self, name: str) -> None:
        """End a window; `close` tells what it gained."""
        self.advance()
        window = self.windows[name]
        window.stopped = time.monotonic()
        gained = zip(self.counters, window.totals_uj, strict=True)
        window.gained_uj = tuple(counter.total_uj - before for counter, before in gained)
        window.last_uj = tuple(counter.last for counter in self.counters)

    def close(self) -> dict[str, Any] | None:
        """The answer for a window that has ended, once every counter has moved after it: one that stopped within the
        window would be noticed too late."""
        for name, window in self.windows.items():
            if window.stopped is not None and (
                window.fault or all(counter.changed > window.stopped for counter in self.counters)
            ):
                del self.windows[name]
                return {"gained_uj": window.gained_uj, "last_uj": window.last_uj, "fault": window.fault}
        return None


def main() -> None:
    """Obey commands, and follow the counters while a window is open."""
    with suppress(AttributeError, OSError):  # where that is allowed, so that busy processors do not hold readings up
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        # Measured work is bound to the last CPUs, and whoever starts this program may be bound already.
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    follower = Follower([Counter(**values) for values in json.loads(sys.argv[1])])
    while True:
        answer = None
        if select.select([0], [], [], READ_S if follower.windows else None)[0]:
            words = os.read(0, 64).split()  # one command: the next is sent after the answer
            if not words:
                return
            if words[0] == b"start":
                answer = follower.start(words[1].decode())
            else:
                follower.stop(words[1].decode())
        else:
            follower.advance()
            answer = follower.close()
        if answer is not None:
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
