"""Compression: one dataclass per method, a registry, and one verb, `apply`."""

from tsc_lib.compress import (  # noqa: F401 - they register their methods
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
    shape,
)
from tsc_lib.compress.model import CompressedModel, Evidence, Material, count_macs, load_model, save_model
from tsc_lib.compress.quantization import number_format, observer
from tsc_lib.compress.recipe import BASELINE, NoEffect, apply, parse, text

__all__ = [
    "BASELINE",
    "CompressedModel",
    "Evidence",
    "Material",
    "NoEffect",
    "apply",
    "count_macs",
    "load_model",
    "number_format",
    "observer",
    "parse",
    "save_model",
    "text",
]
