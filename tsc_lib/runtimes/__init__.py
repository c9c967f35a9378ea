"""Runtimes: what executes a model. A folder each: `convert` needs PyTorch, `predict` does not.

A runtime imports nothing but numpy and itself, so that a prepared model runs where nothing else is installed.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from tsc_lib.core.errors import RuntimeUnavailable, UserError
from tsc_lib.runtimes.cascade import part_names
from tsc_lib.runtimes.predictor import Predictor, not_importable

__all__ = [
    "CLASSIC",
    "CODE",
    "NATIVE",
    "RUNTIMES",
    "Predictor",
    "RuntimeUnavailable",
    "check",
    "files",
    "list_instructions",
    "load",
    "packages",
]

RUNTIMES = ("eager", "inductor", "onnxruntime", "openvino", "c")
"""Of networks."""

CLASSIC = "aeon"
"""Of classic classifiers, and of nothing else."""

NATIVE = ("inductor",)
"""Runtimes whose models are native code, made for one kind of processor."""

CODE = (*NATIVE, "c")
"""Runtimes whose models are code, which may do anything as soon as it is loaded. Models of the others are data."""


def load(folder: Path | str, runtime: str, threads: int = 1) -> Predictor:
    """A predictor, on this many threads, of the model that `tsc_lib.runtimes.convert.convert` put into `folder`.

    Of a classic `tsc_lib.runtimes.aeon.convert.write_classic` did.

    Raises
    ------
    UserError
        If the runtime is unknown.
    RuntimeUnavailable
        If it is not installed, or cannot be imported.
    """
    module = _module(runtime)
    try:
        return module.load(Path(folder), threads)
    except ImportError as error:
        raise not_importable(runtime, error) from None


def files(runtime: str, exits: int = 0) -> list[str]:
    """Names of the files in a prepared folder that `load` reads, for a model with so many early exits."""
    module = _module(runtime)
    return [*module.FILES, *(part for name in module.PARTS for part in part_names(name, exits))]


def packages(runtime: str) -> tuple[str, ...]:
    """Names of the packages that `load` needs beside numpy."""
    return _module(runtime).PACKAGES


def list_instructions(runtime: str) -> tuple[str, ...]:
    """What the processor offers to the models of a runtime in `NATIVE`: its kind and its instruction sets."""
    return _module(runtime).list_instructions()


def check(runtime: str) -> None:
    """Refuse a runtime that is unknown.

    Raises
    ------
    UserError
    """
    if runtime not in RUNTIMES:
        raise UserError(f"unknown runtime {runtime!r}; the runtimes are {', '.join(RUNTIMES)}")


def _module(runtime: str) -> ModuleType:
    if runtime != CLASSIC:
        check(runtime)
    try:
        return importlib.import_module(f"tsc_lib.runtimes.{runtime}.predict")
    except ImportError as error:
        raise not_importable(runtime, error) from None
