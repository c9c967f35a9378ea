"""Training of a network: deterministic, resumable, the best epoch chosen by validation."""

from tsc_lib.training.loop import Loss, TrainSpec, Watch, best_epoch, check_lengths, classify, evaluator, fit, train

__all__ = ["Loss", "TrainSpec", "Watch", "best_epoch", "check_lengths", "classify", "evaluator", "fit", "train"]
