"""How far a batch is, and how long it may still take: its log, of which each line of ours is shown."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tsc_lib.core.progress import MARK
from tsc_lib.study.plan import Job

logger = logging.getLogger(__name__)

LOOK_S = 0.5
"""Seconds between two looks into the log."""

SILENT_S = 60.0
"""Seconds without a line after which one tells how far the batch is, if that has changed."""

ERROR = "error: "
"""How the one sentence begins by which a command of ours fails."""


@contextmanager
def tell_progress(jobs: Sequence[Job], done: Path, log: Path) -> Iterator[None]:
    """Within it, what jobs write to the log is told with how many of them are done and how long the others may take.

    Parameters
    ----------
    jobs : sequence of Job
        Of the plan.
    done : Path
        Folder in which a file ``<stage>/<name>`` says that a job is done.
    log : Path
        File that the batch writes to; of its lines, those of ours are told. On a cluster jobs have logs of their own.
    """
    ended, teller = threading.Event(), _Teller(jobs, done, log)

    def watch() -> None:
        while not ended.wait(LOOK_S):
            teller.tell_new_lines()
            if time.monotonic() - teller.said_at > SILENT_S:
                teller.tell_change()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        teller.tell_new_lines()


class _Teller:
    def __init__(self, jobs: Sequence[Job], done: Path, log: Path) -> None:
        self.jobs, self.done, self.log = jobs, done, log
        self.before, self.started = find_done(jobs, done), time.monotonic()
        self.said, self.said_at, self.read, self.last = self.before, self.started, 0, ""

    def tell_new_lines(self) -> None:
        with self.log.open("rb") as file:
            file.seek(self.read)
            whole, end, _ = file.read().rpartition(b"\n")
        self.read += len(whole + end)
        for line in whole.decode(errors="replace").splitlines():
            if line.startswith(ERROR):
                logger.error(line)
            elif line.startswith(MARK) and line != self.last:
                logger.info("%s · %s", self._describe(), line.removeprefix(MARK))
            self.last = line

    def tell_change(self) -> None:
        before, text = self.said, self._describe()
        if self.said != before:
            logger.info(text)

    def _describe(self) -> str:
        self.said, self.said_at = find_done(self.jobs, self.done), time.monotonic()
        return describe_progress(self.jobs, self.before, self.said, self.said_at - self.started)


def find_done(jobs: Sequence[Job], done: Path) -> set[str]:
    """The names of the jobs that are done, with their stages."""
    there = {stage: {path.name for path in done.glob(f"{stage}/*")} for stage in {job.stage for job in jobs}}
    return {f"{job.stage}/{job.name}" for job in jobs if job.name in there[job.stage]}


def describe_progress(jobs: Sequence[Job], before: set[str], now: set[str], elapsed_s: float) -> str:
    """How many jobs are done, and how long the others may take.

    What the jobs that were done meanwhile were expected to take, beside the time that went by, tells how many work at
    the same time; jobs of which nothing is known count as the mean of the others.

    Examples
    --------
    >>> jobs = [Job(f"j{i}", "prepare", "A", "T1", i, seconds=600.0) for i in range(4)]
    >>> describe_progress(jobs, {"prepare/j0"}, {"prepare/j0", "prepare/j1"}, 300.0)
    '2 of 4 jobs, about 10 min left'
    """
    known = [job.seconds for job in jobs if job.seconds]
    usual = sum(known) / len(known) if known else 1.0
    expected = {f"{job.stage}/{job.name}": job.seconds or usual for job in jobs}
    spent, left = (sum(expected[name] for name in names) for names in (now - before, expected.keys() - now))
    text = f"{len(now)} of {len(jobs)} jobs"
    if not spent or not left:
        return text
    hours, minutes = divmod(max(1, round(left * elapsed_s / spent / 60)), 60)
    return f"{text}, about {f'{hours} h ' if hours else ''}{minutes} min left"
