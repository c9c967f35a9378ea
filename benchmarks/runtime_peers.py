"""Our runtimes beside their plain use: the same weights, threads and batches in one session of interleaved blocks.

    python benchmarks/runtime_peers.py --dataset ElectricDevices --output peers.csv

A ratio below 1 says that ours takes less CPU time. The plain ways are in `plain_runtimes`.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from plain_runtimes import WAYS

from tsc_lib import data
from tsc_lib.benchmark import BenchmarkSettings, Candidate, Measurement, run_session, save_inputs
from tsc_lib.compress import REFERENCE, Recipe, Variant
from tsc_lib.core.errors import run_command
from tsc_lib.core.files import write_text
from tsc_lib.study import Study, stages
from tsc_lib.study.specs import TrainingRun

RECIPES = {"fp32": "baseline", "int8": "int8(static)"}


def main() -> int:
    """Measure every chosen data set and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="paper", help="whose data sets and training to use (default: paper)")
    parser.add_argument("--dataset", nargs="+", default=[], help="names (default: all of the profile)")
    parser.add_argument("--model", default="T1", help="T1 or T2 (default: T1)")
    parser.add_argument("--way", nargs="+", default=list(WAYS), choices=WAYS, help="runtimes (default: all)")
    parser.add_argument("--batch-sizes", type=int, nargs="+", metavar="N", help="default: as in the profile")
    parser.add_argument("--blocks", type=int, default=40, help="paired repeats (default: 40)")
    parser.add_argument("--output", type=Path, metavar="CSV", help="write the table to this file, too")
    return run_command(measure_all, parser.parse_args())


def measure_all(chosen: argparse.Namespace) -> None:
    """The table of all chosen data sets, printed and written."""
    study = Study.open(chosen.profile, datasets=chosen.dataset, models=[chosen.model], seeds=[0])
    rows = []
    for run in study.runs:
        settings = dataclasses.replace(study.settings(run.data), blocks=chosen.blocks)
        if chosen.batch_sizes:
            settings = dataclasses.replace(settings, batch_sizes=chosen.batch_sizes)
        rows += measure(run, chosen.way, settings)
        table = pd.DataFrame(rows)
        if chosen.output:
            write_text(chosen.output, table.to_csv(index=False))
    print(table.to_string(index=False, float_format="{:.4g}".format))


def measure(run: TrainingRun, ways: list[str], settings: BenchmarkSettings) -> list[dict[str, Any]]:
    """One session: for every way and batch size, ours ÷ plain and ours ÷ eager fp32, with 95 % intervals."""
    dataset = data.load(run.data)
    candidates = []
    for way in ways:
        runtime, number_format = way.split()
        recipe = Recipe.parse(RECIPES[number_format])
        ours = stages.evaluate(run, Variant(recipe, runtime)).folder
        trained, _ = stages.compress_model(run, recipe)
        plain: dict[str, Any] = {"folder": str(trained), "way": way, "threads": settings.threads}
        candidates += [
            Candidate.of_model(f"ours, {way}", ours, runtime, settings.threads),
            Candidate(f"plain, {way}", "plain_runtimes:load", {**plain, "equal_length": dataset.equal_length}),
        ]
    reference = Candidate.of_model("eager", stages.evaluate(run, REFERENCE).folder, "eager", settings.threads)
    with tempfile.TemporaryDirectory() as temporary:
        inputs = Path(temporary) / "inputs.npz"
        save_inputs(inputs, dataset.test.x, equal_length=dataset.equal_length, settings=settings)
        session = run_session(reference, candidates, inputs, settings)
    found = {(each.name, each.batch_size): each for each in session.measurements}
    return [
        {"dataset": dataset.name, "way": way, "batch_size": size, **beside(found, way, size)}
        for size in settings.batch_sizes
        for way in ways
    ]


def beside(found: dict[tuple[str, int], Measurement], way: str, size: int) -> dict[str, Any]:
    """What a session says of one way at one batch size; only the status of what failed."""
    ours, plain, eager = (found[name, size] for name in (f"ours, {way}", f"plain, {way}", "eager"))
    failed = [f"{each.name} {each.status}" for each in (ours, plain) if not each.ok]
    if failed:
        return {"status": "; ".join(failed)}
    values: dict[str, Any] = {"status": "ok", "blocks": ours.blocks}
    for name, each in (("ours", ours), ("plain", plain)):
        values[f"{name}_cpu_ms"] = size * (each.cpu_ms_per_sample or 0.0)
    for name, other in (("plain", plain), ("eager", eager)):
        ratio = ours.cpu_ratio_to(other)
        values |= zip((f"ratio_{name}", f"ratio_{name}_low", f"ratio_{name}_high"), ratio, strict=True)
    return values | {"aa_ratio": ours.aa_ratio}


if __name__ == "__main__":
    sys.exit(main())
