"""OpenVINO: executes its own format, in fp32, bf16, int8 and with weights in int8 or int4."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tsc_lib.models.number_format import NumberFormat
from tsc_lib.runtimes.cascade import CascadePredictor, part_names
from tsc_lib.runtimes.predictor import ModelDescription, Predictor, graph_inputs

MODEL = "model.xml"
FILES = ("model.json",)
PARTS = (MODEL, "model.bin")
PACKAGES = ("openvino",)

OFTEN = 16
"""Calls with one series of one shape after which the model is compiled for that shape alone. Larger calls would gain
little, and are so few that the compiler would run within what somebody measures."""

SHAPES = 4
"""Shapes at most that have a program of their own."""


class OpenVinoPredictor:
    """Executes an OpenVINO model, compiled for every shape, and once more for those in which one series often comes.

    Parameters
    ----------
    compile_for : callable
        Takes the shapes of the inputs, or None for all, and returns an `openvino.CompiledModel`.
    stride : int
        Time steps from one token to the next.
    """

    def __init__(self, compile_for: Callable[[list[tuple[int, ...]] | None], Any], stride: int) -> None:
        self.stride, self._compile_for = stride, compile_for
        self._any = compile_for(None).create_infer_request()
        self._own: dict[tuple[int, ...], Any] = {}
        self._calls: Counter[tuple[int, ...]] = Counter()

    def __call__(self, x: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """Logits (n, classes) of series x (n, channels, length)."""
        return self.run(*graph_inputs(x, lengths, self.stride))[0]

    def run(self, *given: np.ndarray) -> tuple[np.ndarray, ...]:
        """What the model gives for its inputs."""
        return self._request(given).infer(list(given), share_inputs=True).to_tuple()

    def _request(self, given: tuple[np.ndarray, ...]) -> Any:
        shape = given[0].shape
        if shape[0] == 1 and shape not in self._own and len(self._own) < SHAPES:
            self._calls[shape] += 1
            if self._calls[shape] == OFTEN:
                self._own[shape] = self._compile_for([array.shape for array in given]).create_infer_request()
        return self._own.get(shape, self._any)


def load(folder: Path, threads: int) -> Predictor:
    """A predictor of the model in `folder`, or of its parts, where it has early exits."""
    described = ModelDescription.read(folder)
    stride, thresholds = described.stride, described.thresholds
    parts = [
        OpenVinoPredictor(partial(compile_model, folder / name, threads, described.number_format), stride)
        for name in part_names(MODEL, len(thresholds))
    ]
    return CascadePredictor([part.run for part in parts], thresholds, stride) if thresholds else parts[0]


def compile_model(
    path: Path, threads: int, number_format: NumberFormat, shapes: list[tuple[int, ...]] | None = None
) -> Any:
    """The model in a file as an `openvino.CompiledModel`, for inputs of these shapes or of any."""
    import openvino

    settings: dict[str, Any] = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # whoever measures has pinned the process
        # By default it takes bf16 where the processor has it.
        "INFERENCE_PRECISION_HINT": "bf16" if number_format is NumberFormat.BF16 else "f32",
    }
    if number_format.weights_only:
        settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = 0  # by default it makes int8 of the activations too, on some
    core = openvino.Core()
    model = core.read_model(path)
    if shapes is not None:
        model.reshape(dict(enumerate(openvino.PartialShape(list(shape)) for shape in shapes)))
    return core.compile_model(model, "CPU", settings)
