"""Compression: one dataclass per method, a registry, and one verb, `apply`."""

from tsc_lib.compress import (  # noqa: F401 - they register their methods
    depth_width,
    distillation,
    early_exit,
    finetuning,
    gradual,
    lowrank,
    patch,
    pruning,
    qat,
    quantization,
    reduction,
)
from tsc_lib.compress.context import TrainingContext
from tsc_lib.compress.quantization import number_format, observer
from tsc_lib.compress.recipe import BASELINE, NoEffect, apply, parse, text
from tsc_lib.models.compressed import CompressedModel, Evidence, count_macs, load_model, save_model

__all__ = [
    "BASELINE",
    "CompressedModel",
    "Evidence",
    "NoEffect",
    "TrainingContext",
    "apply",
    "count_macs",
    "load_model",
    "number_format",
    "observer",
    "parse",
    "save_model",
    "text",
]
