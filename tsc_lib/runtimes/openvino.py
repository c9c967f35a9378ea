"""OpenVINO: executes its own format, in fp32 and int8."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tsc_lib.runtimes.predictor import patch_of, whole_patches

MODEL = "model.xml"
FILES = ("model.json", MODEL, "model.bin")
PACKAGES = ("openvino",)


class OpenVinoPredictor:
    """Executes a compiled OpenVINO model."""

    def __init__(self, compiled: Any, patch: int) -> None:
        self.request, self.patch = compiled.create_infer_request(), patch

    def __call__(self, x: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """Logits (n, classes) of series x (n, channels, length)."""
        given = [x] if lengths is None else [whole_patches(x, self.patch), lengths]
        return self.request.infer(given, share_inputs=True)[0]


def load(folder: Path, threads: int) -> OpenVinoPredictor:
    """A predictor of the model in `folder`."""
    return OpenVinoPredictor(compiled(folder, threads), patch_of(folder))


def compiled(folder: Path, threads: int) -> Any:
    """The model in `folder` as an `openvino.CompiledModel`."""
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # whoever measures has pinned the process
        # Left alone it takes bf16 where the processor has it.
        "INFERENCE_PRECISION_HINT": "f32",
    }
    return openvino.Core().compile_model(folder / MODEL, "CPU", settings)
