"""Columns of the results table, and those of them that classifying the test set fills."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import f1_score

from tsc_lib.benchmark.summary import CONTROLS, CPU, ENERGIES, LATENCIES
from tsc_lib.core.stats import paired_difference_interval, proportion_interval

COSTS = [*CPU, *CONTROLS, *LATENCIES, *ENERGIES, "energy_source", "energy_backend", "energy_warning"]
"""Columns of the results table that a benchmark session fills."""

QUALITIES = [
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "f1_macro",
    "classes_predicted",
    "accuracy_drop",
    "accuracy_drop_low",
    "accuracy_drop_high",
    "params",
    "nonzero_params",
    "macs",
    "model_bytes",
    "int8_ops",
    "fp32_ops",
]
"""Columns of the results table that classifying the test set fills."""

VARIANT = ["dataset", "model", "recipe", "runtime", "seed", "batch_size", "threads"]

SIZES = ["params", "nonzero", "macs", "bytes"]

EVIDENCE = [
    *["dataset", "model", "seed", "recipe", "runtime", "step"],
    *[f"{size}_{when}" for size in SIZES for when in ("before", "after")],
    *["int8_ops", "fp32_ops"],
]
"""Columns of the table of what each compression step changed."""

COLUMNS = [*VARIANT, *QUALITIES, *COSTS, "energy_modelled_mj_per_sample", "status"]
"""Columns of the results table, in order."""


def qualities(record: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    """Accuracy, its loss against the reference, and sizes, from the records that `stages.evaluate` made."""
    true, predicted = np.array(record["true"]), np.array(record["predicted"])
    correct = predicted == true
    accuracy = proportion_interval(int(correct.sum()), len(true))
    row: dict[str, Any] = dict(zip(("accuracy", "accuracy_low", "accuracy_high"), accuracy, strict=True))
    row["f1_macro"] = float(f1_score(true, predicted, average="macro", zero_division=0))
    row["classes_predicted"] = len(np.unique(predicted))
    if reference["status"] == "ok":
        drop = paired_difference_interval(np.array(reference["predicted"]) == true, correct)
        names = ("accuracy_drop", "accuracy_drop_low", "accuracy_drop_high")
        row |= {name: 100 * value for name, value in zip(names, drop, strict=True)}
    sizes, deployed = record["measures"], record["deployed"]
    row |= {"params": sizes["params"], "nonzero_params": sizes["nonzero"], "macs": sizes["macs"]}
    return row | {name: deployed[name] for name in ("model_bytes", "int8_ops", "fp32_ops")}
