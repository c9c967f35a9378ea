"""What tests of reports are made of: notebooks, and a table of results."""

from __future__ import annotations

import nbformat
import pandas as pd

PARAMETERS = 'profile: str = "smoke"  # which profile'


def write_notebook(path, *cells):
    """A notebook with a title, a parameters cell and the given code cells."""
    parameters = nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    prose = nbformat.v4.new_markdown_cell(f"# {path.stem} title\n\nSome maths: $x^2$.")
    notebook = nbformat.v4.new_notebook(cells=[prose, parameters, *map(nbformat.v4.new_code_cell, cells)])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)
    return path


def row(ratio=1.0, **values):
    """One row of a results table: the reference, which costs 2 mJ, unless told otherwise."""
    usual = {"dataset": "A", "model": "T1", "recipe": "baseline", "runtime": "eager", "seed": 0, "batch_size": 64}
    usual |= {"accuracy": 0.9, "classes_predicted": 2, "accuracy_drop": 0.0, "aa_ratio": 1.01, "status": "ok"}
    usual |= {"cpu_ratio": ratio, "cpu_ratio_low": ratio - 0.02, "cpu_ratio_high": ratio + 0.02}
    usual |= {"energy_ratio": ratio, "energy_ratio_low": ratio - 0.02, "energy_ratio_high": ratio + 0.02}
    usual |= {"energy_mj_per_sample": 2 * ratio, "energy_source": "estimated"}
    usual |= {
        "energy_low_mj_per_sample": ratio,
        "energy_high_mj_per_sample": 4 * ratio,
        "energy_net_mj_per_sample": None,
    }
    usual |= {"accuracy_drop_low": float("nan"), "accuracy_drop_high": float("nan"), "params": 1000}
    usual |= {"aa_ratio_low": 0.99, "aa_ratio_high": 1.02, "cpu_ms_per_sample": ratio, "f1_macro": 0.9}
    usual |= {"energy_modelled_mj_per_sample": 0.1, "model_bytes": 4000, "macs": 1000, "int8_ops": 0, "fp32_ops": 9}
    return usual | values


RESULTS = pd.DataFrame(
    [
        row(),
        row(batch_size=1, ratio=1.0, aa_ratio=1.5),
        row(recipe="prune(l1, 0.5)", ratio=0.3, accuracy_drop=9.0),
        row(recipe="prune(l1, 0.5) > finetune(4)", ratio=0.4, accuracy_drop=0.4),
        row(recipe="mask(l1, 0.5)", ratio=1.0, accuracy_drop=0.2),
        row(recipe="int8(dynamic)", ratio=1.25),
        row(recipe="int8(static)", runtime="inductor", status="failed: no compiler", ratio=float("nan")),
    ]
)
