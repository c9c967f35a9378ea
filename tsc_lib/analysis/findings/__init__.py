"""What was found, in sentences whose every number is computed: one function for each result of the notebooks.

Each takes tables and returns Markdown.
"""

from __future__ import annotations

from tsc_lib.analysis.findings.baseline import accuracy, confusion, cost, learning
from tsc_lib.analysis.findings.combining import ablation, criteria, headline, multiplied, savings_by_step, taken_apart
from tsc_lib.analysis.findings.data import balance, lengths, overview
from tsc_lib.analysis.findings.energy import claims, claims_table, control, energy, front, study_table, trade, views
from tsc_lib.analysis.findings.pruning import masks_and_removal, pruned_accuracy, pruned_time, removal
from tsc_lib.analysis.findings.quantization import (
    int8_accuracy,
    int8_operators,
    int8_size,
    int8_time,
    layer_errors,
    sensitivity,
)
from tsc_lib.analysis.findings.runtimes import (
    availability,
    int8_losses,
    rate,
    rate_bound,
    runtime_saving,
    tail,
    threads,
)

__all__ = [
    "ablation",
    "accuracy",
    "availability",
    "balance",
    "claims",
    "claims_table",
    "confusion",
    "control",
    "cost",
    "criteria",
    "energy",
    "front",
    "headline",
    "int8_accuracy",
    "int8_losses",
    "int8_operators",
    "int8_size",
    "int8_time",
    "layer_errors",
    "learning",
    "lengths",
    "masks_and_removal",
    "multiplied",
    "overview",
    "pruned_accuracy",
    "pruned_time",
    "rate",
    "rate_bound",
    "removal",
    "runtime_saving",
    "savings_by_step",
    "sensitivity",
    "study_table",
    "tail",
    "taken_apart",
    "threads",
    "trade",
    "views",
]
