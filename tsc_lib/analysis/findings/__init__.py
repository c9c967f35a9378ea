"""What was found, in sentences whose every number is computed: one function for each result of the notebooks.

Each takes tables and returns Markdown.
"""

from __future__ import annotations

from tsc_lib.analysis.findings.archive import (
    archive_overview,
    archive_processors,
    beside_classics,
    promises_kept,
    ranks_and_energy,
    savings_over_datasets,
    where_wrong,
)
from tsc_lib.analysis.findings.baseline import accuracy, collapse, confusion, cost, learning
from tsc_lib.analysis.findings.combining import (
    ablated_variant,
    ablation,
    combined_savings,
    criteria,
    product_of_savings,
    savings_by_step,
)
from tsc_lib.analysis.findings.data import balance, cautions, lengths, overview, remarks
from tsc_lib.analysis.findings.energy import (
    best_within_a_point,
    control,
    energy,
    energy_and_model,
    pareto_members,
    study_table,
)
from tsc_lib.analysis.findings.microcontrollers import agreement, fitting
from tsc_lib.analysis.findings.models import (
    accuracy_for_energy,
    beside_reference,
    models_ranked,
    published,
    right_choice,
    training_or_use,
)
from tsc_lib.analysis.findings.picks import costs_of_pick, files_of_model, picked, promised
from tsc_lib.analysis.findings.pruning import masks_and_removal, pruning_accuracy, pruning_time, removal
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
from tsc_lib.analysis.findings.shapes import shapes, training_options
from tsc_lib.analysis.findings.study import (
    age_of_published,
    answer_of_study,
    claims,
    claims_explained,
    claims_table,
    run_beside_study,
    strategies_beside_study,
    threats,
)
