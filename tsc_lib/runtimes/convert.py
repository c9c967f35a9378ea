"""Models made ready for a runtime, one file each; `tsc_lib.runtimes` then executes them."""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from types import ModuleType

from tsc_lib import runtimes
from tsc_lib.core.errors import UserError
from tsc_lib.models.compressed import CompressedModel, save_model
from tsc_lib.runtimes.conversion import Conversion
from tsc_lib.runtimes.memory import peak_memory_mb, reset_peak_memory

__all__ = ["Conversion", "check", "convert", "supporting"]


def convert(model: CompressedModel, runtime: str, folder: Path, *, equal_length: bool) -> Conversion:
    """Make a model ready for a runtime, in a folder that `tsc_lib.runtimes.load` needs nothing else than.

    Parameters
    ----------
    model : CompressedModel
        What to execute.
    runtime : str
        One of `tsc_lib.runtimes.RUNTIMES`.
    folder : Path
        Gets the model and whatever the runtime compiles.
    equal_length : bool
        Whether all series that will come have the model's reference length.

    Raises
    ------
    UserError
        If the runtime is unknown, or lacks the model's number format or observer.
    RuntimeUnavailable
        If the runtime cannot work on this machine.
    RuntimeError
        If a quantized model came out without int8 operators, or without narrow weights.
    """
    check(runtime, model.number_format, model.quantization.observer)
    held, started = reset_peak_memory(), time.perf_counter()
    deployed: Conversion = _module(runtime).convert(model, folder, equal_length)
    deployed.details["prepare_seconds"] = time.perf_counter() - started
    if held is not None:
        deployed.details["prepare_peak_mb"] = max(0.0, peak_memory_mb() - held)
    narrow = deployed.details["narrow_weight_ops"] if model.number_format.endswith("weights") else deployed.int8_ops
    if model.number_format.startswith("int") and not narrow:
        kind = model.number_format.split()[0]
        raise RuntimeError(f"{runtime} executes no linear layer in {kind}, though the model is {model.number_format}")
    save_model(model, folder)
    return deployed


def supporting(number_format: str, observer: str = "native") -> list[str]:
    """The runtimes that execute a number format, with static ranges by an observer."""
    return [
        name
        for name in runtimes.RUNTIMES
        if number_format in (module := _module(name)).FORMATS and (observer == "native" or observer in module.OBSERVERS)
    ]


def check(runtime: str, number_format: str, observer: str = "native") -> None:
    """Refuse a runtime that is unknown, has no kernels for a number format, or no such observer of static ranges.

    Raises
    ------
    UserError
    """
    if number_format not in _module(runtime).FORMATS:
        raise UserError(f"{runtime} does not execute {number_format}; use {' or '.join(supporting(number_format))}")
    if runtime not in supporting(number_format, observer):
        others = " or ".join(supporting(number_format, observer))
        raise UserError(f"{runtime} has no observer {observer} for {number_format}; use {others}")


def _module(runtime: str) -> ModuleType:
    runtimes.check(runtime)
    return importlib.import_module(f"tsc_lib.runtimes.{runtime}.convert")
