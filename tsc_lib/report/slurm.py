"""What the batch engine must know of a Slurm: whether it keeps accounts, and which jobs an earlier run left in it."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

from tsc_lib.core.errors import UserError
from tsc_lib.core.spec import digest

INSTALL = "pip install --no-deps snakemake-executor-plugin-slurm==2.8.0 snakemake-executor-plugin-slurm-jobstep==0.6.1"
"""The plug-in names a newer numpy than aeon's numba works with, for a table of efficiency that is not asked for."""


def list_options(outputs: Path) -> list[str]:
    """Snakemake's options for the Slurm of this machine.

    Raises
    ------
    UserError
        If there is none, or Snakemake's plug-in for it is not installed.
    """
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        raise UserError(f"the engine slurm needs Snakemake's plug-in: {INSTALL}")
    if shutil.which("sbatch") is None:
        raise UserError("there is no Slurm here (no sbatch in PATH); call this on a cluster's login node")
    asked = _ask("scontrol", "show", "config")
    options = ["--slurm-jobname-prefix", name_jobs(outputs)]
    if any(line.split("=")[0].strip() == "AccountingStorageType" and "none" in line for line in asked.splitlines()):
        options += ["--slurm-no-account", "--slurm-status-command", "squeue"]
    return options


def name_jobs(outputs: Path) -> str:
    """How the names of all jobs begin whose results go to a folder."""
    return f"tsc_lib_{digest(str(outputs))}"


def cancel_jobs(outputs: Path) -> None:
    """Cancel what an engine that is gone has left in the queue; what was half done goes on the next time."""
    queue = [line.split(maxsplit=1) for line in _ask("squeue", "--noheader", "--format=%i %j").splitlines()]
    if left := [number for number, name in queue if name.startswith(name_jobs(outputs))]:
        _ask("scancel", *left)


def _ask(*command: str) -> str:
    """What a command of Slurm prints.

    Raises
    ------
    UserError
        If it fails.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"Slurm does not answer ({command[0]}: {last}); ask who keeps the cluster")
    return done.stdout
