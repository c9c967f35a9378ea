"""A signal ends a command with all that it started, in one sentence, and leaves nothing behind."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import nbformat
import pytest
from interrupted import Command

from tsc_lib.core import processes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux, which adopts orphans")

SIGINT, SIGTERM, SIGHUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP

CASES = [(SIGINT, True), (SIGINT, False), (SIGTERM, True), (SIGTERM, False), (SIGHUP, True), (SIGHUP, False)]

FAMILY = """
import subprocess, sys, time
from pathlib import Path
from tsc_lib.core import errors, processes
def work():
    sh = lambda text, **options: subprocess.Popen(["bash", "-c", text], **options)
    sh("sleep 100 & sleep 100")
    sh("sleep 100 & disown; sleep 100", start_new_session=True)
    sh("trap '' TERM; sleep 100")
    Path(sys.argv[1]).touch()
    {then}
sys.exit(errors.run_command(work))
"""
"""A program with children of every kind, which then does as told."""


def start(folder: Path, then: str) -> Command:
    """A program of that kind, when it is at work."""
    command = Command(folder, "-c", FAMILY.replace("{then}", then), str(folder / "begun"))
    command.wait_for((folder / "begun").exists)
    time.sleep(0.2)  # its shells start their own children
    return command


@pytest.mark.parametrize(("number", "to_group"), CASES)
def test_children_of_every_kind_end(tmp_path: Path, number: signal.Signals, to_group: bool) -> None:
    command = start(tmp_path, "time.sleep(100)")
    assert len(command.list_processes()) > 3
    assert command.stop(number, to_group).count("\n") == 1


@pytest.mark.parametrize(
    "then",
    [
        "try: time.sleep(100)\n    except BaseException: raise ImportError('no such thing')",
        "try: time.sleep(100)\n    except BaseException: pass",
        "import logging\n    for _ in range(2):\n        try: time.sleep(100)\n"
        "        except BaseException: logging.getLogger('tsc_lib').info('next')",
        "try: time.sleep(100)\n    finally: subprocess.Popen(['sleep', '100'])",
        "subprocess.run(['sleep', '100'])",
        # Python drops what is raised within a destructor.
        "type('D', (), {'__del__': lambda _: time.sleep(1)})()\n    time.sleep(100)",
    ],
    ids=[
        "made another error",
        "swallowed",
        "swallowed, and the next begun",
        "a late child",
        "in a child",
        "in a destructor",
    ],
)
def test_whatever_becomes_of_the_exception(tmp_path: Path, then: str) -> None:
    start(tmp_path, then).stop(SIGTERM, to_group=False)


def test_a_second_signal_changes_nothing(tmp_path: Path) -> None:
    command = start(tmp_path, "time.sleep(100)")
    command.process.send_signal(SIGINT)
    command.process.send_signal(SIGTERM)
    _, said = command.process.communicate(timeout=30)
    assert command.process.returncode in (130, 143) and said.count("stopped") == 1 and "Traceback" not in said


def test_a_reader_that_was_stopped_too_is_no_second_error(tmp_path: Path) -> None:
    command = start(tmp_path, "print('much'); time.sleep(100)")
    assert command.process.stdout
    command.process.stdout.close()
    command.process.send_signal(SIGINT)
    assert command.process.stderr and command.process.stderr.read() == "SIGINT: stopped; run the same again to go on\n"
    assert command.process.wait(30) == 130


def test_what_does_not_stop_is_ended(tmp_path: Path) -> None:
    endless = (
        "processes.PATIENCE_S = 0.2\n    while True:\n        try: time.sleep(100)\n        except BaseException: pass"
    )
    start(tmp_path, endless).stop(SIGTERM, to_group=False)


def test_a_signal_that_was_ignored_stays_ignored(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    text = FAMILY.replace("{then}", "time.sleep(1)").replace("def work():", "def work():\n    if 0: pass")
    code = f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n{text}"
    command = Command(tmp_path, "-c", code.replace('    sh("', '    0 and sh("'), str(begun))
    command.wait_for(begun.exists)
    command.process.send_signal(SIGHUP)
    assert command.process.wait(30) == 0


def test_handlers_are_as_before_when_nothing_came() -> None:
    before = [signal.getsignal(number) for number in processes.ASKING]
    with processes.stop_on_signals(), processes.stop_on_signals():
        for number, handler in zip(processes.ASKING, before, strict=True):
            # What is ignored stays so, such as an interrupt of tests that run in a shell's background.
            assert (signal.getsignal(number) == handler) == (handler == signal.SIG_IGN)
    assert [signal.getsignal(number) for number in processes.ASKING] == before


def test_a_signal_before_the_command_is_at_work_is_quiet(tmp_path: Path) -> None:
    default = "import os, signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = Command(tmp_path, "-c", f"{default}; import tsc_lib.__main__; os.kill(os.getpid(), signal.SIGINT)")
    assert command.process.communicate(timeout=30) == ("", "") and command.process.returncode == -SIGINT


RUN = ("-m", "tsc_lib", "run", "--dataset", "ItalyPowerDemand", "--epochs")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "to_group"), [(SIGINT, True), (SIGTERM, False)])
def test_a_command_that_trains(tmp_path: Path, number: signal.Signals, to_group: bool) -> None:
    command = Command(tmp_path, *RUN, "500")
    command.wait_for_file("store/train/*.partial/checkpoint.safetensors")
    command.stop(number, to_group)
    assert not list(command.outputs.rglob(".*")) and not list(command.outputs.rglob("tmp*"))


@pytest.mark.sessions
@pytest.mark.parametrize(("number", "to_group"), [(SIGINT, False), (SIGTERM, True)])
def test_a_command_that_measures(tmp_path: Path, number: signal.Signals, to_group: bool) -> None:
    command = Command(tmp_path, *RUN, "1")
    command.wait_for(lambda: len(command.list_processes()) > 1)
    command.stop(number, to_group)


@pytest.mark.slow
def test_a_search_with_workers(tmp_path: Path) -> None:
    command = Command(tmp_path, "-m", "tsc_lib", "optimize", *RUN[3:], "1", "--jobs", "2")
    command.wait_for(lambda: len(command.list_processes()) > 1)
    command.wait_for_file("store/shape/*.partial")
    command.stop(SIGINT, to_group=True)
    assert not list(command.outputs.glob("store/*/*.partial/tmp*"))


@pytest.mark.notebooks
def test_a_notebook_s_kernel(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    cell = f"import pathlib, time\npathlib.Path({str(begun)!r}).touch()\ntime.sleep(100)"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, tmp_path / "01_x.ipynb")
    run = f"run_notebook(Path({str(tmp_path / '01_x.ipynb')!r}), Path({str(tmp_path / 'out' / '01_x.ipynb')!r}), {{}})"
    command = start(tmp_path / "a", f"from tsc_lib.report.execute import run_notebook; {run}")
    command.wait_for(begun.exists)
    command.stop(SIGTERM, to_group=False)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.notebooks
def test_a_report_ends_with_its_engine_and_jobs_and_the_next_one_begins_at_once(tmp_path: Path) -> None:
    for number, to_group in ((SIGINT, True), (SIGTERM, False)):
        command = Command(tmp_path, "-m", "tsc_lib", "report", "--profile", "smoke")
        command.wait_for(lambda command=command: any("study.jobs" in each for each in command.list_processes()))
        said = command.stop(number, to_group)
        assert "error" not in said.lower(), said


@pytest.mark.notebooks
def test_a_killed_report_leaves_nothing_running(tmp_path: Path) -> None:
    command = Command(tmp_path, "-m", "tsc_lib", "report", "--profile", "smoke")
    command.wait_for(lambda: any("study.jobs" in each for each in command.list_processes()))
    command.process.kill()
    command.process.communicate(timeout=Command.PATIENCE_S)
    end = time.monotonic() + Command.PATIENCE_S
    while command.list_processes():
        assert time.monotonic() < end, command.list_processes()
        time.sleep(0.05)


def test_an_engine_gets_no_signal_and_is_killed(tmp_path: Path) -> None:
    engine = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: print('heard')); time.sleep(100)"
    command = start(tmp_path, f"processes.run_engine([sys.executable, '-c', {engine!r}])")
    time.sleep(0.3)
    command.stop(SIGTERM, to_group=True)
