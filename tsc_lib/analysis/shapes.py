"""Sizes of a transformer beside each other: means over the seeds, and those that no other beats."""

from __future__ import annotations

import pandas as pd

from tsc_lib.analysis.quantities import over_seeds
from tsc_lib.core.stats import pareto_front


def summarize_shapes(table: pd.DataFrame) -> pd.DataFrame:
    """Each shape on each data set, and whether it is on the front of validation accuracy and CPU time.

    Parameters
    ----------
    table : DataFrame
        Of `tsc_lib.study.shape_sweep.sweep_shapes`.

    Returns
    -------
    DataFrame
        Columns `dataset`, `model`, `sizes` (what differs from the model that most are shapes of), `tokens`, `params`,
        `macs`, `batch_size`, `accuracy_valid` in percent and `cpu_us_per_sample` in microseconds, each with the ends of
        its 95 % interval over the seeds (of a single one, over its validation series and its session's blocks), and
        `on_front`.
    """
    rows = table.dropna(subset=["accuracy_valid", "cpu_ms_per_sample"]).copy()
    for end in ("", "_low", "_high"):
        rows[f"accuracy_valid{end}"] *= 100
        rows[f"cpu_us_per_sample{end}"] = 1000 * rows[f"cpu_ms_per_sample{end}"]
    by = ["dataset", "model", "tokens", "params", "macs", "batch_size"]
    found = over_seeds(rows, by, means=["accuracy_valid"], ratios=["cpu_us_per_sample"])
    names = [model.partition("(")[0] for model in found.model]
    base = max(names, key=names.count, default="")
    found["sizes"] = [name_sizes(model, base) for model in found.model]
    found["on_front"] = False
    for _, part in found.groupby(["dataset", "batch_size"]):
        found.loc[part.index, "on_front"] = pareto_front(part.cpu_us_per_sample, part.accuracy_valid)
    return found


def name_sizes(model: str, base: str) -> str:
    """What differs in a model from another, by name, of which most of the others are shapes.

    Examples
    --------
    >>> name_sizes("ConvTransformer(layers=1)", "ConvTransformer"), name_sizes("T1(layers=1)", "ConvTransformer")
    ('layers=1', 'T1(layers=1)')
    """
    name, _, sizes = model.partition("(")
    return (sizes.removesuffix(")") or "as it is") if name == base else model
