"""Training of a network: deterministic, resumable, the best epoch chosen by validation."""

from tsc_lib.training.batch import TrainingBatch, cross_entropy
from tsc_lib.training.loop import (
    Epoch,
    Loss,
    TrainSpec,
    Watch,
    check_lengths,
    classify,
    find_best_epoch,
    fit,
    make_predictor,
    measure_accuracy,
    train,
)

__all__ = [
    "Epoch",
    "Loss",
    "TrainSpec",
    "TrainingBatch",
    "Watch",
    "check_lengths",
    "classify",
    "cross_entropy",
    "find_best_epoch",
    "fit",
    "make_predictor",
    "measure_accuracy",
    "train",
]
