"""The command line and the batch: one sentence for bad input, and a killed run that goes on."""

from __future__ import annotations

import argparse
import fcntl
import logging
import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from test_runtimes import without_the_study

from tsc_lib import __version__, cli
from tsc_lib.compress import STEPS
from tsc_lib.core import store
from tsc_lib.study import Study


def sentence(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command that must fail says."""
    assert cli.main(list(arguments)) == 1
    captured = capsys.readouterr()
    [line] = [line for line in captured.err.splitlines() if line.startswith("error:")]
    assert "Traceback" not in captured.err
    return line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("report --profile papper", "there is no profile 'papper'"),
        ("report --cores 0", "--cores must be a whole number from 1 to 1,024, not 0"),
        ("data Plaidd", "'Plaidd' is neither a folder nor a known UCR/UEA problem (did you mean PLAID"),
        ("data ./nowhere", "there is no folder"),
        ("run --dataset ItalyPowerDemand --model T7", "unknown model 'T7'"),
        ("run --dataset ItalyPowerDemand --recipe shrink(2)", "unknown method 'shrink'"),
        ("run --dataset ItalyPowerDemand --recipe int8(static) --runtime eager", "eager does not execute int8 static"),
        ("export out --dataset ItalyPowerDemand --runtime tpu", "unknown runtime 'tpu'"),
        ("predict ./nowhere x.csv", "there is no folder nowhere; give one that 'export' wrote"),
        ("run --dataset ItalyPowerDemand --scaling minmax", "unknown scaling 'minmax'"),
        ("run --dataset ItalyPowerDemand --epochs 0", "'epochs' must be a whole number from 1 to 100,000, not 0"),
        (
            "run --dataset ItalyPowerDemand --batch-sizes 0",
            "'batch_sizes' must be a whole number from 1 to 65,536, not 0",
        ),
    ],
)
def test_bad_input_is_one_sentence(capsys: pytest.CaptureFixture[str], arguments: str, said: str) -> None:
    assert said in sentence(capsys, *arguments.split())


@pytest.mark.parametrize("command", ["predict model x.csv --out", "results --csv"])
def test_a_file_that_cannot_be_written_is_told_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    (tmp_path / "file").touch()
    for path, said in (
        (tmp_path, "is a folder; name a file to write, or none to print"),
        (tmp_path / "nowhere" / "x.csv", "name a file in a folder that exists and may be written to"),
        (tmp_path / "file" / "x.csv", "name a file in a folder that exists"),
    ):
        assert said in sentence(capsys, *command.split(), str(path))
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)  # to root everything is writable
    assert "that exists and may be written to" in sentence(capsys, *command.split(), str(tmp_path / "x.csv"))


def test_a_device_takes_what_is_written_and_stays_one(models: Path, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(",".join(["1"] * 24))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    told: list[str] = []
    reader = threading.Thread(target=lambda: told.append((tmp_path / "pipe").read_text()))
    reader.start()
    assert cli.main(["predict", str(models / "fixed"), str(tmp_path / "x.csv"), "--out", str(tmp_path / "link")]) == 0
    reader.join(10)
    assert told[0].startswith("series,label") and (tmp_path / "pipe").is_fifo() and (tmp_path / "link").is_symlink()
    assert cli.main(["predict", str(models / "fixed"), str(tmp_path / "x.csv"), "--out", os.devnull]) == 0
    assert Path(os.devnull).is_char_device()


def test_a_link_stays_one_and_what_it_leads_to_is_written(models: Path, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(",".join(["1"] * 24))
    (tmp_path / "link").symlink_to("out.csv")
    assert cli.main(["predict", str(models / "fixed"), str(tmp_path / "x.csv"), "--out", str(tmp_path / "link")]) == 0
    assert (tmp_path / "link").is_symlink() and (tmp_path / "out.csv").read_text().startswith("series,label")


def test_predictions_do_not_go_into_the_folder_of_a_model(models: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "x.csv").write_text(",".join(["1"] * 24))
    out = models / "fixed" / "out.csv"
    command = ["predict", str(models / "fixed"), str(tmp_path / "x.csv"), "--out", str(out)]
    assert "holds a model and nothing else; write out.csv elsewhere" in sentence(capsys, *command)
    assert not out.exists()


@pytest.mark.parametrize("command", ["report", "run", "optimize", "export", "predict", "data", "results"])
def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str], command: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main([command, "--help"])
    assert stopped.value.code == 0
    assert len(capsys.readouterr().out) > 200


def test_the_help_of_run_lists_every_step(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["run", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    for name, step in STEPS.items():
        for recipe, text in step.examples.items():
            assert f"{recipe} {text}" in said, name


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--help"], "python -m tsc_lib [-h]"),
        (["predict", "--help"], "Classify the series of a file"),
        (["run", "--help"], "'baseline' or steps joined by '>'. This command, and the list of steps, need "),
        (["--version"], f"tsc_lib {__version__}"),
    ],
)
def test_help_needs_none_of_the_study_s_packages(arguments: list[str], said: str) -> None:
    done = without_the_study("from tsc_lib import cli", f"cli.main({arguments})")
    assert done.returncode == 0 and said in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("program", "name"), [("bin/tsc-lib", "tsc-lib"), ("tsc_lib/__main__.py", "python -m tsc_lib")]
)
def test_the_command_is_called_as_it_was_called(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], program: str, name: str
) -> None:
    monkeypatch.setattr(sys, "argv", [program])
    for arguments in (["--help"], ["export", "--help"]):
        with pytest.raises(SystemExit):
            cli.main(arguments)
    said = capsys.readouterr().out
    assert said.startswith(f"usage: {name} ") and f"for example:  {name} export my-model" in said


def test_a_message_is_shown_once_whatever_other_libraries_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(options: argparse.Namespace) -> None:
        monkeypatch.setattr(logging.root, "handlers", [logging.StreamHandler()])  # as `logging.basicConfig` does
        logging.getLogger("tsc_lib.study").info("training")

    monkeypatch.setitem(cli.COMMANDS, "data", command)
    assert cli.main(["data", "ItalyPowerDemand"]) == 0
    assert capsys.readouterr().err == "training\n"


def test_data_describes_a_data_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "ItalyPowerDemand"]) == 0
    printed = capsys.readouterr().out
    assert "1029" in printed
    assert "equal_length" in printed


def test_two_reports_do_not_mix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(store, "OUTPUTS", tmp_path)
    with (tmp_path / "report.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another report is being made" in sentence(capsys, "report", "--profile", "smoke")


def test_results_are_eight_columns_unless_all_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], results: pd.DataFrame
) -> None:
    some = results.head(4).copy()
    some.loc[some.index[1], "status"] = "failed: no compiler"
    monkeypatch.setattr(Study, "open", lambda profile: SimpleNamespace(results=lambda: some))
    assert cli.main(["results"]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[0].split() == cli.BRIEF and len(cli.BRIEF) == 8
    assert "1 of 4 rows failed, the first one failed: no compiler" in printed.err
    assert cli.main(["results", "--all"]) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == list(some)
