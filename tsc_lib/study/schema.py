"""Columns of the results table, and those of them that classifying the test set fills."""

from __future__ import annotations

import numpy as np

from tsc_lib.benchmark.measurement import CONTROLS, CPU, ENERGIES, LATENCIES, Measurement
from tsc_lib.core.stats import paired_difference_interval, proportion_interval
from tsc_lib.study.evaluation import Evaluation, Failure

COSTS = [*CPU, *CONTROLS, *LATENCIES, *ENERGIES, "energy_source", "energy_backend", "energy_warning"]
"""Columns of the results table that a benchmark session fills."""

QUALITIES = [
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "accuracy_unseen",
    "test_in_train",
    "f1_macro",
    "classes_predicted",
    "largest_class_share",
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


MODELS = [
    *["dataset", "model", "kind", "recipe", "runtime", "seed", "batch_size", "threads", "status"],
    *["accuracy", "accuracy_low", "accuracy_high", "accuracy_unseen", "test_in_train", "test_series"],
    *["accuracy_valid", "f1_macro", "params", "macs", "model_bytes"],
    *[f"{cost}{end}" for cost in ("cpu_ms_per_sample", "energy_mj_per_sample") for end in ("", "_low", "_high")],
    *["energy_source", "energy_backend", "energy_warning", "cpu_ratio", "cpu_ratio_low", "cpu_ratio_high"],
    *["energy_ratio", "energy_ratio_low", "energy_ratio_high", *CONTROLS, *LATENCIES],
]
"""Columns of the table of all models side by side, one row per data set, model, variant, seed and batch size.

``kind`` is "network" or "classic". ``accuracy`` has Wilson's interval over the test series; ``accuracy_valid`` is the
validation accuracy of the epoch that was kept, of networks as trained. CPU time and energy of a series are trimmed
geometric means over the blocks of one session, with 95 % intervals, of the first seed alone; ratios are to the
session's reference, the first network as trained in eager. Classics have no parameters, multiply-adds and bytes.
``status`` is "ok", or tells why there are no costs ("not measured: ..."), or no answers ("failed: ...").
"""

TRAINING_COSTS = [
    *["dataset", "model", "seed", "kind", "seconds", "cpu_seconds"],
    *["joules", "energy_source", "energy_backend", "status"],
]
"""Columns of the table of what training a network or fitting a classic cost, one row for each.

Where a training went on after an interruption, its energy is missing.
"""


def qualities(evaluation: Evaluation, reference: Evaluation | Failure, test_in_train: np.ndarray) -> dict[str, float]:
    """The columns `QUALITIES` of a variant: accuracy, its loss against the reference if there is one, and sizes.

    `test_in_train`, a bool for each test series, says which are copies of training series
    (`tsc_lib.data.facts.Facts`); ``accuracy_unseen`` is the accuracy on the others.
    """
    size, conversion = evaluation.size, evaluation.conversion
    before = reference.correct if isinstance(reference, Evaluation) else None
    row = accuracies(evaluation.true, evaluation.predicted, before)
    row |= unseen(evaluation.correct, test_in_train)
    row |= {"params": size.params, "nonzero_params": size.nonzero, "macs": size.macs}
    return row | {name: getattr(conversion, name) for name in ("model_bytes", "int8_ops", "fp32_ops")}


def unseen(correct: np.ndarray, test_in_train: np.ndarray) -> dict[str, float]:
    """The columns `accuracy_unseen` and `test_in_train` of what answered each test series rightly or not."""
    others = correct[~test_in_train]
    accuracy = float(others.mean()) if len(others) else np.nan
    return {"accuracy_unseen": accuracy, "test_in_train": int(test_in_train.sum())}


def accuracies(true: np.ndarray, predicted: np.ndarray, reference: np.ndarray | None) -> dict[str, float]:
    """The columns `QUALITIES` that predictions fill; always giving the most frequent label is ``largest_class_share``.

    Parameters
    ----------
    true, predicted : ndarray of shape (n,)
        Labels of the test series.
    reference : ndarray of bool, shape (n,), optional
        Whether the reference was right; without it nothing is said of what was lost.
    """
    correct = predicted == true
    row = proportion_interval(int(correct.sum()), len(correct)).columns("accuracy")
    row["f1_macro"] = _compute_f1(true, predicted)
    row["classes_predicted"] = len(np.unique(predicted))
    row["largest_class_share"] = float(np.unique(true, return_counts=True)[1].max() / len(true))
    if reference is not None:
        drop = paired_difference_interval(reference, correct)
        row |= {name: 100 * value for name, value in drop.columns("accuracy_drop").items()}
    return row


def _compute_f1(true: np.ndarray, predicted: np.ndarray) -> float:
    """The mean of the F1 scores of the classes that are there or are predicted, as scikit-learn computes it."""
    labels, codes = np.unique(np.concatenate([true, predicted]), return_inverse=True)
    own, guessed = np.split(codes, 2)
    there, given, right = (np.bincount(part, minlength=len(labels)) for part in (own, guessed, own[own == guessed]))
    return float(np.mean(2 * right / (there + given)))


def costs(measurement: Measurement) -> dict[str, float | str | None]:
    """The columns `COSTS` of a variant at one batch size."""
    return {name: getattr(measurement, name) for name in COSTS}
