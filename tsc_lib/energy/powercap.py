"""Energy measured by the processor's own counters (RAPL of Intel and AMD), read from the Linux powercap tree.

A counter is a few kilojoules to a quarter of a megajoule wide and then starts again at zero. It is therefore followed
by a thread that reads it several times within the shortest time in which it could wrap; what it gained between two
reads adds up. Whatever a counter does that a counter of energy cannot do makes the windows around it invalid.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from pathlib import Path
from typing import NamedTuple

from tsc_lib.energy.source import Energy, InvalidWindowError, Source, UnusableError, change_interval, sum_domains
from tsc_lib.energy.zones import Zone, ZoneFile, find_zones

MAX_UW = 1e9
"""Microwatts; more than any processor package draws: what rises faster is no energy."""

UPDATE_S = 0.001
"""How often the hardware updates its counters (Intel SDM, volume 3, section 15.10)."""

STALL_S = 0.1
"""A package's counter that rests for so long has stopped: even an idle package draws power."""

POLL_S = 0.05

REMEMBERED = 64
"""Faults whose reasons are kept; a counter that is gone makes one in every poll."""


class Mark(NamedTuple):
    """State of the counters when a window opened."""

    totals_uj: list[int]
    faults: int


class Counter:
    """Follows one zone across wraps."""

    def __init__(self, zone: Zone, now: float) -> None:
        self.zone = zone
        self.total_uj = 0
        self._file: ZoneFile | None = zone.open()
        self._last, self._read, self._changed = self._file.energy_uj(), now, now
        self._fault: str | None = None

    def advance(self, now: float) -> str | None:
        """Add what the counter gained since it was read last; if that cannot be told, say why."""
        before = self._fault
        gained, self._fault = self._read_gain(now)
        if self._fault is not None:
            return self._fault
        if before is not None:  # what it gained since then may be of the time before
            return f"{self.zone.domain} has just come back from a fault: {before}"
        self.total_uj += gained
        return None

    def _read_gain(self, now: float) -> tuple[int, str | None]:
        """What the counter gained since it was read last, and why that is not to be trusted."""
        elapsed = now - self._read
        # Two updates of grace: a counter moves in steps, of which a short time may hold one too many.
        most = MAX_UW * (elapsed + 2 * UPDATE_S)
        try:
            if self._file is None:
                self._file = self.zone.open()
            value = self._file.energy_uj()
            if self._gained(value) > most:
                value = self._file.energy_uj()  # the first read may have met a write halfway
        except (OSError, ValueError) as error:
            self._file = None  # it may come back as another file
            return 0, f"{self.zone.domain} cannot be read: {error}"
        gained = self._gained(value)
        previous, self._last, self._read = self._last, value, now
        if value != previous:
            self._changed = now
        elif now - self._changed > 2 * UPDATE_S and self._file.removed:  # one that still moves is there
            self._file = None
            return 0, f"{self.zone.domain} cannot be read: it was removed"
        if gained > most:
            return 0, f"{self.zone.domain} jumped from {previous} to {value} microjoules within {elapsed:.3f} s"
        if gained + self.zone.range_uj <= MAX_UW * elapsed:
            return 0, f"{self.zone.domain} was not read for {elapsed:.3f} s, in which it may have wrapped unseen"
        if now - self._changed > STALL_S and self.zone.is_package:
            return 0, f"{self.zone.domain} has stood still for {now - self._changed:.2f} s"
        return gained, None

    def _gained(self, value: int) -> int:
        gained = value - self._last
        return gained if gained >= 0 else gained + self.zone.range_uj


class Powercap(Source):
    """RAPL counters; needs a Linux kernel with the powercap driver, and leave to read it.

    Parameters
    ----------
    root : Path, optional
        Where sysfs is mounted; by default the folder that ``TSC_SYSFS_ROOT`` names, else ``/sys``.
    """

    backend = "powercap"
    shortest_window_s = 100 * UPDATE_S
    """Either end of a window is uncertain by one update: a hundred of them make two percent at most."""

    def __init__(self, root: Path | None = None) -> None:
        super().__init__()
        self._root = root
        self._counters: list[Counter] = []
        self._faults, self._latest = 0, deque[str](maxlen=REMEMBERED)
        self._lock = threading.Lock()
        self._poller: threading.Thread | None = None

    def unavailable(self) -> str | None:
        """Why the counters cannot be used, with the line that mends it."""
        try:
            self._open()
        except UnusableError as reason:
            return str(reason)
        end = time.monotonic() + STALL_S
        while time.monotonic() < end:
            with self._lock:
                self._advance()
                if all(counter.total_uj for counter in self._counters if counter.zone.is_package):
                    return None
            time.sleep(UPDATE_S)
        return "a package's counter does not move, as in virtual machines that show the host's tree but not its energy"

    def resolution_s(self) -> float | None:
        """Seconds between two updates of the first package's counter."""
        return change_interval(find_zones(self._root)[0].open().energy_uj, STALL_S)

    def start(self) -> Mark:
        """Read the counters, and see to it that they are followed."""
        if not self._counters:
            self._open()
        if self._poller is None or not self._poller.is_alive():
            self._follow()
        with self._lock:
            self._advance()
            return Mark([counter.total_uj for counter in self._counters], self._faults)

    def stop(self, mark: Mark, seconds: float, cpu_seconds: float) -> Energy:
        """What the counters gained since `start`, unless one failed within the window."""
        with self._lock:
            self._advance()
            gained = [c.total_uj - before for c, before in zip(self._counters, mark.totals_uj, strict=True)]
            if new := self._faults - mark.faults:
                raise InvalidWindowError(self._latest[-min(new, len(self._latest))])  # the first of them
        domains = {c.zone.domain: microjoules / 1e6 for c, microjoules in zip(self._counters, gained, strict=True)}
        return sum_domains(domains, seconds, UPDATE_S)

    def _open(self) -> None:
        zones = find_zones(self._root)
        now = time.monotonic()
        try:
            counters = [Counter(zone, now) for zone in zones]
        except (OSError, ValueError) as error:
            raise UnusableError(f"a counter was there and is gone: {error}") from None
        with self._lock:
            self._counters = counters
        self.parameters = {"domains": [zone.domain for zone in zones]}

    def _advance(self) -> None:
        """Bring every counter up to date; the caller holds the lock."""
        for counter in self._counters:
            # Each has its own clock reading: a thread may be held up between two counters.
            fault = counter.advance(time.monotonic())
            if fault is not None:
                self._faults += 1
                self._latest.append(fault)

    def _follow(self) -> None:
        shortest_wrap_s = min(counter.zone.range_uj for counter in self._counters) / MAX_UW
        interval = max(UPDATE_S, min(POLL_S, shortest_wrap_s / 8))
        self._poller = threading.Thread(target=_poll, args=(weakref.ref(self), interval), daemon=True)
        self._poller.start()


def _poll(source: weakref.ref[Powercap], interval: float) -> None:
    """Keep a source's counters up to date for as long as someone holds the source."""
    while (powercap := source()) is not None:
        with powercap._lock:
            powercap._advance()
        del powercap
        time.sleep(interval)
