"""The parent's side of a session: start the child, show its progress, sum up what it measured."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import IO

from tsc_lib.benchmark.host import ALLOCATOR, Host, describe_pauses, make_environment
from tsc_lib.benchmark.measurement import RawCandidate, RawSession, Session, summarise
from tsc_lib.benchmark.settings import ATTEMPTS, CONTROL, BenchmarkSettings, Candidate, Job
from tsc_lib.core.cpus import count_usable_cpus, describe_cpu_quota
from tsc_lib.core.errors import UserError

logger = logging.getLogger(__name__)

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Signals by which somebody asks a process to stop; another one is a crash, or the system short of memory."""

PATIENCE_S = 10.0
"""How long a child that told no result may take to end by itself, so that its exit code says how."""


class Crash(UserError):
    """The child crashed while it was busy with one candidate, the reference or its control.

    Attributes
    ----------
    name : str
        Which one.
    why : str
        How the child ended and what it was doing.
    """

    def __init__(self, message: str, name: str, why: str) -> None:
        super().__init__(message)
        self.name, self.why = name, why


def run_session(
    reference: Candidate,
    candidates: list[Candidate],
    inputs: Path,
    settings: BenchmarkSettings | None = None,
) -> Session:
    """Measure candidates side by side against a reference, in a process of their own.

    Sessions on one host wait for one another. Whether one is measured again is decided by its control alone, before any
    ratio of a candidate is looked at; see `BenchmarkSettings.widest`. Nothing is written: the caller stores what is
    returned.

    Parameters
    ----------
    reference : Candidate
        What the others are compared with; also measured as its own control.
    candidates : list of Candidate
        Those that fail are reported as such and do not end the session. One that crashes its process is left out of
        a second attempt, which measures all the others anew.
    inputs : Path
        The sample that `save_inputs` wrote.
    settings : BenchmarkSettings, optional

    Returns
    -------
    Session
        Its measurements in the order of the candidates, after the reference and its control.

    Raises
    ------
    UserError
        If the reference fails or crashes, or the child ends otherwise before its result.
    """
    settings = settings or BenchmarkSettings()
    names = [reference.name, CONTROL, *(candidate.name for candidate in candidates)]
    if len(set(names)) < len(names):
        raise UserError(f"a session needs different names for the reference, {CONTROL!r} and each candidate: {names}")
    check_threads(settings)
    job, sessions = Job(reference, tuple(candidates), str(inputs.resolve()), settings), []
    for attempt in range(1, ATTEMPTS + 1):
        raw = run_past_crashes(job)
        for batch in raw["batches"]:
            batch["runners"].sort(key=lambda runner: names.index(runner["name"]))
        host = Host(**raw["host"])
        if pauses := describe_pauses(host):
            logger.warning(pauses)
        sessions.append(Session(host, settings, raw["energy"], reference.name, summarise(raw)))
        width = sessions[-1].control_width
        if not settings.widest or width <= settings.widest or attempt == ATTEMPTS:
            break
        logger.warning(f"the control is uncertain by {100 * width:.1f} %: the session is measured again")
    return min(sessions, key=lambda session: session.control_width)


def check_threads(settings: BenchmarkSettings) -> None:
    """Refuse more threads than can work at the same time.

    Raises
    ------
    UserError
    """
    if settings.threads > (cpus := count_usable_cpus()):
        why = describe_cpu_quota() or f"this process may use {cpus} CPUs"
        raise UserError(f"the benchmark asks for {settings.threads} threads, but {why}; lower 'threads' to {cpus}")


def run_past_crashes(job: Job) -> RawSession:
    """The result of a child that did not crash, with the candidates that made earlier ones crash added as failed."""
    crashed: list[RawCandidate] = []
    while True:
        left = tuple(each for each in job.candidates if each.name not in [runner["name"] for runner in crashed])
        try:
            raw = run_child(replace(job, candidates=left))
        except Crash as crash:
            if crash.name not in [each.name for each in left]:  # the reference or its control
                raise
            crashed.append(
                {"name": crash.name, "failure": crash.why, "sweeps": 1, "windows": {}, "invalid": [], "latency_ms": []}
            )
            logger.warning("%s; the session starts again without it", crash.why)
        else:
            for batch in raw["batches"]:
                batch["runners"] += crashed
            return raw


def run_child(job: Job) -> RawSession:
    """Start the child, give it the job and return its result."""
    environment = make_environment(job.settings.threads)
    if job.settings.allocator == "kept":
        environment |= ALLOCATOR
    command = [sys.executable, "-m", "tsc_lib.benchmark.child"]
    with tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        )
        assert child.stdin and child.stdout
        try:
            # The pipe stays open: its closing, by us or by our death, is what ends the child.
            child.stdin.write(json.dumps(job.to_json()) + "\n")
            child.stdin.flush()
            result, doing, name = follow(child.stdout)
            if result is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(PATIENCE_S)
        finally:
            child.kill()  # a no-op unless we were interrupted, or it does not end
            child.wait()
            child.stdin.close()
            child.stdout.close()
        if result is None:
            errors.seek(0)
            raise describe_end(child.returncode, doing, name, errors.read())
    return result


def follow(answers: IO[str]) -> tuple[RawSession | None, str, str]:
    """Log what the child tells until it ends; its result if it gave one, what it was last doing and with which one."""
    result: RawSession | None = None
    doing, name = "starting", ""
    for line in answers:
        if not line.endswith("\n"):  # it was killed in the middle of an answer
            break
        answer = json.loads(line)
        if answer["event"] == "note":
            logger.warning(answer["message"])
        elif answer["event"] == "error":
            raise UserError(answer["message"])
        elif answer["event"] == "result":
            result = answer["result"]
        else:
            doing, name = answer["doing"], answer["name"]
            said = f"{answer['stage']}, {answer['done']} of {answer['total']}: {doing}"
            logger.info(said, extra={"steps": (answer["done"], answer["total"])})
    return result, doing, name


def describe_end(code: int, doing: str, name: str, errors: str) -> UserError:
    """What to raise of a child that ended without a result while it was busy with `name`, empty for none."""
    if code >= 0:
        last = next((line.strip() for line in reversed(errors.splitlines()) if line.strip()), "no message")
        return UserError(f"the benchmark's process failed (while {doing}): {last}")
    ended = f"ended by {signal.Signals(-code).name}"
    message = f"the benchmark's process was {ended} (while {doing}) and nothing of it was kept; run it again"
    if -code in STOPPING or not name:
        return UserError(message)
    return Crash(message, name, f"the process was {ended} while {doing}")
