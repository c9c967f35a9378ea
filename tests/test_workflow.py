"""The workflow and the Makefile work in folders and with profiles of any name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from shlex import quote

import pytest

from tsc_lib.core import store
from tsc_lib.core.files import shipped
from tsc_lib.core.processes import run_engine
from tsc_lib.report import engine
from tsc_lib.study import Study
from tsc_lib.study.plan import STAGES
from tsc_lib.study.profiles import PROFILES

ROOT = Path(__file__).resolve().parents[1]

NAME = """a: b {job} {} {{x}} 'q' "d" $HOME `id` %s #x \\ é ~ *;&|,="""
"""A name with all that the shell, make, YAML and the engine give a meaning to."""


@pytest.mark.slow
def test_whatever_a_user_names_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    """The commands are those of a dry run."""
    outputs = tmp_path / f"outputs {NAME}\nnext"
    dataset = tmp_path / f"data {NAME}" / f"set {NAME}"
    dataset.mkdir(parents=True)
    source = Path(aeon_folder("ItalyPowerDemand"))
    for part in ("TRAIN", "TEST"):
        shutil.copy(source / f"ItalyPowerDemand_{part}.ts", dataset / f"{dataset.name}_{part}.ts")
    profile = tmp_path / f"{NAME}.yaml"
    profile.write_text((PROFILES / "smoke.yaml").read_text().replace("ItalyPowerDemand", json.dumps(str(dataset))))
    monkeypatch.setattr(store, "OUTPUTS", outputs)
    engine.run_report(str(profile), 2, run=dry_run)
    printed = capfd.readouterr().out
    call = f"TMPDIR={quote(os.environ.get('TMPDIR', '/tmp'))} OMP_NUM_THREADS=1 exec {quote(sys.executable)} -m tsc_lib"
    chosen = f"--profile={quote(str(profile))}"
    study = Study.open(str(profile))
    for stage in STAGES:
        for run in study.runs:
            asked = f"--dataset={quote(run.data.name)} --model={run.model} --seed={run.seed}"
            assert f"{call}.study.jobs {stage} {chosen} {asked}\n" in printed
    for notebook in shipped("notebooks").glob("*.ipynb"):
        executed = quote(f"notebooks/{study.profile.name}")
        assert f"{call}.report.execute {chosen} -- {notebook.stem} {executed}\n" in printed
    assert f"{call}.report.build site {chosen}" in printed
    assert sorted(path.name for path in outputs.iterdir()) == [".snakemake", "report.lock", "store"]


def aeon_folder(name: str) -> Path:
    """Where aeon has one of its data sets."""
    import aeon.datasets

    return Path(aeon.datasets.__file__).parent / "data" / name


def dry_run(command: list[str], *, env: dict[str, str], pass_fds: tuple[int, ...], **_: object) -> int:
    """Let the engine say what it would run."""
    env |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    loud = [part for part in command if part not in ("--quiet", "rules", "host")]
    return run_engine([*loud, "--dry-run", "--printshellcmds"], env=env, pass_fds=pass_fds)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder of a peculiar name with the Makefile, whose Python tells only what it is called with."""
    folder = tmp_path / f"clone {NAME}"
    (folder / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", folder)
    for name in ("pyproject.toml", "setup.py", "constraints.txt", ".venv/installed"):
        (folder / name).touch()
    python = folder / ".venv" / "bin" / "python"
    python.write_text('#!/bin/sh\nprintf "<%s>" "$@"\n')
    python.chmod(0o755)
    return folder


def make(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Call make in a folder."""
    if shutil.which("make") is None:
        pytest.skip("needs make, which is not installed")
    return subprocess.run(
        ["make", "--silent", *arguments], cwd=folder, env=os.environ | environment, capture_output=True, text=True
    )


def test_make_passes_on_the_profile_as_it_is(checkout: Path) -> None:
    assert make(checkout, "report").stdout == "<-m><tsc_lib><report><--profile=quick>"
    assert make(checkout, "report", PROFILE=NAME).stdout == f"<-m><tsc_lib><report><--profile={NAME}>"
    assert make(checkout, "report", f"PROFILE={NAME}").stdout == f"<-m><tsc_lib><report><--profile={NAME}>"


def test_make_calls_the_python_that_is_named(checkout: Path) -> None:
    (checkout / ".venv" / "installed").unlink()
    own = checkout / "own python"
    own.write_text('#!/bin/sh\nprintf "<%s>" "$1"\n')
    own.chmod(0o755)
    assert make(checkout, "gpu-check", f"PYTHON={own}").stdout.startswith("<-c><-m><-m><pip>")
    (checkout / ".venv" / "installed").unlink()
    own.write_text("#!/bin/sh\nexit 1\n")
    done = make(checkout, "gpu-check", f"PYTHON={own}")
    assert done.returncode and "tsc_lib needs Python 3.11 or newer" in done.stderr


@pytest.mark.parametrize("user", ["0", "1000"])
def test_the_lab_runs_as_root_only_when_asked_to(checkout: Path, tmp_path: Path, user: str) -> None:
    identity = tmp_path / "bin" / "id"
    identity.parent.mkdir()
    identity.write_text(f"#!/bin/sh\necho {user}\n")
    identity.chmod(0o755)
    path = {"PATH": f"{identity.parent}{os.pathsep}{os.environ['PATH']}"}
    started = "<-m><jupyterlab><--notebook-dir=notebooks><--ip=localhost>"
    plain, asked = make(checkout, "lab", **path), make(checkout, "lab", "LAB_FLAGS=--allow-root --no-browser", **path)
    assert asked.stdout == f"{started}<--allow-root><--no-browser>"
    assert plain.stdout == (started if user == "1000" else "")
    assert ("make lab LAB_FLAGS=--allow-root" in plain.stderr) == (user == "0")
