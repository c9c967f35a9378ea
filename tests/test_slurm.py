"""A batch through a real Slurm on this machine: jobs are killed on their way, and it finishes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tsc_lib.core.errors import UserError
from tsc_lib.report import slurm
from tsc_lib.report.engine import find_settings

SCRIPT = Path(__file__).with_name("single_node_slurm.sh")

PROFILE = """
datasets: [ItalyPowerDemand]
models: [T1(layers=1)]
seeds: [0]
train: {epochs: 40}
variants: {baseline: [eager]}
benchmark: {batch_sizes: [1], series: 4, blocks: 3, min_window_s: 0.001, warmup_s: 0.0, max_seconds: 1}
side_by_side: {blocks: 3, max_seconds: 1}
"""

DRIVER = """
import sys
from tsc_lib.core.errors import run_command
from tsc_lib.core.processes import run_engine
from tsc_lib.report.engine import run_report

def measure_only(command, **options):
    return run_engine([*command, "--until", "benchmark"], **options)

sys.exit(run_command(lambda: run_report(sys.argv[1], 1, sys.argv[2], measure_only)))
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Slurm of one node; the folder with its logs."""
    if os.geteuid() != 0 or any(shutil.which(name) is None for name in ("slurmctld", "slurmd", "munged", "runuser")):
        pytest.skip("needs Slurm, and root to start one: apt-get install slurm-wlm munge")
    folder = tmp_path_factory.mktemp("slurm")
    started = subprocess.run([SCRIPT, "start", folder], capture_output=True, text=True)
    if started.returncode:
        subprocess.run([SCRIPT, "stop", folder])
        pytest.skip(f"Slurm does not start here: {started.stderr.strip()[-200:]}")
    yield folder
    subprocess.run([SCRIPT, "stop", folder])


def settings_that_look_often(folder: Path) -> Path:
    """The shipped settings, but for how often the queue is asked."""
    shipped = find_settings("slurm")
    assert shipped is not None
    content = yaml.safe_load((shipped / "config.yaml").read_text())
    content |= {"latency-wait": 5, "seconds-between-status-checks": 1, "slurm-init-seconds-before-status-checks": 1}
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    return folder


def wait_for(seen: Callable[[], object], driver: subprocess.Popen[str], seconds: float = 120) -> None:
    """Wait until something is there."""
    end = time.monotonic() + seconds
    while not seen():
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)


def ask(*command: str) -> str:
    """What a command prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
@pytest.mark.sessions
def test_jobs_that_are_killed_go_on_and_the_batch_finishes(cluster: Path, tmp_path: Path) -> None:
    profile, outputs = tmp_path / "tiny.yaml", tmp_path / "outputs"
    profile.write_text(PROFILE)
    settings = settings_that_look_often(tmp_path / "settings")
    path = os.pathsep.join(filter(None, sys.path))
    # A folder for temporary files of its own: sessions of the same host wait for one another there.
    (tmp_path / "tmp").mkdir()
    environment = os.environ | {"TSC_OUTPUTS": str(outputs), "PYTHONPATH": path, "TMPDIR": str(tmp_path / "tmp")}

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(profile), str(settings)], env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    driver = start()
    # A training that has a checkpoint is cancelled: the engine asks for it again.
    wait_for(lambda: list(outputs.glob("store/train/*.partial/checkpoint*")), driver)
    [half_done] = outputs.glob("store/train/*.partial")
    ask("scancel", ask("squeue", "-h", "-o", "%i").split()[0])
    # Then what drives the batch dies.
    wait_for(lambda: len(ask("squeue", "-h", "-t", "all", "-o", "%i").splitlines()) > 1, driver)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    driver = start()
    said, _ = driver.communicate(timeout=240)
    assert driver.returncode == 0, said
    assert not half_done.exists() and half_done.with_suffix("").joinpath("record.json").exists()
    assert [len(list(outputs.glob(f"store/jobs/{stage}/*"))) for stage in ("prepare", "benchmark")] == [1, 1]
    assert len(list(outputs.glob("store/side-by-side/*/record.json"))) == 1
    assert not list(outputs.glob("store/*/*.lock")) and not list(outputs.glob("store/*/*.partial"))
    assert ask("squeue", "-h") == ""


def test_a_measuring_job_has_its_node_alone() -> None:
    shipped = find_settings("slurm")
    assert shipped is not None
    content = yaml.safe_load((shipped / "config.yaml").read_text())
    assert content["set-resources"]["benchmark"]["slurm_extra"] == "'--exclusive'"


def test_an_engine_that_is_none_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"there is no engine 'kubernetes'; name local, slurm, or a folder"):
        find_settings("kubernetes")
    assert find_settings("local") is None
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"there is no Slurm here|needs Snakemake's plug-in"):
        slurm.list_options(tmp_path)
