"""The jobs of a batch: what each of them depends on, how long it may take, and which are best begun first."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from tsc_lib.compress import CLASSIC
from tsc_lib.core import store
from tsc_lib.core.errors import UserError
from tsc_lib.core.files import read_json, write_json
from tsc_lib.core.spec import Spec, digest
from tsc_lib.data import DataSpec
from tsc_lib.models.classic import CLASSICS
from tsc_lib.models.zoo import find_architecture
from tsc_lib.runtimes import RUNTIMES
from tsc_lib.study.specs import TrainingRun
from tsc_lib.study.study import Study
from tsc_lib.study.versions import version

STAGES = ("prepare", "benchmark")
"""What is done with every run: its models are made, and measured."""


@dataclass(frozen=True)
class Job(Spec):
    """A job of the batch.

    Attributes
    ----------
    name : str
        Of the file that says that it is done; it changes with whatever the job depends on, and has only letters, digits
        and ``_.-``, whatever its data set is called.
    stage : {"prepare", "benchmark"}
        What it does.
    dataset, model, seed
        With which run.
    needs : tuple of str
        Names of the jobs that are done before it.
    seconds : float or None
        How long it may take: as long as it took, as other seeds took, or as its model takes elsewhere for as much data;
        None if unknown.
    rank : int
        The larger, the earlier it is begun.
    """

    name: str
    stage: str
    dataset: str
    model: str
    seed: int
    needs: tuple[str, ...] = ()
    seconds: float | None = None
    rank: int = 0


def make_plan(study: Study) -> list[Job]:
    """The jobs of a study, seed by seed; classics are measured beside networks, by the first of these."""
    name_of = {(stage, run): name_job(study, stage, run) for stage in STAGES for run in study.all_runs}
    together = defaultdict(list)
    for run in study.all_runs:
        together[run.data, run.seed].append(name_of["prepare", run])
    jobs: list[tuple[Job, TrainingRun]] = []
    met: set[tuple[DataSpec, int]] = set()
    for run in study.all_runs:
        mine = Job(name_of["prepare", run], "prepare", run.data.name, run.model, run.seed)
        jobs.append((mine, run))
        if study.is_network(run):
            needs = (mine.name,) if (run.data, run.seed) in met else tuple(together[run.data, run.seed])
            jobs.append((replace(mine, name=name_of["benchmark", run], stage="benchmark", needs=needs), run))
            met.add((run.data, run.seed))
    return _rank(_estimate(jobs))


def name_job(study: Study, stage: str, run: TrainingRun) -> str:
    """The name of a run's job; see `Job`."""
    network = study.is_network(run)
    content: dict[str, object] = {
        "run": run.to_json(),
        "variants": [variant.to_json() for variant in study.variants_of(run)],
        "versions": version("evaluate", *RUNTIMES) if network else version("classic"),
        "machine": study.request["machine"],
        "side_by_side": study.profile.side_by_side.to_json(),
    }
    if run.seed == study.profile.seeds[0]:
        content["runtimes"] = study.profile.runtimes.to_json()
    if stage == "benchmark":
        content["versions"] = version("side-by-side", *RUNTIMES, CLASSIC.runtime)
        content["models"] = study.profile.models
        content |= {"settings": study.settings(run.data).to_json(), "energy": study.request["energy"]}
    return f"{run.file_name}-{digest(content)}"


def find_run(study: Study, dataset: str, model: str, seed: int) -> TrainingRun:
    """The run that has these names.

    Raises
    ------
    UserError
        If the study has none.
    """
    for run in study.all_runs:
        if (run.data.name, run.model, run.seed) == (dataset, model, seed):
            return run
    raise UserError(f"profile {study.profile.name!r} has no run of {model} on {dataset} with seed {seed}")


def record_seconds(stage: str, run: TrainingRun, seconds: float) -> None:
    """Record how long a job took; the longest of several times counts, since others found most of it done."""
    path = _locate_seconds(stage, run)
    if seconds > (_read_seconds(path) or 0):
        write_json(path, {"seconds": round(seconds, 1)})


def _locate_seconds(stage: str, run: TrainingRun) -> Path:
    return store.OUTPUTS / "store" / "seconds" / f"{stage}-{run.file_name}.json"


def _read_seconds(path: Path) -> float | None:
    return float(read_json(path)["seconds"]) if path.is_file() else None


def _estimate(jobs: list[tuple[Job, TrainingRun]]) -> list[tuple[Job, float]]:
    """The jobs with their expected seconds, and the work of each: bytes of data times layers."""
    works = [_work(run) for _, run in jobs]
    known = [_read_seconds(_locate_seconds(job.stage, run)) for job, run in jobs]
    rates: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for (job, _), seconds, work in zip(jobs, known, works, strict=True):
        if seconds is not None:
            for kind in _list_kinds(job):
                rates[kind].append(seconds / work)
    found = []
    for (job, _), seconds, work in zip(jobs, known, works, strict=True):
        alike = next((rates[kind] for kind in _list_kinds(job) if kind in rates), [])
        if seconds is None and alike:
            seconds = work * sum(alike) / len(alike)
        found.append((replace(job, seconds=seconds), work))
    return found


def _list_kinds(job: Job) -> list[tuple[str, ...]]:
    """Kinds of jobs that this one is of, the most alike first: those of its other seeds, of its model, of its stage."""
    return [(job.stage, job.model, job.dataset), (job.stage, job.model), (job.stage,)]


def _rank(jobs: list[tuple[Job, float]]) -> list[Job]:
    """The jobs with their ranks: what makes models before what measures, and of either the longest first."""
    order = sorted(jobs, key=lambda each: (each[0].stage == "prepare", each[0].seconds or 0.0, each[1]))
    ranks = {job.name: rank for rank, (job, _) in enumerate(order)}
    return [replace(job, rank=ranks[job.name]) for job, _ in jobs]


def _work(run: TrainingRun) -> float:
    layers = 0 if run.model in CLASSICS else find_architecture(run.model).layers
    return (1 + layers) * _count_bytes(run.data)


@cache
def _count_bytes(spec: DataSpec) -> int:
    return 1 + sum(path.stat().st_size for path in Path(spec.folder or ".").glob("*_T*.ts"))
