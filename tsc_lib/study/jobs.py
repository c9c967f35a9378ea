"""Single jobs of the batch, each in a process of its own.

The batch engine calls this module::

    python -m tsc_lib.study.jobs prepare PLAID-T1-s0-0123456789ab --profile paper
    python -m tsc_lib.study.jobs benchmark PLAID-T1-s0-0123456789ab --profile paper
"""

from __future__ import annotations

import argparse
import logging
import sys

from tsc_lib.compress import Variant
from tsc_lib.core.errors import UserError, run_command
from tsc_lib.core.store import StageFailed
from tsc_lib.study import Study, operator_shares
from tsc_lib.study.model_comparison import Entry, ModelComparison
from tsc_lib.study.runtime_comparison import RuntimeComparison
from tsc_lib.study.stages import TrainingRun

logger = logging.getLogger(__name__)


def prepare(study: Study, job: str) -> None:
    """Train a run's model, make every variant of it and classify the test set with each; failures are recorded."""
    run, models = study.run_of("prepare", job), ModelComparison(study)
    for variant in models.variants_of(run):
        _tell(run, variant, models.evaluate(Entry(run, variant)).status)
    if run not in study.runs:
        return
    comparison = RuntimeComparison(study)
    compared = comparison.variants if run in comparison.runs else []
    for variant in dict.fromkeys([*study.variants_of(run), *compared]):
        _tell(run, variant, study.evaluate(run, variant).status)


def _tell(run: TrainingRun, variant: Variant, status: str) -> None:
    if status != "ok":
        logger.warning("%s: %s %s", run.label, variant, status)


def benchmark(study: Study, job: str) -> None:
    """Measure a run's variants in one session, its runtimes in one for each number of threads, and their operators.

    With the first network of a data set, of the first seed, all models are measured side by side, too.
    """
    run = study.run_of("benchmark", job)
    try:
        study.benchmark(run)
    except StageFailed as failure:
        raise UserError(f"{run.label} could not be measured: {failure}") from None
    comparison = RuntimeComparison(study)
    if run in comparison.runs:
        comparison.measure(run)
        operator_shares.tabulate_run(comparison, run)
    models = ModelComparison(study)
    if run.seed == study.profile.seeds[0] and models.entries[run.data, run.seed][0].run == run:
        models.measure(run.data, run.seed)


def main(arguments: list[str] | None = None) -> int:
    """The commands that the batch engine calls; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tsc_lib.study.jobs", description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["prepare", "benchmark"])
    parser.add_argument("job", help="name of a run of the profile, as `Study.job_name` gives it")
    parser.add_argument("--profile", required=True, help="name of the profile, or the path of a YAML file")
    chosen = parser.parse_args(arguments)
    stage = {"prepare": prepare, "benchmark": benchmark}[chosen.command]
    return run_command(lambda: stage(Study.open(chosen.profile), chosen.job), farewell="")


if __name__ == "__main__":
    sys.exit(main())
