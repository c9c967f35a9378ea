"""One line tells how far a command is: unit, stage, which of all, time so far and what is left."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from tsc_lib import cli
from tsc_lib.arguments import parser
from tsc_lib.core.errors import run_command
from tsc_lib.core.progress import Progress, track

logger = logging.getLogger("tsc_lib.tests")


def test_what_is_left_follows_from_steps_or_from_what_a_stage_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("tsc_lib.core.progress.time.monotonic", lambda: now)
    progress = Progress("A-T1-s0", ["training", "measuring"])
    progress.begin("training")
    now = 130.0
    assert progress.describe("A-T1-s0: training") == "A-T1-s0 · training, 1 of 2 · 30 s"
    said = progress.describe("epoch 3 of 9", (3, 9))
    assert said == "A-T1-s0 · training, 1 of 2 · epoch 3 of 9 · 30 s · about 1 min 0 s left of this stage"
    progress.begin("measuring", seconds=20)
    now = 145.0
    assert progress.describe("windows").endswith("measuring, 2 of 2 · windows · 45 s · about 5 s left of this stage")


def test_messages_become_lines_and_warnings_stay(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        logger.info("before")
        with track("A-T1-s0", ["one", "two"]) as begin:
            begin("two")
            logger.info("epoch 1 of 2", extra={"steps": (2, 2)})
            logger.warning("mind this")
        logger.info("after")

    assert run_command(work) == 0
    lines = ["before", "A-T1-s0 · two, 2 of 2 · epoch 1 of 2 · 0 s", "mind this", "after"]
    assert capsys.readouterr().err.splitlines() == lines


def test_the_help_says_that_finalists_come_after_the_budget(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["optimize", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "After the budget" in told and "finalists are measured, and the promise made, after it" in told


@pytest.mark.sessions
def test_an_export_tells_its_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tsc_lib.core.store.OUTPUTS", tmp_path)
    monkeypatch.setattr("tsc_lib.benchmark.BenchmarkSettings.blocks", 3)
    command = ["export", str(tmp_path / "model"), "--dataset", "ItalyPowerDemand", "--epochs", "1"]
    assert cli.main([*command, "--runtime", "eager", "--batch-sizes", "1"]) == 0
    lines = capsys.readouterr().err.splitlines()
    found = [match[1] for line in lines if (match := re.match(r"ItalyPowerDemand-T1-s0 · (\w+, \d of 5)", line))]
    assert list(dict.fromkeys(found))[:1] == ["training, 1 of 5"] and found[-1] == "measuring, 4 of 5"
    assert "converting, 3 of 5" in found and found == sorted(found, key=lambda each: each.partition(", ")[2])
    assert any("epoch 1 of 1" in line for line in lines)
