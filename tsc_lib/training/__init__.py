"""Training of a network: deterministic, resumable, the best epoch chosen by validation."""

from tsc_lib.training.accuracy import classify, make_predictor, measure_accuracy
from tsc_lib.training.augmentation import Augmentations
from tsc_lib.training.augmentation_methods import AUGMENTATIONS
from tsc_lib.training.batch import TrainingBatch
from tsc_lib.training.defaults import find_train_spec
from tsc_lib.training.loop import Epoch, Loss, Watch, check_lengths, fit, list_taught, train
from tsc_lib.training.matching import Pool, make_loss, make_pool, read_labels
from tsc_lib.training.settings import TrainSpec, augmentations_table, options_table
from tsc_lib.training.teachers import SELF, Predict, parse_teacher

__all__ = [
    "AUGMENTATIONS",
    "SELF",
    "Augmentations",
    "Epoch",
    "Loss",
    "Pool",
    "Predict",
    "TrainSpec",
    "TrainingBatch",
    "Watch",
    "augmentations_table",
    "check_lengths",
    "classify",
    "find_train_spec",
    "fit",
    "list_taught",
    "make_loss",
    "make_pool",
    "make_predictor",
    "measure_accuracy",
    "options_table",
    "parse_teacher",
    "read_labels",
    "train",
]
