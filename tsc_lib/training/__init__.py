"""Training of a network: deterministic, resumable, the best epoch chosen by validation."""

from tsc_lib.training.augmentation import AUGMENTATIONS, Augmentations
from tsc_lib.training.batch import TrainingBatch, cross_entropy
from tsc_lib.training.defaults import find_train_spec
from tsc_lib.training.loop import (
    Epoch,
    Loss,
    Watch,
    check_lengths,
    classify,
    find_best_epoch,
    fit,
    make_predictor,
    measure_accuracy,
    train,
)
from tsc_lib.training.settings import TrainSpec, augmentations_table, options_table

__all__ = [
    "AUGMENTATIONS",
    "Augmentations",
    "Epoch",
    "Loss",
    "TrainSpec",
    "TrainingBatch",
    "Watch",
    "augmentations_table",
    "check_lengths",
    "classify",
    "cross_entropy",
    "find_best_epoch",
    "find_train_spec",
    "fit",
    "make_predictor",
    "measure_accuracy",
    "options_table",
    "train",
]
