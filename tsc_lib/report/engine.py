"""The batch engine: a profile's jobs planned, then run by Snakemake on this machine or through a cluster."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path

from tsc_lib.benchmark.place import ANY_NODE
from tsc_lib.core import store
from tsc_lib.core.errors import UserError
from tsc_lib.core.files import PACKAGE, shipped, write_bytes, write_json, write_text
from tsc_lib.core.processes import provide_home, run_engine
from tsc_lib.core.progress import IN_BATCH
from tsc_lib.core.spec import digest
from tsc_lib.report import slurm
from tsc_lib.report.execute import NOTEBOOKS
from tsc_lib.report.progress import tell_progress
from tsc_lib.study import Study
from tsc_lib.study.plan import Job, make_plan

logger = logging.getLogger(__name__)

LOCAL = "local"
"""The engine that runs jobs on this machine."""

DONE = Path("store") / "jobs"
"""Where files say what is done, in the outputs."""


def run_report(profile: str, cores: int, engine: str = LOCAL, run: Callable[..., int] = run_engine) -> Path:
    """Run a profile and build its report, whose path is returned; what was done before is not done again.

    What failed is done again. What Snakemake, kernels and jobs say goes to a log; of that, what is ours is logged here.

    Parameters
    ----------
    profile : str
        Its name, or the path of a YAML file.
    cores : int
        Jobs at the same time on this machine.
    engine : str
        "local", "slurm", or a folder with other settings for a Slurm, as ``workflow/slurm`` has them.
    run : callable
        Runs a command; see `tsc_lib.core.processes.run_engine`.

    Raises
    ------
    UserError
        If the profile is wrong, another report is being made, or a job failed.
    """
    if profile.endswith((".yaml", ".yml")):
        profile = str(Path(profile).resolve())
    settings = find_settings(engine)
    cluster = slurm.list_options(store.OUTPUTS) if settings is not None else []
    study = Study.open(profile)
    _ = study.runs  # a wrong profile or a missing data set is told before anything starts
    store.OUTPUTS.mkdir(parents=True, exist_ok=True)
    running = f"another report is being made in {store.OUTPUTS}; wait for it, or end it first"
    with store.hold_lock(store.OUTPUTS / "report.lock", running) as lock:
        write_bytes(probe := store.OUTPUTS / ".room", bytes(1_000_000))  # before the engine fails in many lines
        probe.unlink()
        if store.forget_failures():
            shutil.rmtree(store.OUTPUTS / DONE, ignore_errors=True)
        jobs = make_plan(study)
        plan = write_jobs(study, jobs, profile, cores, on_cluster=settings is not None)
        log = plan.with_suffix(".log")
        with tempfile.TemporaryDirectory(prefix="tsc_lib-") as scratch:
            command = [sys.executable, "-m", "snakemake", "--snakefile", str(shipped("workflow") / "Snakefile")]
            command += ["--directory", str(store.OUTPUTS), "--scheduler", "greedy"]
            # Our lock is the one that dies with its holder, as snakemake's does not.
            command += ["--nolock", "--rerun-incomplete", "--rerun-triggers", "mtime", "--quiet", "rules", "host"]
            # Not on the command line, which has a grammar of its own; where every node can read it.
            write_json(config := plan.with_suffix(".config.json"), {"plan": str(plan), "ends_with_input": True})
            command += ["--configfile", str(config)]
            environment = os.environ | provide_home(scratch) | {"TSC_OUTPUTS": str(store.OUTPUTS), IN_BATCH: "1"}
            if settings is None:
                # The engine may be killed, so its own temporary files lie apart from those of its jobs.
                command += ["--cores", str(cores), "--runtime-source-cache-path", scratch]
                environment["TMPDIR"] = scratch
            else:
                environment[ANY_NODE] = "1"
                command += ["--profile", str(settings), *cluster]
            try:
                if cluster:
                    slurm.cancel_jobs(store.OUTPUTS)
                logger.info("everything that is said goes to %s", log)
                with log.open("wb") as said, tell_progress(jobs, store.OUTPUTS / DONE, log):
                    # The engine holds the lock too, in case this process is killed before it.
                    code = run(command, pass_fds=(lock,), env=environment, stdout=said, stderr=subprocess.STDOUT)
            finally:
                if cluster:
                    slurm.cancel_jobs(store.OUTPUTS)
    if code:
        raise UserError(f"the report was not finished; {log} says why, and the same command goes on")
    return store.OUTPUTS / "report" / study.profile.name / "index.html"


def find_settings(engine: str) -> Path | None:
    """The folder with the settings of an engine; None of the one on this machine.

    Raises
    ------
    UserError
        If there is none.
    """
    if engine == LOCAL:
        return None
    folder = shipped("workflow") / "slurm" if engine == "slurm" else Path(engine).resolve()
    if not (folder / "config.yaml").is_file():
        raise UserError(f"there is no engine {engine!r}; name local, slurm, or a folder with Snakemake's config.yaml")
    return folder


def write_jobs(study: Study, jobs: list[Job], profile: str, cores: int, *, on_cluster: bool) -> Path:
    """Write a study's plan, all that Snakemake reads of the study, and what notebooks ask for; returns its path."""
    names: dict[int, list[str]] = {}
    for job in jobs:
        names.setdefault(job.seed, []).append(job.name)
    path = store.OUTPUTS / DONE / "plan" / f"{digest(profile)}.json"
    plan = {
        "profile": profile,
        "python": sys.executable,
        "temporary": tempfile.gettempdir(),
        "seeds": {str(seed): f"{seed}-{digest(own)}" for seed, own in names.items()},
        "seeds_in_turn": not on_cluster,
        "measuring_cores": study.profile.benchmark.threads if on_cluster else cores,
        "notebooks": request_notebooks(study),
        "executed": f"notebooks/{study.profile.name}",
        "jobs": [job.to_json() for job in jobs],
    }
    write_json(path, plan)
    return path


def request_notebooks(study: Study) -> dict[str, str]:
    """Write what each notebook depends on to a file, which is new whenever that is; returns their names by job."""
    common = study.request | {
        "code": _sum_up(PACKAGE.glob("**/*.py")),
        "searches": _sum_up(store.OUTPUTS.glob("search/*/trials.csv")),
    }
    known = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    jobs = {}
    for name in study.profile.notebooks or known:
        if name not in known:
            raise UserError(f"there is no notebook {name!r}; the notebooks are {', '.join(known)}")
        executed = store.OUTPUTS / "notebooks" / study.profile.name / f"{name}.ipynb"
        job = f"{name}-{digest(str(executed))}"
        request = store.OUTPUTS / DONE / "request" / job
        asked = json.dumps(common | {"notebook": _sum_up([NOTEBOOKS / f"{name}.ipynb"])}, indent=1)
        if not executed.exists() or not request.exists() or request.read_text() != asked:
            write_text(request, asked)
        jobs[job] = name
    return jobs


def _sum_up(paths: Iterable[Path]) -> str:
    """A sum of the contents of files."""
    return sha256(b"".join(sha256(path.read_bytes()).digest() for path in sorted(paths))).hexdigest()
