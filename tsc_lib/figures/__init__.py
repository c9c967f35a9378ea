"""Every figure: one function each, from a table to a matplotlib `Figure`.

Figures are 750 pixels wide at 100 dots per inch, carry units on their axes and intervals wherever there are repeats,
and give every strategy one colour throughout.
"""

from __future__ import annotations

from tsc_lib.figures.baseline import accuracy_beside_references, confusion_matrices, learning_curves, model_cost
from tsc_lib.figures.combining import front_beside_study, importance_criteria, left_out, savings_by_step
from tsc_lib.figures.data import class_balance, example_series, series_lengths
from tsc_lib.figures.early_exit import series_left
from tsc_lib.figures.energy import aa_control, energy_beside_model, energy_by_strategy, pareto, saving_against_loss
from tsc_lib.figures.palette import STRATEGY_COLOURS
from tsc_lib.figures.pruning import accuracy_against_ratio, removed_structure, speed_against_ratio
from tsc_lib.figures.quantization import layer_errors, quantized_accuracy, quantized_cost, sensitivity_map
from tsc_lib.figures.runtimes import (
    effective_rate,
    int8_beside_fp32,
    latency_distribution,
    operator_shares,
    runtime_cost,
    second_thread,
)
from tsc_lib.figures.search import search_plane
from tsc_lib.figures.summary import claims_beside_ours, main_bars

__all__ = [
    "STRATEGY_COLOURS",
    "aa_control",
    "accuracy_against_ratio",
    "accuracy_beside_references",
    "claims_beside_ours",
    "class_balance",
    "confusion_matrices",
    "effective_rate",
    "energy_beside_model",
    "energy_by_strategy",
    "example_series",
    "front_beside_study",
    "importance_criteria",
    "int8_beside_fp32",
    "latency_distribution",
    "layer_errors",
    "learning_curves",
    "left_out",
    "main_bars",
    "model_cost",
    "operator_shares",
    "pareto",
    "quantized_accuracy",
    "quantized_cost",
    "removed_structure",
    "runtime_cost",
    "saving_against_loss",
    "savings_by_step",
    "search_plane",
    "second_thread",
    "sensitivity_map",
    "series_left",
    "series_lengths",
    "speed_against_ratio",
]
