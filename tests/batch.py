"""A report that was killed twice and then finished: what tests of the batch and of the notebooks look at."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open

from tsc_lib.study.profiles import PROFILES


@dataclass(frozen=True)
class Batch:
    """The folder of a finished report, and what was seen before it was finished.

    Attributes
    ----------
    outputs : Path
        Where everything went.
    profile : Path
        The smoke profile with more epochs: its own two are over before anyone sees their checkpoint.
    begun : list of dict
        The epochs that were over when the first run was killed in training.
    second : str
        What the second run printed, until it was killed in a benchmark session.
    trained : dict of Path to int
        The records of trainings then, with the time of their last change.
    """

    outputs: Path
    profile: Path
    begun: list[dict[str, Any]]
    second: str
    trained: dict[Path, int]


def start(outputs: Path, profile: Path) -> subprocess.Popen[str]:
    """A report in a process group of its own."""
    command = [sys.executable, "-m", "tsc_lib", "report", "--profile", str(profile)]
    environment = {**os.environ, "TSC_OUTPUTS": str(outputs)}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def kill_when(process: subprocess.Popen[str], outputs: Path, pattern: str) -> str:
    """Kill a batch, and all that it started, as soon as a file exists; returns what it printed."""
    while not list(outputs.glob(pattern)):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    return process.communicate()[0]


def make(outputs: Path) -> Batch:
    """Start a report in an empty folder, kill it in training, again in measuring, and let it end."""
    profile = outputs / "longer.yaml"
    profile.write_text((PROFILES / "smoke.yaml").read_text().replace("epochs: 2,", "epochs: 100,"))
    kill_when(start(outputs, profile), outputs, "store/train/*.partial/checkpoint.safetensors")
    [checkpoint] = outputs.glob("store/train/*.partial/checkpoint.safetensors")
    with safe_open(checkpoint, framework="np") as file:
        begun = json.loads(file.metadata()["history"])
    second = kill_when(start(outputs, profile), outputs, "store/benchmark/*.partial/inputs.npz")
    trained = {path: path.stat().st_mtime_ns for path in outputs.glob("store/train/*/record.json")}
    final = start(outputs, profile)
    printed = final.communicate()[0]
    assert final.returncode == 0, printed
    return Batch(outputs, profile, begun, second, trained)
