"""What a mixture of experts costs beside a plain feed-forward part: the same data, threads and batches, one session.

    python benchmarks/experts.py --dataset ElectricDevices --experts 4

Beside the plain model with its `d_ff` neurons stand E experts with as many neurons in total, of which a token uses one
E-th, and E experts with as many neurons each, of which a token uses one. A ratio above 1 says that they take more CPU
time than the plain model in the same runtime. The weights are untrained: how evenly an untrained router uses its
experts is as it happens.
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
from tsc_lib.core.errors import run_command
from tsc_lib.core.files import write_text
from tsc_lib.models.compressed import CompressedModel
from tsc_lib.models.transformer import Transformer
from tsc_lib.models.zoo import find_architecture
from tsc_lib.runtimes.convert import WITH_EXPERTS, convert
from tsc_lib.study import Study
from tsc_lib.study.specs import TrainingRun


def main() -> int:
    """Measure every chosen data set and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="paper", help="whose data sets and batch sizes to use (default: paper)")
    parser.add_argument("--dataset", nargs="+", default=[], help="names (default: all of the profile)")
    parser.add_argument("--model", default="T1", help="the plain model (default: T1)")
    parser.add_argument("--experts", nargs="+", type=int, default=[4], help="how many in a layer (default: 4)")
    parser.add_argument("--blocks", type=int, default=20, help="paired repeats (default: 20)")
    parser.add_argument("--output", type=Path, metavar="CSV", help="write the table to this file, too")
    return run_command(measure_all, parser.parse_args())


def measure_all(chosen: argparse.Namespace) -> None:
    """The table of all chosen data sets and both runtimes, printed and written after each."""
    study = Study.open(chosen.profile, datasets=chosen.dataset, models=[chosen.model], seeds=[0])
    rows: list[dict[str, Any]] = []
    for run in study.runs:
        for runtime in WITH_EXPERTS:
            rows += measure(
                run, runtime, chosen.experts, dataclasses.replace(study.settings(run.data), blocks=chosen.blocks)
            )
        table = pd.DataFrame(rows)
        if chosen.output:
            write_text(chosen.output, table.to_csv(index=False))
        print(table.to_string(index=False, float_format="{:.4g}".format), flush=True)


def measure(run: TrainingRun, runtime: str, counts: list[int], settings: BenchmarkSettings) -> list[dict[str, Any]]:
    """One session: for every shape and batch size CPU time ÷ that of the plain model, with 95 % intervals."""
    dataset, plain = data.load(run.data), find_architecture(run.model)
    shapes = {"plain": plain}
    for count in counts:
        shapes[f"{count} experts, same total"] = dataclasses.replace(plain, d_ff=plain.d_ff // count, experts=count)
        shapes[f"{count} experts, same active"] = dataclasses.replace(plain, experts=count)
    length, candidates = int(np.median(dataset.train.lengths)), []
    with tempfile.TemporaryDirectory() as temporary:
        for number, (name, shape) in enumerate(shapes.items()):
            folder = Path(temporary) / str(number)
            folder.mkdir()
            config = shape.configure(dataset.channels, len(dataset.classes), dataset.longest)
            config = dataclasses.replace(config, d_hidden=plain.d_ff)
            torch.manual_seed(0)
            model = CompressedModel(Transformer(config).eval(), length)
            convert(model, runtime, folder, equal_length=dataset.equal_length)
            candidates.append(Candidate.of_model(name, folder, runtime, settings.threads))
        inputs = Path(temporary) / "inputs.npz"
        save_inputs(inputs, dataset.test.x, equal_length=dataset.equal_length, settings=settings)
        session = run_session(candidates[0], candidates[1:], inputs, settings)
    return [
        {
            "dataset": dataset.name,
            "runtime": runtime,
            "shape": each.name,
            "batch_size": each.batch_size,
            "status": each.status,
            "cpu_ms_per_sample": each.cpu_ms_per_sample,
            "ratio": each.cpu_ratio,
            "ratio_low": each.cpu_ratio_low,
            "ratio_high": each.cpu_ratio_high,
            "aa_ratio": each.aa_ratio,
        }
        for each in session.measurements
        if each.name in shapes
    ]


if __name__ == "__main__":
    sys.exit(main())
