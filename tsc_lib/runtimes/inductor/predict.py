"""PyTorch inductor: a program that was compiled ahead of time for one kind of processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._inductor

from tsc_lib.runtimes.predictor import description_of, graph_inputs, in_parts

PROGRAM = "program.pt2"
FILES = ("model.json", PROGRAM)
PARTS: tuple[str, ...] = ()
PACKAGES = ("torch",)

TOKENS = {"int8 static": 2048}
"""Tokens that the program is executed on at once, by number format; what its loops hand to one another then stays in a
core's cache. 256 long series took 14 to 21 % more CPU time as a whole; in parts of half as many tokens int8 takes 3 to
8 % less, and the other formats up to 7 % more."""

OTHER_TOKENS = 4096


class InductorPredictor:
    """Executes a compiled program, on large batches part by part."""

    def __init__(self, program: Any, patch: int, tokens: int) -> None:
        # Called as it is, a program parses the description of its inputs every time, which takes some 25 µs.
        self._run, self.patch = program.loader.boxed_run, patch
        self._steps = tokens * patch  # time steps in a part

    def __call__(self, x: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """Logits (n, classes) of series x (n, channels, length)."""
        with torch.inference_mode():
            return in_parts(self._execute, graph_inputs(x, lengths, self.patch), self._steps, self.patch)

    def _execute(self, *inputs: np.ndarray) -> np.ndarray:
        [logits] = self._run(list(map(torch.from_numpy, inputs)))
        return logits.numpy()


def load(folder: Path, threads: int) -> InductorPredictor:
    """A predictor of the program in `folder`, for one call at a time."""
    torch.set_num_threads(threads)
    facts = description_of(folder)
    program = torch._inductor.aoti_load_package(str(folder / PROGRAM), run_single_threaded=True)
    return InductorPredictor(program, facts["stride"], TOKENS.get(facts["number_format"], OTHER_TOKENS))
