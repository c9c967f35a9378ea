"""What bounds a runtime's rate: the uncompressed model in ONNX Runtime, by kind of operator."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tsc_lib import data
from tsc_lib.benchmark.host import Machine, describe_machine
from tsc_lib.benchmark.inputs import draw_sample, make_calls
from tsc_lib.benchmark.operator_times import OperatorTimes, measure_operators
from tsc_lib.compress import BASELINE, Variant
from tsc_lib.core.files import Json
from tsc_lib.core.spec import Spec
from tsc_lib.core.stats import Interval, ratio_interval
from tsc_lib.core.store import StageFailed, run_or_load
from tsc_lib.study import stages
from tsc_lib.study.runtime_comparison import RuntimeComparison
from tsc_lib.study.specs import TrainingRun
from tsc_lib.study.versions import version

RUNTIME = "onnxruntime"
"""The runtime that tells the time of each operator."""

VARIANT = Variant(BASELINE, RUNTIME)

REPEATS = 30
COLUMNS = [
    *["dataset", "model", "seed", "runtime", "batch_size", "kind", "operators", "macs", "ms"],
    *["share", "share_low", "share_high", "gflops", "status"],
]


@dataclass(frozen=True)
class OperatorJob(Spec):
    """A run's uncompressed model on a sample of so many test series, in batches of one size."""

    run: TrainingRun
    series: int
    batch_size: int
    machine: Machine


def load_times(job: OperatorJob) -> tuple[int, list[OperatorTimes]]:
    """Series in a sweep, and `operator_times` of an uncompressed model, measured or loaded.

    Raises
    ------
    StageFailed
        If the model cannot be evaluated.
    """

    def work(folder: Path) -> Json:
        graph, dataset = stages.evaluate(job.run, VARIANT).folder, data.load(job.run.data)
        calls = make_calls(draw_sample(dataset.test.x, job.series), dataset.equal_length, job.batch_size)
        kinds = measure_operators(graph, calls, REPEATS)
        return {"series": sum(len(call.x) for call in calls), "kinds": [asdict(kind) for kind in kinds]}

    _, record = run_or_load("operators", version("operators", RUNTIME), job.run.label, job, work)
    return record["series"], [OperatorTimes(**kind) for kind in record["kinds"]]


def operator_table(comparison: RuntimeComparison) -> pd.DataFrame:
    """Every kind of operator of the uncompressed models that a profile compares in ONNX Runtime: columns `COLUMNS`.

    ``macs`` and ``ms`` are those of one series; ``share`` is the part of all operators' time, in per cent, with the
    ends of its 95 % interval over sweeps; ``gflops`` is two operations for every multiply-accumulate over the time.
    """
    return pd.DataFrame([row for run in comparison.runs for row in tabulate_run(comparison, run)], columns=COLUMNS)


def tabulate_run(comparison: RuntimeComparison, run: TrainingRun) -> list[dict[str, object]]:
    """One run's rows of `operator_table`, measured or loaded; none if the profile does not compare the runtime."""
    if VARIANT not in comparison.variants:
        return []
    settings = comparison.settings(run, 1)
    job = OperatorJob(run, settings.series, max(settings.batch_sizes), describe_machine())
    known = {**run.names, "runtime": RUNTIME, "batch_size": job.batch_size}
    try:
        return [{**known, **row, "status": "ok"} for row in compute_shares(*load_times(job))]
    except StageFailed as failure:
        return [{**known, "status": f"failed: {failure}"}]


def compute_shares(series: int, kinds: list[OperatorTimes]) -> list[dict[str, object]]:
    """The rows of `operator_table` for one model, from the times of all sweeps of so many series."""
    total = np.sum([kind.ms for kind in kinds], axis=0)
    rows: list[dict[str, object]] = []
    for kind in kinds:
        ms = float(np.median(kind.ms))
        share = ratio_interval(kind.ms, total) if ms else Interval(0.0, 0.0, 0.0)
        rows.append(
            {
                "kind": kind.kind,
                "operators": kind.operators,
                "macs": kind.macs / series,
                "ms": ms / series,
                **{name: 100 * part for name, part in share.columns("share").items()},
                "gflops": 2 * kind.macs / ms / 1e6 if kind.macs and ms else None,
            }
        )
    return rows
