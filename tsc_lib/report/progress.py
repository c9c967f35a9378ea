"""How far a batch is, and how long it may still take."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tsc_lib.study.plan import Job

logger = logging.getLogger(__name__)

EVERY_S = 60.0
"""Seconds between two looks at what is done."""


@contextmanager
def tell_progress(jobs: Sequence[Job], done: Path, every_s: float = EVERY_S) -> Iterator[None]:
    """Within it, a line tells now and then how many jobs are done and about how long the others may take.

    Parameters
    ----------
    jobs : sequence of Job
        Of the plan.
    done : Path
        Folder in which a file ``<stage>/<name>`` says that a job is done.
    every_s : float
        Seconds between two looks; nothing is said where nothing has changed.
    """
    ended, started, before = threading.Event(), time.monotonic(), find_done(jobs, done)

    def watch() -> None:
        said = before
        while not ended.wait(every_s):
            now = find_done(jobs, done)
            if now != said:
                said = now
                logger.info(describe_progress(jobs, before, now, time.monotonic() - started))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


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
    '2 of 4 jobs are done; about 10 min left'
    """
    known = [job.seconds for job in jobs if job.seconds]
    usual = sum(known) / len(known) if known else 1.0
    expected = {f"{job.stage}/{job.name}": job.seconds or usual for job in jobs}
    spent, left = (sum(expected[name] for name in names) for names in (now - before, expected.keys() - now))
    text = f"{len(now)} of {len(jobs)} jobs are done"
    if not spent or not left:
        return text
    hours, minutes = divmod(max(1, round(left * elapsed_s / spent / 60)), 60)
    return f"{text}; about {f'{hours} h ' if hours else ''}{minutes} min left"
