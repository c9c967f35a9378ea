"""Where the machine refuses to write, every command says one sentence, and nothing that was there is lost."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tsc_lib import cli, data
from tsc_lib.core import store
from tsc_lib.core.errors import UserError
from tsc_lib.core.processes import provide_home

REFUSED = Path(__file__).parent / "refused.py"
REASONS = {"full": "No space left", "read-only": "Read-only file system", "permission": "Permission denied"}
SAID_BEFORE = "may be written to", "is no folder to write to"


def attempts(tmp_path: Path, kind: str, model: Path) -> dict[str, Any]:
    """What everything that writes answers in a folder where the machine refuses it."""
    place = tmp_path / "outputs"
    place.mkdir()
    if kind == "permission":  # which binds everyone but root
        flags, mount = ["-U", "--map-user=12345", "--map-group=12345"], "true"
    else:
        flags, mount = ["-m"] if os.geteuid() == 0 else ["-Urm"], f"mount -t tmpfs -o size=8m tmpfs '{place}'"
    if not shutil.which("unshare") or subprocess.run(["unshare", *flags, "true"], capture_output=True).returncode:
        pytest.skip(f"namespaces are refused here (unshare {' '.join(flags)}), and with them the fault")
    command = ["unshare", *flags, "sh", "-c", f'{mount} && exec "$@"', "sh", sys.executable]
    environment = os.environ | {"PYTHONPATH": str(REFUSED.parents[1])}
    done = subprocess.run(
        [*command, str(REFUSED), str(place), kind, str(model)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("kind", REASONS)
def test_where_writing_is_refused_each_command_says_so_and_nothing_is_lost(
    tmp_path: Path, models: Path, kind: str
) -> None:
    found = attempts(tmp_path, kind, models / "one")
    assert len(found["answers"]) >= 9
    for name, (code, lines) in found["answers"].items():
        assert code == 1, name
        [line] = [line for line in lines if line.startswith("error: ")]
        assert line == lines[-1] and not any("Traceback" in each for each in lines), name
        assert any(reason in line for reason in (REASONS[kind], *SAID_BEFORE)), line
    assert found["changed"] == [], "nothing is lost, and nothing half written is left"
    assert found["again"] == (0 if kind == "full" else 1), "with space again, the work is done"


TRAINING = ["--dataset", "ItalyPowerDemand", "--epochs", "1"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["report", "--profile", "smoke"],
        ["run", *TRAINING],
        ["results", "--profile", "smoke"],
        ["optimize", *TRAINING],
        ["optimize", *TRAINING, "--output", "{file}"],
        ["export", "{folder}/model", *TRAINING],
        ["export", "{file}", *TRAINING],
        ["export", "{file}/model", *TRAINING],
        ["export", "/", *TRAINING],
        ["export", "/proc/model", *TRAINING],
    ],
    ids=" ".join,
)
def test_a_file_where_a_folder_is_meant_is_one_sentence_and_stays(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    monkeypatch.setattr(store, "OUTPUTS", file)
    assert cli.main([word.format(file=file, folder=tmp_path) for word in arguments]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and (str(file) in line or arguments[1] in line)
    assert [path.name for path in tmp_path.iterdir()] == ["file"] and file.read_text() == "mine"


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without a name and a home folder, as a container may have."""

    def nobody(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for variable in ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize("place", ["", str(Path(__file__).parent)])
def test_data_are_found_without_a_home_folder(
    homeless: None, monkeypatch: pytest.MonkeyPatch, place: str, tmp_path: Path
) -> None:
    monkeypatch.setenv("AEON_DATA", place)
    assert data.resolve("ItalyPowerDemand").name == "ItalyPowerDemand"
    monkeypatch.delenv("AEON_DATA")
    with pytest.raises(UserError, match="PLAID is not on this machine; name a folder to download it to in AEON_DATA"):
        data.resolve("PLAID")


def test_the_home_of_nobody_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="nobody's home folder is ~nosuchuser; write the path out"):
        data.resolve("~nosuchuser/data")
    monkeypatch.setenv("AEON_DATA", "~nosuchuser")
    with pytest.raises(UserError, match="nobody's home folder is ~nosuchuser; write the path out"):
        data.resolve("ItalyPowerDemand")


def test_a_report_has_a_home_for_caches_where_the_user_has_none(homeless: None, tmp_path: Path) -> None:
    scratch = str(tmp_path)
    assert provide_home(scratch) == {"HOME": scratch, "XDG_CACHE_HOME": scratch, "LOGNAME": "user"}


def test_a_home_that_cannot_be_written_to_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOGNAME", "somebody")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert provide_home("scratch") == {}
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # to root everything is writable
    assert provide_home("scratch") == {"XDG_CACHE_HOME": "scratch"}
