"""Models made ready for a runtime, in a folder each; `tsc_lib.runtimes.load` then executes them."""

from __future__ import annotations

import dataclasses
import importlib
import time
from pathlib import Path
from types import ModuleType

from tsc_lib import runtimes
from tsc_lib.core.errors import UserError
from tsc_lib.models.compressed import CompressedModel, save_model
from tsc_lib.models.number_format import NumberFormat
from tsc_lib.runtimes.conversion import Conversion

WITH_EXPERTS = ("eager", "onnxruntime")
"""The runtimes whose graphs may send each token another way."""


WITH_LONGEST = ("c",)
"""The runtimes whose programs have room for series of a given length."""


def convert(
    model: CompressedModel, runtime: str, folder: Path, *, equal_length: bool, longest: int | None = None
) -> Conversion:
    """Make a model ready for a runtime, in a folder that is all that `tsc_lib.runtimes.load` needs.

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
    longest : int, optional
        Time steps of the longest series that will come; by default the longest that the model reads.

    Raises
    ------
    UserError
        If the runtime is unknown, or lacks the model's number format or observer, or mixtures of experts.
    RuntimeUnavailable
        If the runtime cannot work on this machine.
    RuntimeError
        If a quantized model came out without int8 operators, or without narrow weights.
    """
    number_format = model.number_format
    check(runtime, number_format, model.quantization.observer)
    if model.network.config.has_experts and runtime not in WITH_EXPERTS:
        raise UserError(f"{runtime} does not execute mixtures of experts; use {' or '.join(WITH_EXPERTS)}")
    held, started = _reset_peak_memory(), time.perf_counter()
    limits = {"longest": longest} if runtime in WITH_LONGEST else {}
    made: Conversion = _module(runtime).convert(model, folder, equal_length, **limits)
    made = dataclasses.replace(
        made,
        prepare_seconds=time.perf_counter() - started,
        prepare_peak_mb=None if held is None else max(0.0, _status_mb("VmHWM") - held),
    )
    if number_format.is_integer and not (made.narrow_weight_ops if number_format.weights_only else made.int8_ops):
        raise RuntimeError(
            f"{runtime} executes no linear layer in {number_format.weights}, though the model is {number_format}"
        )
    save_model(model, folder)
    return made


def list_supporting(number_format: NumberFormat, observer: str = "native") -> list[str]:
    """The runtimes that execute a number format, with static ranges by an observer."""
    return [
        name
        for name in runtimes.RUNTIMES
        if number_format in (module := _module(name)).FORMATS and (observer == "native" or observer in module.OBSERVERS)
    ]


def check(runtime: str, number_format: NumberFormat, observer: str = "native") -> None:
    """Refuse a runtime that is unknown, has no kernels for a number format, or no such observer of static ranges.

    Raises
    ------
    UserError
    """
    if number_format not in _module(runtime).FORMATS:
        raise UserError(
            f"{runtime} does not execute {number_format}; use {' or '.join(list_supporting(number_format))}"
        )
    supporting = list_supporting(number_format, observer)
    if runtime not in supporting:
        raise UserError(f"{runtime} has no observer {observer} for {number_format}; use {' or '.join(supporting)}")


def _module(runtime: str) -> ModuleType:
    runtimes.check(runtime)
    return importlib.import_module(f"tsc_lib.runtimes.{runtime}.convert")


def _reset_peak_memory() -> float | None:
    """Begin a new peak of this process's memory; returns what it holds now in MB, None where Linux does not tell."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _status_mb("VmRSS")
    except OSError:
        return None


def _status_mb(name: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) / 1000
