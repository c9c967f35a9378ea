"""The store: work is done once, written whole or not at all, and failures are kept with their reason."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tsc_lib.core import store
from tsc_lib.core.errors import UserError
from tsc_lib.core.files import write_text
from tsc_lib.core.store import NotStored, StageFailed, forget_failures, only_loading, run_or_load
from tsc_lib.data import DataSpec
from tsc_lib.training import TrainSpec


@pytest.fixture(autouse=True)
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(store, "OUTPUTS", tmp_path)
    return tmp_path


def test_work_is_done_once() -> None:
    calls = []

    def work(folder: Path) -> dict[str, Any]:
        calls.append(folder)
        write_text(folder / "file.txt", "content")
        return {"answer": 42}

    first = run_or_load("stage", (1,), "label", TrainSpec(), work)
    again = run_or_load("stage", (1,), "label", TrainSpec(), work)
    assert first == again
    assert (first[0] / "file.txt").read_text() == "content"
    assert first[1]["answer"] == 42
    assert len(calls) == 1
    run_or_load("stage", (2,), "label", TrainSpec(), work)
    run_or_load("stage", (1,), "label", TrainSpec(epochs=3), work)
    assert len(calls) == 3


def test_within_only_loading_nothing_is_computed() -> None:
    with only_loading(), pytest.raises(NotStored, match="stage of label is not in the store"):
        run_or_load("stage", (1,), "label", TrainSpec(), lambda folder: {})
    done = run_or_load("stage", (1,), "label", TrainSpec(), lambda folder: {"answer": 42})
    with only_loading():
        assert run_or_load("stage", (1,), "label", TrainSpec(), lambda folder: {}) == done


def test_failed_work_leaves_a_record_and_is_not_repeated_until_forgotten() -> None:
    calls = []

    def work(folder: Path) -> dict[str, Any]:
        calls.append(folder)
        raise ValueError("no\nluck")

    for _ in range(2):
        with pytest.raises(StageFailed, match="ValueError: no luck"):
            run_or_load("stage", (1,), "label", TrainSpec(), work)
    assert len(calls) == 1
    assert forget_failures() == 1
    assert run_or_load("stage", (1,), "label", TrainSpec(), lambda folder: {})[1]["status"] == "ok"
    assert forget_failures() == 0


def test_bad_input_is_no_failure_of_the_work() -> None:
    def work(folder: Path) -> dict[str, Any]:
        raise UserError("no such file")

    with pytest.raises(UserError, match="no such file"):
        run_or_load("stage", (1,), "label", TrainSpec(), work)
    assert forget_failures() == 0


@pytest.mark.parametrize(
    ("refusal", "raised", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), OSError, r"No space left on device: '.*label-\w+\.partial'"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), OSError, "Permission denied: '/x'"),
        (RuntimeError("a\nld: No space left on device\nb"), UserError, r"could not be finished \(ld: No space left"),
    ],
)
def test_what_the_machine_refuses_is_no_failure_of_the_work(
    outputs: Path, refusal: Exception, raised: type[Exception], said: str
) -> None:
    def work(folder: Path) -> dict[str, Any]:
        raise refusal

    with pytest.raises(raised, match=said):
        run_or_load("stage", (1,), "label", TrainSpec(), work)
    assert list((outputs / "store" / "stage").iterdir()) == []
    assert run_or_load("stage", (1,), "label", TrainSpec(), lambda folder: {})[1]["status"] == "ok"


def test_work_whose_record_was_removed_is_done_again() -> None:
    folder, _ = run_or_load("stage", (1,), "label", TrainSpec(), lambda folder: {"answer": 41})
    write_text(folder / "file.txt", "of the first time")
    (folder / "record.json").unlink()
    assert run_or_load("stage", (1,), "label", TrainSpec(), lambda folder: {"answer": 42})[1]["answer"] == 42
    assert [path.name for path in folder.iterdir()] == ["record.json"]


@pytest.mark.parametrize("content", ["[" * 100_000, "[1]", "{}", '{"status": 1}', "null"])
def test_a_record_that_is_none_is_one_sentence(content: str) -> None:
    folder, _ = run_or_load("stage", (1,), "label", TrainSpec(), lambda folder: {})
    write_text(folder / "record.json", content)
    for use in (lambda: run_or_load("stage", (1,), "label", TrainSpec(), lambda folder: {}), forget_failures):
        with pytest.raises(UserError, match=r"record.json is damaged .*; delete its folder and run again"):
            use()


def test_killed_work_goes_on_in_its_folder(outputs: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from tsc_lib.core import store
from tsc_lib.training import TrainSpec
store.OUTPUTS = Path({str(outputs)!r})
def work(folder):
    (folder / "progress.txt").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
store.run_or_load("stage", (1,), "label", TrainSpec(), work)
"""
    killed = subprocess.run([sys.executable, "-c", script])
    assert killed.returncode == -signal.SIGKILL
    folder, record = run_or_load(
        "stage", (1,), "label", TrainSpec(), lambda folder: {"found": (folder / "progress.txt").read_text()}
    )
    assert record["found"] == "half"
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


def test_the_place_of_the_files_is_not_part_of_the_key() -> None:
    here, there = DataSpec("A", "0" * 64, folder="/here"), DataSpec("A", "0" * 64, folder="/there")
    assert here.key() == there.key()
    assert here.key() != DataSpec("A", "1" * 64).key()


def test_a_lock_of_a_machine_that_died_runs_out(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = """
import os, socket, sys
from filelock import SoftFileLease
socket.gethostname = lambda: "another-machine"
lock = SoftFileLease(sys.argv[1], lease_duration=1.0)
lock.acquire()
os._exit(0)  # without a release
"""
    monkeypatch.setattr(store, "LEASE_S", 1.0)
    folder = store.locate("stage", (1,), "label", TrainSpec())
    folder.parent.mkdir(parents=True)
    subprocess.run([sys.executable, "-c", script, f"{folder}.lock"], check=True)
    assert "another-machine" in Path(f"{folder}.lock").read_text()
    assert run_or_load("stage", (1,), "label", TrainSpec(), lambda folder: {"answer": 42})[1]["answer"] == 42
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_two_processes_do_the_same_work_once(outputs: Path) -> None:
    script = f"""
import dataclasses, time
from pathlib import Path
from tsc_lib.core import store
from tsc_lib.core.spec import Spec
store.OUTPUTS = Path({str(outputs)!r})
@dataclasses.dataclass(frozen=True)
class Made(Spec):
    name: str = "made"
def work(folder):
    with (store.OUTPUTS / "calls").open("a") as calls:
        calls.write("x")
    time.sleep(1)
    return {{}}
store.run_or_load("stage", (1,), "label", Made(), work)
"""
    both = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(2)]
    assert [each.wait() for each in both] == [0, 0]
    assert (outputs / "calls").read_text() == "x"
