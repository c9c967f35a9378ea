"""One series in the runtime `c`, fp32 and int8, beside ONNX Runtime and T1 in eager PyTorch, with untrained weights.

    python benchmarks/plain_c.py --output plain_c.csv

One session a data set, one thread. A model's time does not depend on the values of its weights.
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
from tsc_lib.compress import TrainingContext, apply
from tsc_lib.core.errors import run_command
from tsc_lib.core.files import write_text
from tsc_lib.models.compressed import CompressedModel
from tsc_lib.models.transformer import Transformer
from tsc_lib.models.zoo import configure
from tsc_lib.runtimes.convert import convert
from tsc_lib.training.defaults import find_train_spec

MODELS = {"student": "T1(layers=2, heads=4, d_ff=64)", "ConvTransformer": "ConvTransformer"}
"""The sizes of the step `student(layers=2)`, and ours."""

DATASETS = ("ElectricDevices", "RefrigerationDevices", "PLAID")


def main() -> int:
    """Measure every data set and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", nargs="+", default=DATASETS, help="names (default: the study's)")
    parser.add_argument("--blocks", type=int, default=20, help="paired repeats (default: 20)")
    parser.add_argument("--output", type=Path, metavar="CSV", help="write the table to this file, too")
    return run_command(measure_all, parser.parse_args())


def measure_all(chosen: argparse.Namespace) -> None:
    """The table of all data sets, printed and written after each."""
    settings, rows = BenchmarkSettings(batch_sizes=(1,), blocks=chosen.blocks, max_seconds=60), list[dict[str, Any]]()
    for name in chosen.dataset:
        rows += measure(data.load(data.resolve(name, scaling="series")), settings)
        table = pd.DataFrame(rows)
        if chosen.output:
            write_text(chosen.output, table.to_csv(index=False))
        print(table.to_string(index=False, float_format="{:.4g}".format), flush=True)


def measure(dataset: data.Dataset, settings: BenchmarkSettings) -> list[dict[str, Any]]:
    """One session: for every model its CPU time in C, and ratios to it elsewhere and in int8, with 95 % intervals."""
    names = {"T1 eager": ("T1", "eager", "baseline")}
    for name, model in MODELS.items():
        names |= {f"{name} {kind}": (model, kind, "baseline") for kind in ("c", "onnxruntime")}
        names |= {f"{name} int8": (model, "c", "int8(static)")}
    candidates = []
    with tempfile.TemporaryDirectory() as temporary:
        for number, (name, (model, runtime, recipe)) in enumerate(names.items()):
            folder = Path(temporary) / str(number)
            folder.mkdir()
            torch.manual_seed(0)
            config = configure(model, dataset.channels, len(dataset.classes), dataset.longest)
            made = CompressedModel(Transformer(config).eval(), int(np.median(dataset.train.lengths)))
            context = TrainingContext(
                dataset.train, dataset.valid, dataset.equal_length, find_train_spec(model), seed=0, teacher=made
            )
            made = apply(made, recipe, context)
            convert(made, runtime, folder, equal_length=dataset.equal_length, longest=dataset.longest)
            candidates.append(Candidate.of_model(name, folder, runtime, settings.threads))
        inputs = Path(temporary) / "inputs.npz"
        save_inputs(inputs, dataset.test.x, equal_length=dataset.equal_length, settings=settings)
        session = run_session(candidates[0], candidates[1:], inputs, dataclasses.replace(settings, seed=0))
    found = {each.name: each for each in session.measurements}
    rows = []
    for name in MODELS:
        own = found[f"{name} c"]
        row: dict[str, Any] = {"dataset": dataset.name, "model": name, "status": own.status}
        if own.ok:
            row |= {"c_us": 1000 * (own.cpu_ms_per_sample or 0.0), "aa_ratio": own.aa_ratio, "blocks": own.blocks}
            for label, other in (("onnxruntime", f"{name} onnxruntime"), ("t1_eager", "T1 eager")):
                row |= name_ratio(f"to_{label}", own.cpu_ratio_to(found[other]))
            row |= name_ratio("int8_to_fp32", found[f"{name} int8"].cpu_ratio_to(own))
        rows.append(row)
    return rows


def name_ratio(name: str, ratio: tuple[float, float, float]) -> dict[str, float]:
    """A ratio with its interval, as columns of a row."""
    return dict(zip((name, f"{name}_low", f"{name}_high"), ratio, strict=True))


if __name__ == "__main__":
    sys.exit(main())
