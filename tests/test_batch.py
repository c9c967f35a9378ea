"""A batch that was killed twice goes on, and runs every notebook to its end."""

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

import pandas as pd
import pytest
from safetensors import safe_open
from test_notebooks import NOTEBOOKS, code

from tsc_lib.search.plan import LEAST_EPOCHS, LEAST_FOLDS
from tsc_lib.study.profiles import PROFILES, load_profile
from tsc_lib.study.schema import COLUMNS

pytestmark = pytest.mark.notebooks


@dataclass(frozen=True)
class Batch:
    """The folder of a finished report, and what was seen before it was finished.

    Attributes
    ----------
    outputs : Path
        Where everything went.
    profile : Path
        A file with the smoke profile with more epochs: its own two are over before anyone sees their checkpoint.
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

    @property
    def name(self) -> str:
        """The profile's name, with a key of its place."""
        return load_profile(str(self.profile)).name


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
    smoke = (PROFILES / "smoke.yaml").read_text().partition("\nshapes:")[0]  # which are trained as often
    profile.write_text(smoke.replace("epochs: 2,", "epochs: 100,"))
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


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    """A report that was killed twice and then finished."""
    return make(tmp_path_factory.mktemp("batch"))


def test_a_killed_batch_goes_on_and_a_finished_one_is_not_repeated(batch: Batch) -> None:
    assert "epoch 100 of 100" in batch.second
    [record] = batch.trained  # a seed is measured before the next one begins
    for epoch, before in zip(json.loads(record.read_text())["history"], batch.begun, strict=False):
        assert epoch["seconds"] == before["seconds"]  # it was not trained again
    assert {path: path.stat().st_mtime_ns for path in batch.trained} == batch.trained
    assert (batch.outputs / "report" / batch.name / "index.html").exists()
    assert batch.name in (batch.outputs / "report" / "index.html").read_text()
    jobs = [json.loads(path.read_text())["job"] for path in batch.outputs.glob("store/train/*/record.json")]
    # Notebook 02 trains a model of its own, for two epochs; notebook 13 one, and two more for its promise.
    searched = [(LEAST_EPOCHS, seed) for seed in range(1 + LEAST_FOLDS)]
    found = sorted((job["train"]["epochs"], job["seed"]) for job in jobs)
    assert found == [(2, 0), *searched, (100, 0), (100, 1)]
    table = pd.read_csv(batch.outputs / "tables" / batch.name / "results.csv")
    assert list(table.columns) == COLUMNS
    assert set(table.status) == {"ok"}
    assert len(table) == 2 * 8 * 2  # seeds, variants, batch sizes

    again = start(batch.outputs, batch.profile)
    output = again.communicate()[0]
    assert again.returncode == 0, output
    assert "epoch" not in output
    assert not list(batch.outputs.glob("store/*/*.partial"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_as_part_of_the_batch(path: Path, batch: Batch) -> None:
    cells = code(batch.outputs / "notebooks" / batch.name / path.name)
    assert all(cell.execution_count for cell in cells)
    results = [output for cell in cells for output in cell.outputs if "data" in output]
    assert any("image/png" in output.data for output in results)
    prose = [output.data["text/markdown"] for output in results if "text/markdown" in output.data]
    assert prose and not any("nan" in text.lower().split() for text in prose)
    figures = batch.outputs / "figures" / batch.name
    shown = {figure.stem for figure in figures.glob(f"{path.stem[:2]}_*")}
    for name in shown:
        for kind in ("svg", "png", "csv"):
            assert (figures / f"{name}.{kind}").stat().st_size > 0
    assert shown
