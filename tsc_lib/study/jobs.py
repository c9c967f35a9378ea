"""Single jobs of the batch, each in a process of its own.

The batch engine calls this module::

    python -m tsc_lib.study.jobs prepare --profile paper --dataset PLAID --model T1 --seed 0
    python -m tsc_lib.study.jobs benchmark --profile paper --dataset PLAID --model T1 --seed 0
"""

from __future__ import annotations

import argparse
import logging
import sys
import time

from tsc_lib.benchmark.place import record_place
from tsc_lib.compress import Variant
from tsc_lib.core.errors import UserError, run_command
from tsc_lib.core.progress import track
from tsc_lib.core.store import StageFailed
from tsc_lib.study import Study, operator_shares
from tsc_lib.study.model_comparison import Entry, ModelComparison
from tsc_lib.study.plan import STAGES, find_run, record_seconds
from tsc_lib.study.profiles import load_profile
from tsc_lib.study.runtime_comparison import RuntimeComparison
from tsc_lib.study.specs import TrainingRun

logger = logging.getLogger("tsc_lib.study.jobs")  # also where this module is the program

SESSIONS = ("measuring variants", "measuring runtimes", "measuring all models")
"""What is measured side by side, in this order; not every run has each."""


def prepare(study: Study, run: TrainingRun) -> None:
    """Train a run's model, make every variant of it and classify the test set with each; failures are recorded."""
    models = ModelComparison(study)
    variants = list_variants(study, run, models)
    with track(run.label, [str(variant) for variant in variants]) as begin:
        for variant in variants:
            begin(str(variant))
            found = models.evaluate(Entry(run, variant))
            if found.status != "ok":
                logger.warning("%s: %s %s", run.label, variant, found.status)


def list_variants(study: Study, run: TrainingRun, models: ModelComparison) -> list[Variant]:
    """All variants of a run that a profile asks for, whichever of its sections does."""
    found = models.variants_of(run)
    if study.is_network(run):
        comparison = RuntimeComparison(study)
        found += [*study.variants_of(run), *(comparison.variants if run in comparison.runs else [])]
    return list(dict.fromkeys(found))


def benchmark(study: Study, run: TrainingRun) -> None:
    """Measure a run's variants in one session, its runtimes in one for each number of threads, and their operators.

    With the first network of a data set, of the first seed, all models are measured side by side, too.
    """
    with track(run.label, SESSIONS) as begin:
        begin("measuring variants")
        try:
            study.benchmark(run)
        except StageFailed as failure:
            if not study.is_optional(run.data):
                raise UserError(f"{run.label} could not be measured: {failure}") from None
            logger.warning("%s is not measured: %s", run.label, failure)
            return
        study.run_results(run)  # kept, so that tables need not make these rows again
        comparison = RuntimeComparison(study)
        if run in comparison.runs:
            begin("measuring runtimes")
            comparison.measure(run)
            operator_shares.tabulate_run(comparison, run)
        models = ModelComparison(study)
        if run.seed == study.profile.seeds[0] and models.entries[run.data, run.seed][0].run == run:
            begin("measuring all models")
            models.measure(run.data, run.seed)


def main(arguments: list[str] | None = None) -> int:
    """The commands that the batch engine calls; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tsc_lib.study.jobs", description=__doc__.splitlines()[0])
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--profile", required=True, help="name of the profile, or the path of a YAML file")
    for name in ("dataset", "model", "seed"):
        parser.add_argument(f"--{name}", required=True, help="of one of the profile's runs")
    return run_command(_work, parser.parse_args(arguments), farewell="")


def _work(chosen: argparse.Namespace) -> None:
    started = time.monotonic()
    study = Study(load_profile(chosen.profile), only=chosen.dataset)
    run = find_run(study, chosen.dataset, chosen.model, int(chosen.seed))
    record_place(run.file_name)
    {"prepare": prepare, "benchmark": benchmark}[chosen.stage](study, run)
    record_seconds(chosen.stage, run, time.monotonic() - started)


if __name__ == "__main__":
    sys.exit(main())
