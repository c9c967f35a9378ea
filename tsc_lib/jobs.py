"""Single jobs of the batch, each in a process of its own.

The batch engine calls this module::

    python -m tsc_lib.jobs prepare PLAID-T1-s0-0123456789ab --profile paper
    python -m tsc_lib.jobs benchmark PLAID-T1-s0-0123456789ab --profile paper
"""

from __future__ import annotations

import argparse
import sys

from tsc_lib.errors import exit_code
from tsc_lib.study import Study, operator_shares
from tsc_lib.study.comparison import RuntimeComparison


def prepare(study: Study, job: str) -> None:
    """Train a unit's model, make every variant of it and classify the test set with each; failures are recorded."""
    unit = study.unit_of("prepare", job)
    comparison = RuntimeComparison(study)
    compared = comparison.variants if unit in comparison.units else []
    for recipe, runtime in dict.fromkeys([*study.variants_of(unit), *compared]):
        status = study.deploy(unit, recipe, runtime)["status"]
        if status != "ok":
            print(f"{unit.label}: {recipe} in {runtime} {status}", file=sys.stderr, flush=True)


def benchmark(study: Study, job: str) -> None:
    """Measure a unit's variants in one session, its runtimes in one for each number of threads, and their operators."""
    unit = study.unit_of("benchmark", job)
    print(f"{unit.label}: benchmark", file=sys.stderr, flush=True)
    study.benchmark(unit)
    comparison = RuntimeComparison(study)
    if unit in comparison.units:
        comparison.measure(unit)
        operator_shares.rows_of(comparison, unit)


def main(arguments: list[str] | None = None) -> int:
    """The commands that the batch engine calls; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tsc_lib.jobs", description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["prepare", "benchmark"])
    parser.add_argument("job", help="name of a unit of the profile, as `Study.job_name` gives it")
    parser.add_argument("--profile", required=True, help="name of the profile, or the path of a YAML file")
    chosen = parser.parse_args(arguments)
    stage = {"prepare": prepare, "benchmark": benchmark}[chosen.command]
    return exit_code(lambda: stage(Study.open(chosen.profile), chosen.job))


if __name__ == "__main__":
    sys.exit(main())
