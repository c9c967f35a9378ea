"""Number formats in inductor beside one another: the same weights, graph, threads and batches, in one session.

    python benchmarks/number_formats.py --dataset ElectricDevices

A ratio below 1 says that a format takes less CPU time than fp32. The weights are untrained; time does not depend on
them.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from tsc_lib import data
from tsc_lib.benchmark import BenchmarkSettings, Candidate, run_session, save_inputs
from tsc_lib.compress import Recipe, TrainingContext, apply
from tsc_lib.core.errors import run_command
from tsc_lib.core.files import write_text
from tsc_lib.models.compressed import CompressedModel
from tsc_lib.models.zoo import build
from tsc_lib.runtimes.convert import convert
from tsc_lib.study import Study
from tsc_lib.study.specs import TrainingRun

RUNTIME = "inductor"
RECIPES = {"fp32": "baseline", "bf16": "bf16", "int8": "int8(static)"}


def main() -> int:
    """Measure every chosen data set and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="paper", help="whose data sets and batch sizes to use (default: paper)")
    parser.add_argument("--dataset", nargs="+", default=[], help="names (default: all of the profile)")
    parser.add_argument("--model", default="T1", help="T1 or T2 (default: T1)")
    parser.add_argument("--format", nargs="+", default=["bf16", "int8"], choices=list(RECIPES)[1:], help="beside fp32")
    parser.add_argument("--blocks", type=int, default=20, help="paired repeats (default: 20)")
    parser.add_argument("--output", type=Path, metavar="CSV", help="write the table to this file, too")
    return run_command(measure_all, parser.parse_args())


def measure_all(chosen: argparse.Namespace) -> None:
    """The table of all chosen data sets, printed and written after each."""
    study = Study.open(chosen.profile, datasets=chosen.dataset, models=[chosen.model], seeds=[0])
    rows: list[dict[str, Any]] = []
    for run in study.runs:
        rows += measure(run, chosen.format, dataclasses.replace(study.settings(run.data), blocks=chosen.blocks))
        table = pd.DataFrame(rows)
        if chosen.output:
            write_text(chosen.output, table.to_csv(index=False))
        print(table.to_string(index=False, float_format="{:.4g}".format), flush=True)


def measure(run: TrainingRun, formats: list[str], settings: BenchmarkSettings) -> list[dict[str, Any]]:
    """One session: for every format and batch size CPU time ÷ that of fp32, with 95 % intervals."""
    dataset = data.load(run.data)
    torch.manual_seed(0)
    network = build(run.model, dataset.channels, len(dataset.classes)).eval()
    model = CompressedModel(network, reference_length=int(np.median(dataset.train.lengths)))
    context = TrainingContext(dataset.train, dataset.valid, dataset.equal_length, run.train, seed=0)
    products, candidates = {}, []
    with tempfile.TemporaryDirectory() as temporary:
        for name in ("fp32", *formats):
            folder = Path(temporary) / name
            folder.mkdir()
            compressed = apply(model, Recipe.parse(RECIPES[name]), context)
            made = convert(compressed, RUNTIME, folder, equal_length=dataset.equal_length)
            products[name] = made.products or ()
            candidates.append(Candidate.of_model(name, folder, RUNTIME, settings.threads))
            print(run.data.name, name, f"{made.prepare_seconds:.0f} s", products[name], file=sys.stderr, flush=True)
        inputs = Path(temporary) / "inputs.npz"
        save_inputs(inputs, dataset.test.x, equal_length=dataset.equal_length, settings=settings)
        session = run_session(candidates[0], candidates[1:], inputs, settings)
    return [
        {
            "dataset": dataset.name,
            "format": each.name,
            "batch_size": each.batch_size,
            "products": products[each.name][each.batch_size > 1].faster,
            "status": each.status,
            "blocks": each.blocks,
            "cpu_ms_per_sample": each.cpu_ms_per_sample,
            "ratio": each.cpu_ratio,
            "ratio_low": each.cpu_ratio_low,
            "ratio_high": each.cpu_ratio_high,
            "aa_ratio": each.aa_ratio,
        }
        for each in session.measurements
        if each.name in products
    ]


if __name__ == "__main__":
    sys.exit(main())
