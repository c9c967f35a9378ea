"""The parent's side of a session: start the child, show its progress, sum up what it measured."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from tsc_lib.benchmark.host import ALLOCATOR, THREAD_VARIABLES, usable_cpus
from tsc_lib.benchmark.settings import CONTROL, BenchmarkSettings, Candidate
from tsc_lib.benchmark.summary import summarise
from tsc_lib.errors import UserError

Session = dict[str, Any]
"""A JSON-able session: ``host``, ``settings``, ``energy``, ``reference``, and ``results``, a list with one dictionary
per batch size and candidate that `tsc_lib.benchmark.summary.summarise` describes."""


def run_session(
    reference: Candidate,
    candidates: list[Candidate],
    inputs: Path,
    settings: BenchmarkSettings | None = None,
    *,
    progress: bool | None = None,
) -> Session:
    """Measure candidates side by side against a reference, in a process of their own.

    Sessions on one host wait for one another. Nothing is written: the caller stores what is returned.

    Parameters
    ----------
    reference : Candidate
        What the others are compared with; also measured as its own control.
    candidates : list of Candidate
        Those that fail are reported as such and do not end the session.
    inputs : Path
        The sample that `save_inputs` wrote.
    settings : BenchmarkSettings, optional
    progress : bool, optional
        Whether to draw progress bars; by default on a terminal only.

    Returns
    -------
    dict
        See `Session`.

    Raises
    ------
    UserError
        If the reference fails, or the child ends before its result.
    """
    settings = settings or BenchmarkSettings()
    names = [reference.name, CONTROL, *(candidate.name for candidate in candidates)]
    if len(set(names)) < len(names):
        raise UserError(f"a session needs different names for the reference, {CONTROL!r} and each candidate: {names}")
    if settings.threads > len(usable_cpus()):
        raise UserError(
            f"the benchmark asks for {settings.threads} threads, but this process may use "
            f"{len(usable_cpus())} CPUs; lower 'threads'"
        )
    job = {
        "reference": asdict(reference),
        "candidates": [asdict(candidate) for candidate in candidates],
        "inputs": str(inputs.resolve()),
        "settings": asdict(settings) | {"batch_sizes": list(settings.batch_sizes)},
    }
    raw = run_child(job, progress)
    return {
        "host": raw["host"],
        "settings": job["settings"],
        "energy": raw["energy"],
        "reference": reference.name,
        "results": summarise(raw, seed=settings.seed),
    }


def run_child(job: dict[str, Any], progress: bool | None) -> dict[str, Any]:
    """Start the child, give it the job and return its result."""
    environment = dict(os.environ)
    if job["settings"]["allocator"] == "kept":
        environment |= ALLOCATOR
    environment |= dict.fromkeys(THREAD_VARIABLES, str(job["settings"]["threads"]))
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))  # the child imports what its parent can
    command = [sys.executable, "-m", "tsc_lib.benchmark.child"]
    with tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        )
        assert child.stdin and child.stdout
        try:
            # The pipe stays open: its closing, by us or by our death, is what ends the child.
            child.stdin.write(json.dumps(job) + "\n")
            child.stdin.flush()
            result, doing = follow(child.stdout, progress)
        finally:
            child.kill()  # a no-op unless we were interrupted
            child.wait()
            child.stdin.close()
            child.stdout.close()
        if result is None:
            errors.seek(0)
            raise UserError(how_it_ended(child.returncode, doing, errors.read()))
    return result


def follow(answers: IO[str], progress: bool | None) -> tuple[dict[str, Any] | None, str]:
    """Show what the child tells until it ends; its result if it gave one, and what it was last doing."""
    result: dict[str, Any] | None = None
    doing, stage, bar = "starting", "", None
    try:
        for line in answers:
            answer = json.loads(line)
            if answer["event"] == "note":
                print(answer["message"], file=sys.stderr, flush=True)
            elif answer["event"] == "error":
                raise UserError(answer["message"])
            elif answer["event"] == "result":
                result = answer["result"]
            else:
                if stage != answer["stage"]:
                    if bar is not None:
                        bar.close()
                    stage = answer["stage"]
                    bar = tqdm(total=answer["total"], desc=stage, disable=None if progress is None else not progress)
                assert bar is not None
                bar.set_postfix_str(answer["name"], refresh=False)
                bar.update(answer["done"] - bar.n)
                doing = f"{stage} {answer['name']}".strip()
    finally:
        if bar is not None:
            bar.close()
    return result, doing


def how_it_ended(code: int, doing: str, errors: str) -> str:
    """One sentence on a child that ended without a result."""
    if code < 0:
        name = signal.Signals(-code).name
        return f"the benchmark's process was ended by {name} (while {doing}) and nothing of it was kept; run it again"
    last = next((line.strip() for line in reversed(errors.splitlines()) if line.strip()), "no message")
    return f"the benchmark's process failed (while {doing}): {last}"
