"""Energy measured by the kernel's ``power`` events through `perf`, where the powercap tree is absent.

Each window runs a ``perf stat`` of its own, which waits until it is told to count and tells when it does, so that its
start is not part of the window.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from typing import IO

from tsc_lib.core.cpus import read_cpuinfo
from tsc_lib.energy.source import Energy, InvalidWindowError, Source, sum_domains
from tsc_lib.energy.zones import ONE_ENERGY_REGISTER, find_sysfs, list_packages

EVENTS = {"power/energy-pkg/": "package", "power/energy-ram/": "dram"}
COMMAND = ("perf", "stat", "-a", "-x", ";", "-e")
TIMEOUT_S = 5.0
COUNTED = 99.9
"""Percent of the time that an event must be counted; events that share a register take turns, and are scaled up."""

EDGE_S = 0.002
"""Uncertainty of either end of a window: perf answers within about a millisecond."""


@dataclass
class Recording:
    """A `perf stat` that counts."""

    process: subprocess.Popen[bytes]
    control: int
    answers: int
    output: IO[str]

    def tell(self, command: str) -> None:
        """Send a command and wait until perf has obeyed."""
        os.write(self.control, f"{command}\n".encode())
        if not select.select([self.answers], [], [], TIMEOUT_S)[0] or not os.read(self.answers, 16):
            raise InvalidWindowError(f"perf did not answer to {command!r}: {self.end() or 'it said nothing'}")

    def end(self) -> str:
        """Stop perf and return what it wrote."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for descriptor in (self.control, self.answers):
            os.close(descriptor)
        with self.output:
            self.output.seek(0)
            return self.output.read().strip()


class Perf(Source):
    """The kernel's ``power/energy-*/`` events, over all processor packages."""

    backend = "perf"
    shortest_window_s = 1.0

    def __init__(self) -> None:
        self._events: list[str] = []

    def unavailable(self) -> str | None:
        """Why perf cannot tell energy here."""
        if shutil.which("perf") is None:
            return "perf is not installed (Debian: linux-perf, Ubuntu: linux-tools-generic)"
        reasons = []
        for event in EVENTS:
            try:
                done = subprocess.run(
                    [*COMMAND, event, "true"], capture_output=True, text=True, timeout=TIMEOUT_S, env=_environment()
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                return f"perf cannot be run: {error}"
            try:
                parse(done.stderr, [event])
                self._events.append(event)
            except InvalidWindowError as reason:
                reasons.append(str(reason))
        if "power/energy-pkg/" not in self._events:
            return reasons[0]
        if sums_mirrors():
            return "perf adds up the dies of a package, which on this processor all show the package's one counter"
        self.parameters = {"events": list(self._events)}
        return None

    def start(self) -> Recording:
        """Start perf, and have it count."""
        if not self._events and (reason := self.unavailable()):
            raise InvalidWindowError(reason)
        their_control, control = os.pipe()
        answers, their_answers = os.pipe()
        output = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `Recording.end`
        theirs = (their_control, their_answers)
        command = [*COMMAND, ",".join(self._events), "--delay", "-1", "--control", "fd:{},{}".format(*theirs)]
        try:
            process = subprocess.Popen(command, stderr=output, pass_fds=theirs, env=_environment())
        finally:
            os.close(their_control)
            os.close(their_answers)
        recording = Recording(process, control, answers, output)
        recording.tell("enable")
        return recording

    def stop(self, mark: Recording, seconds: float, cpu_seconds: float) -> Energy:
        """Have perf stop, and read what it counted."""
        mark.tell("disable")
        return sum_domains(parse(mark.end(), self._events), seconds, EDGE_S)


def _environment() -> dict[str, str]:
    """That of a perf which writes numbers with a point, whatever the language here."""
    return {**os.environ, "LC_ALL": "C"}


def sums_mirrors() -> bool:
    """Whether perf reads more counters than there are packages, on a processor that has one for each package."""
    root = find_sysfs()
    try:
        mask = (root / "bus" / "event_source" / "devices" / "power" / "cpumask").read_text()
    except OSError:
        return False
    ends = [part.strip().split("-") for part in mask.split(",")]
    read = sum(int(end[-1]) - int(end[0]) + 1 for end in ends)
    packages = len(list_packages(root))
    return 0 < packages < read and read_cpuinfo().get("vendor_id") in ONE_ENERGY_REGISTER


def parse(said: str, events: list[str]) -> dict[str, float]:
    """Joules by domain from the output of ``perf stat -x ';'``.

    Raises
    ------
    InvalidWindowError
        If an event is missing, is not a number of joules, or was not counted throughout.
    """
    domains = {}
    for event in events:
        fields = next((f for line in said.splitlines() if len(f := line.split(";")) > 2 and f[2] == event), None)
        if fields is None:
            words = " ".join(said.replace("\\___", ":").split("\n\n")[0].split()) or "it said nothing"
            raise InvalidWindowError(
                f"perf does not count {event} ({words}); virtual machines have no such event, and where it is only "
                "forbidden: sudo sysctl kernel.perf_event_paranoid=0"
            )
        try:
            joules = float(fields[0])
        except ValueError:
            raise InvalidWindowError(f"perf says {fields[0]!r} of {event}: this machine does not offer it") from None
        if fields[1] != "Joules" or not 0 <= joules < float("inf"):
            raise InvalidWindowError(f"perf says {fields[0]} {fields[1]!r} of {event}, which is no energy")
        if len(fields) > 4 and fields[4] and float(fields[4]) < COUNTED:
            raise InvalidWindowError(f"perf counted {event} {fields[4]} % of the time, and guessed the rest")
        domains[EVENTS[event]] = joules
    return domains
