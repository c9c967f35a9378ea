"""The plan of a batch: jobs, what they need, their order, and what is told of their progress."""

from __future__ import annotations

import logging
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tsc_lib.benchmark import place
from tsc_lib.benchmark.host import Machine, describe_machine
from tsc_lib.benchmark.place import Place, find_place
from tsc_lib.core import store
from tsc_lib.report import progress
from tsc_lib.report.progress import find_done
from tsc_lib.study import Study
from tsc_lib.study.plan import make_plan, record_seconds
from tsc_lib.study.profiles import load_profile


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Two networks and a classic on two data sets, two seeds."""
    monkeypatch.setattr(store, "OUTPUTS", tmp_path)
    profile = load_profile("smoke")
    choices = (*profile.datasets, replace(profile.datasets[0], name="ACSF1"))
    return Study(replace(profile, datasets=choices, models=("T1", "T2", "QUANT")))


def test_a_run_is_measured_once_what_stands_beside_it_is_prepared(study: Study) -> None:
    jobs = make_plan(study)
    assert len({(job.stage, job.name) for job in jobs}) == len(jobs) == 2 * 2 * (3 + 2)
    prepared = {job.name for job in jobs if job.stage == "prepare"}
    for job in jobs:
        assert len(job.needs) == {"prepare": 0, "benchmark": 3 if job.model == "T1" else 1}[job.stage]
        assert set(job.needs) <= prepared
        assert all(f"{job.dataset}-" in need and f"-s{job.seed}-" in need for need in job.needs)


def test_the_longest_job_is_the_first_once_it_is_known_how_long_jobs_take(study: Study) -> None:
    before = sorted(make_plan(study), key=lambda job: -job.rank)
    assert all(job.seconds is None for job in before)
    assert [job.model for job in before[:2]] == ["T2", "T2"] and before[0].dataset == "ACSF1", "most layers and bytes"
    assert [job.stage for job in before[:12]] == ["prepare"] * 12
    [slow] = [run for run in study.all_runs if (run.data.name, run.model, run.seed) == ("ItalyPowerDemand", "QUANT", 1)]
    record_seconds("prepare", slow, 5000.0)
    record_seconds("prepare", slow, 3.0)  # found most of it done
    after = make_plan(study)
    first = max(after, key=lambda job: job.rank)
    known = {(job.dataset, job.model, job.seed): job.seconds for job in after if job.stage == "prepare"}
    assert known["ItalyPowerDemand", "QUANT", 1] == 5000.0
    assert known["ItalyPowerDemand", "QUANT", 0] == pytest.approx(5000.0), "the same model on as much data"
    assert first.seconds == max(seconds for seconds in known.values() if seconds)
    assert all(job.seconds is None for job in after if job.stage == "benchmark")
    [other] = [run for run in study.all_runs if (run.data.name, run.model, run.seed) == ("ACSF1", "QUANT", 0)]
    record_seconds("prepare", other, 7.0)
    again = {job.dataset: job.seconds for job in make_plan(study) if (job.stage, job.model) == ("prepare", "QUANT")}
    assert again == pytest.approx({"ItalyPowerDemand": 5000.0, "ACSF1": 7.0}), "as long as another seed took"


def test_progress_is_told_while_jobs_are_done(
    study: Study, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LOOK_S", 0.05)
    monkeypatch.setattr(progress, "SILENT_S", 0.1)
    jobs = make_plan(study)
    for stage in ("prepare", "benchmark"):
        (tmp_path / stage).mkdir()
    (tmp_path / "prepare" / "of another profile").touch()
    assert find_done(jobs, tmp_path) == set()
    (log := tmp_path / "log").write_text("Building DAG of jobs...\n")

    def wait_for(lines: int) -> None:
        end = time.monotonic() + 10
        while len(caplog.messages) < lines and time.monotonic() < end:
            time.sleep(0.02)

    with caplog.at_level(logging.INFO, "tsc_lib"), progress.tell_progress(jobs, tmp_path, log):
        (tmp_path / "prepare" / jobs[0].name).touch()
        wait_for(1)
        with log.open("a") as file:
            file.write("Finished jobid: 3\ntsc_lib: A-T1-s0 · baseline, 1 of 2 · 3 s\nerror: no room\nhalf a li")
        wait_for(3)
        with log.open("a") as file:
            file.write("ne\ntsc_lib: the last")
            file.write(" word\n")
    first, line, error, last = caplog.messages
    assert re.fullmatch(r"1 of 20 jobs, about \d+ min left", first)
    assert line == f"{first} · A-T1-s0 · baseline, 1 of 2 · 3 s" and error == "error: no room"
    assert last.endswith(" · the last word")


def test_results_are_loaded_from_where_they_were_measured(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    run, other = study.runs[0], study.runs[1]
    here, away = find_place(), Place(Machine("another processor", describe_machine().versions), {"backend": "rapl"})
    with place.taking(away):
        place.record_place(run.file_name)
    assert find_place() == here
    with study.where(run):
        assert find_place() == here, "on one machine a place is never another"
    monkeypatch.setenv(place.ANY_NODE, "1")
    with place.taking(away):
        place.record_place(run.file_name)
    with study.where(run):
        assert find_place() == away
        with study.where(other):
            assert find_place() == away, "a session has one place"
    with study.where(other):
        assert find_place() == here
    assert study.list_processors() == ["another processor", *[here.machine.cpu_model] * (len(study.runs) - 1)]
