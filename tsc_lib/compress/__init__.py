"""Compression: a file for each method, a dataclass that owns all that is known of it, and one verb, `apply`."""

import importlib
import pkgutil

from tsc_lib.compress.context import TrainingContext
from tsc_lib.compress.documentation import help_text, steps_table
from tsc_lib.compress.recipe import BASELINE, Recipe, apply
from tsc_lib.compress.step import STEPS, Family, NoEffect, Step
from tsc_lib.compress.variant import CLASSIC, REFERENCE, Variant

for module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{module.name}")  # methods enter themselves in STEPS

__all__ = [
    "BASELINE",
    "CLASSIC",
    "REFERENCE",
    "STEPS",
    "Family",
    "NoEffect",
    "Recipe",
    "Step",
    "TrainingContext",
    "Variant",
    "apply",
    "help_text",
    "steps_table",
]
