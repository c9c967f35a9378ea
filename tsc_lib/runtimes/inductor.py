"""PyTorch inductor: a program that was compiled ahead of time for one kind of processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._inductor

from tsc_lib.runtimes.predictor import description_of, graph_inputs

PROGRAM = "program.pt2"
FILES = ("model.json", PROGRAM)
PARTS: tuple[str, ...] = ()
PACKAGES = ("torch",)


class InductorPredictor:
    """Executes a compiled program."""

    def __init__(self, program: Any, patch: int) -> None:
        self.program, self.patch = program, patch

    def __call__(self, x: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """Logits (n, classes) of series x (n, channels, length)."""
        with torch.inference_mode():
            return self.program(*map(torch.from_numpy, graph_inputs(x, lengths, self.patch))).numpy()


def load(folder: Path, threads: int) -> InductorPredictor:
    """A predictor of the program in `folder`."""
    torch.set_num_threads(threads)
    patch = description_of(folder)["config"]["patch"]
    return InductorPredictor(torch._inductor.aoti_load_package(str(folder / PROGRAM)), patch)
