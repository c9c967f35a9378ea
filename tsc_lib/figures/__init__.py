"""Every figure: one function each, from a table to a matplotlib `Figure`.

Figures are 750 pixels wide at 100 dots per inch, carry units on their axes and intervals wherever there are repeats,
and give every family of strategies one colour throughout.
"""

from __future__ import annotations

from tsc_lib.figures.archive import (
    accuracy_beside_classics,
    promises_kept,
    rank_against_energy,
    savings_over_datasets,
    traits_of_wins,
)
from tsc_lib.figures.attention import attention_over_time
from tsc_lib.figures.baseline import accuracy_beside_references, confusion_matrices, learning_curves, model_cost
from tsc_lib.figures.combination import ablation, exit_shares, importance_criteria, savings_by_step
from tsc_lib.figures.data import class_balance, example_series, series_lengths
from tsc_lib.figures.energy import aa_control, energy_beside_model, energy_by_strategy
from tsc_lib.figures.hero import accuracy_against_saving
from tsc_lib.figures.microcontroller import accuracy_against_memory
from tsc_lib.figures.models import accuracy_against_energy, critical_difference, points_beside, training_paid_back
from tsc_lib.figures.pruning import accuracy_against_ratio, kept_structure, speed_against_ratio
from tsc_lib.figures.quantization import int8_accuracy, int8_cost, layer_errors, sensitivity_map
from tsc_lib.figures.runtimes import (
    effective_rate,
    int8_beside_fp32,
    latency_distribution,
    operator_shares,
    runtime_cost,
    second_thread,
)
from tsc_lib.figures.selection import fold_errors
from tsc_lib.figures.shapes import shapes_beside_cost
from tsc_lib.figures.study import claims_beside_ours, main_differences, strategies_beside_study
from tsc_lib.figures.trade import costs_of_pick, front_beside_study, pareto, saving_against_loss, search_plane
from tsc_lib.figures.training import training_options
