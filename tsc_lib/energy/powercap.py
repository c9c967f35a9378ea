"""Energy measured by the processor's own counters (RAPL of Intel and AMD), read from the Linux powercap tree.

A counter is a few kilojoules to a quarter of a megajoule wide and then starts again at zero. While a window is open it
is therefore followed by a process that reads it every millisecond; what it gained between two reads adds up. Whatever a
counter does that a counter of energy cannot do makes the windows around it invalid.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from tsc_lib.core.cpus import read_cpuinfo
from tsc_lib.energy import follow
from tsc_lib.energy.follow import CounterFile
from tsc_lib.energy.source import Energy, InvalidWindowError, Source, UnusableError, sum_domains
from tsc_lib.energy.zones import ONE_ENERGY_REGISTER, Zone, find_sysfs, find_zones

UPDATE_S = 0.001
"""How often the hardware updates its counters (Intel SDM, volume 3, section 15.10); some systems do so more seldom."""

UPDATES_A_WINDOW = 20
"""Either end of a window is uncertain by one update."""

SHORTEST_S = 0.1

CHANGES = 8
"""Changes of every counter that are watched before the first window."""

PATIENCE_S = 2.0
"""A counter that changes less than three times within this time cannot be used."""

MOST_WATTS = 500.0
MOST_WATTS_A_CPU = 5.0
"""More than a package draws, even for a millisecond: so much, and so much more for every CPU (hardware thread) of it.
Packages of 16 threads are sold with up to 320 W, of 128 with 400 W, of 384 with 500 W."""

CLOSE_UJ = 1_000_000
"""Readings of one register, one soon after the other, are closer than that."""

ANSWER_S = 5.0
"""How long to wait for the process that follows the counters, beside the time that a slow counter takes."""


class Mark(NamedTuple):
    """A window that is open: who follows it, its number, its counters, and what they read at its beginning and a little
    before."""

    follower: subprocess.Popen[bytes] | None
    number: int
    files: list[CounterFile]
    begin_uj: list[int]
    followed_uj: list[int]


class Powercap(Source):
    """RAPL counters; needs a Linux kernel with the powercap driver, and leave to read it.

    Parameters
    ----------
    root : Path, optional
        Where sysfs is mounted; see `find_sysfs` for the default.
    """

    backend = "powercap"
    shortest_window_s = SHORTEST_S

    def __init__(self, root: Path | None = None) -> None:
        self._root = root or find_sysfs()
        self._zones: list[Zone] = []
        self._update_s = UPDATE_S
        self._follower: subprocess.Popen[bytes] | None = None
        self._finalizer: weakref.finalize[..., Powercap] | None = None
        self._owner, self._windows = os.getpid(), 0
        self._lock = threading.Lock()

    def unavailable(self) -> str | None:
        """Why the counters cannot be used, with the line that mends it."""
        try:
            self._examine()
        except UnusableError as reason:
            return str(reason)
        return None

    def resolution_s(self) -> float:
        """Seconds between two updates of the counter that is updated most seldom."""
        return self._update_s

    def start(self) -> Mark:
        """Have the counters followed from now on."""
        if not self._zones:
            self._examine()
        with self._lock:
            self._windows += 1
            files = [zone.open() for zone in self._zones]
            followed = self._ask(f"start {self._windows}")["last_uj"]
            # Read here too: an answer may take its time, which is not part of the window.
            return Mark(self._follower, self._windows, files, [file.energy_uj() for file in files], followed)

    def stop(self, mark: Mark, seconds: float, cpu_seconds: float) -> Energy:
        """What the counters gained since `start`, unless one failed within the window."""
        end, why = self._read_end(mark.files)
        with self._lock:
            if mark.follower is not self._follower:
                raise InvalidWindowError("the process that followed the counters was ended within the window")
            answer = self._ask(f"stop {mark.number}")
        if reason := answer["fault"] or why:
            raise InvalidWindowError(reason)
        domains = {}
        columns = (self._zones, answer["gained_uj"], mark.followed_uj, mark.begin_uj, end, answer["last_uj"])
        for zone, gained, followed, begin, ended, last in zip(*columns, strict=True):
            around = (begin - followed) % zone.range_uj + (last - ended) % zone.range_uj
            domains[zone.domain] = (gained - around) / 1e6
        return sum_domains(domains, seconds, self._update_s)

    def _read_end(self, files: Sequence[CounterFile]) -> tuple[list[int], str | None]:
        """What the counters of a window read, or why that is not known."""
        values = []
        for zone, file in zip(self._zones, files, strict=True):
            try:
                values.append(file.energy_uj())
                if file.removed:
                    raise OSError("it was removed")
            except (OSError, ValueError) as error:
                return [], f"{zone.domain} cannot be read: {error}"
        return values, None

    def _examine(self) -> None:
        """Find the counters, how often they change, and which of them are the same."""
        zones = find_zones(self._root)
        try:
            rows, changes = watch(zones)
        except (OSError, ValueError) as error:
            raise UnusableError(f"a counter was there and is gone: {error}") from None
        for zone, times in zip(zones, changes, strict=True):
            if len(times) < 3:
                raise UnusableError(
                    f"{zone.domain}'s counter does not move, or hardly ever, as in virtual machines that show the "
                    "host's tree but not its energy"
                )
        intervals = [median(b - a for a, b in pairwise(times)) for times in changes]
        mirrors = find_mirrors(zones, rows, read_cpuinfo().get("vendor_id", "an unknown maker"))
        self.warnings = tuple(
            f"{mirror} shows the counter of {first} again and was left out" for mirror, first in mirrors.items()
        )
        self._zones = [zone for zone in zones if zone.domain.partition("/")[0] not in mirrors]
        self._update_s = max(UPDATE_S, *intervals)
        self.shortest_window_s = max(SHORTEST_S, UPDATES_A_WINDOW * self._update_s)
        self.parameters = {"domains": [zone.domain for zone in self._zones]}
        self._end_follower()  # it may follow others
        self._start_follower()  # now, and not when the work is bound to its processors already

    def _ask(self, command: str) -> dict[str, Any]:
        """The follower's answer; the caller holds the lock."""
        if self._owner != os.getpid():  # this process was forked off one whose follower it is
            self._follower = None
        follower = self._follower or self._start_follower()
        assert follower.stdin is not None and follower.stdout is not None
        try:
            os.write(follower.stdin.fileno(), f"{command}\n".encode())
            patience = ANSWER_S + follow.STALL_UPDATES * self._update_s
            ready = select.select([follower.stdout], [], [], patience)[0]
            line = follower.stdout.readline() if ready else b""
        except OSError:
            line = b""
        except BaseException:  # interrupted: its answer would be taken for that of the next question
            self._end_follower()
            raise
        if not line:
            self._end_follower()
            raise InvalidWindowError("the process that follows the counters has ended, or does not answer")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _start_follower(self) -> subprocess.Popen[bytes]:
        packages = {zone.package for zone in self._zones}
        watts = MOST_WATTS + MOST_WATTS_A_CPU * (os.cpu_count() or 1) / len(packages)
        counters = [
            {
                "domain": zone.domain,
                "path": str(zone.path / "energy_uj"),
                "range_uj": zone.range_uj,
                "update_s": self._update_s,
                "most_watts": watts,
            }
            for zone in self._zones
        ]
        self._follower = subprocess.Popen(
            [sys.executable, "-I", "-S", follow.__file__, json.dumps(counters)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # an interrupt is for the work; this ends when its standard input does
        )
        self._owner = os.getpid()
        self._finalizer = weakref.finalize(self, _end, self._follower, self._owner)
        return self._follower

    def _end_follower(self) -> None:
        if self._finalizer is not None:
            self._finalizer()
        self._follower = None


def _end(follower: subprocess.Popen[bytes], owner: int) -> None:
    if os.getpid() != owner:
        return
    follower.kill()
    follower.wait()
    for pipe in (follower.stdin, follower.stdout):
        if pipe is not None:
            pipe.close()


def watch(zones: Sequence[Zone]) -> tuple[list[list[int]], list[list[float]]]:
    """Read counters until each has changed several times, or patience ends.

    Returns
    -------
    tuple
        Readings of all zones at one time, in microjoules, whenever the first had changed; and for each zone the times
        in seconds at which it was seen to change.
    """
    files = [zone.open() for zone in zones]
    last = [file.energy_uj() for file in files]
    rows, changes = [last], [list[float]() for _ in zones]
    end = time.monotonic() + PATIENCE_S
    while min(map(len, changes)) < CHANGES and (now := time.monotonic()) < end:
        values = [file.energy_uj() for file in files]
        for times, value, before in zip(changes, values, last, strict=True):
            if value != before:
                times.append(now)
        if values[0] != rows[-1][0] and values == [file.energy_uj() for file in files]:  # they are of one time
            rows.append(values)
        last = values
        time.sleep(1e-4)
    return rows, changes


def find_mirrors(zones: Sequence[Zone], rows: Sequence[Sequence[int]], vendor: str) -> dict[str, str]:
    """Dies that show the counter of another die of their package once more, and that die.

    Parameters
    ----------
    zones : sequence of Zone
    rows : sequence of sequence of int
        Readings of all zones at one time each, in microjoules.
    vendor : str
        Who made the processor, as Linux calls it.

    Raises
    ------
    UnusableError
        If dies of another maker do so: whether that is one counter or two is not known.
    """
    columns = {zone.domain: [row[i] for row in rows] for i, zone in enumerate(zones)}
    dies = [zone for zone in zones if "-die-" in zone.domain and "/" not in zone.domain]
    mirrors: dict[str, str] = {}
    for i, die in enumerate(dies):
        for first in dies[:i]:
            if first.package == die.package and move_alike(columns[first.domain], columns[die.domain]):
                mirrors[die.domain] = first.domain
                break
    if mirrors and vendor not in ONE_ENERGY_REGISTER:
        mirror, original = next(iter(mirrors.items()))
        raise UnusableError(
            f"{mirror} and {original} read the same, and whether they are two counters is not known of {vendor}"
        )
    return mirrors


def move_alike(first: Sequence[int], second: Sequence[int]) -> bool:
    """Whether two counters, read at the same times, are one: close together, and mostly gaining the same."""
    gains = list(zip((b - a for a, b in pairwise(first)), (b - a for a, b in pairwise(second)), strict=True))
    same = sum(abs(a - b) <= 0.02 * max(a, b) for a, b in gains)
    return abs(first[-1] - second[-1]) <= CLOSE_UJ and same > len(gains) / 2
