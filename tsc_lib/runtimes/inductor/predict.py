"""PyTorch inductor: programs that were compiled ahead of time for one kind of processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._inductor

from tsc_lib.runtimes.predictor import ModelDescription, graph_inputs, run_in_parts

PROGRAM_ONE, PROGRAM = "program-one.pt2", "program.pt2"
FILES = ("model.json", PROGRAM_ONE, PROGRAM)
PARTS: tuple[str, ...] = ()
PACKAGES = ("torch",)

COMPILED_FOR = ("amx", "avx", "bmi", "f16c", "fma", "lzcnt", "sve")
"""How PyTorch begins the names of the instruction sets that a compiler uses where the processor has them."""

TOKENS = 4096
"""Tokens that the program is executed on at once; what its loops hand to one another then stays in a core's cache."""


class InductorPredictor:
    """Executes compiled programs, on large batches part by part.

    Parameters
    ----------
    one, many : callable
        What executes a list of tensors, for calls with one series and with more.
    stride : int
        Time steps from one token to the next.
    """

    def __init__(self, one: Any, many: Any, stride: int) -> None:
        self._one, self._many, self.stride = one, many, stride

    def __call__(self, x: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """Logits (n, classes) of series x (n, channels, length)."""
        with torch.inference_mode():
            return run_in_parts(self._execute, graph_inputs(x, lengths, self.stride), TOKENS * self.stride, self.stride)

    def _execute(self, *inputs: np.ndarray) -> np.ndarray:
        run = self._one if len(inputs[0]) == 1 else self._many
        [logits] = run(list(map(torch.from_numpy, inputs)))
        return logits.numpy()


def list_instructions() -> tuple[str, ...]:
    """This processor's kind, and the instruction sets that a program compiled for it may need.

    PyTorch asks the processor: the kernel tells those of the machine, which an emulator may not have.
    """
    capabilities = torch.cpu.get_capabilities()
    sets = sorted(name for name, has in capabilities.items() if has is True and name.startswith(COMPILED_FOR))
    return (str(capabilities["architecture"]), *sets)


def load(folder: Path, threads: int) -> InductorPredictor:
    """A predictor of the programs in `folder`, for one call at a time."""
    torch.set_num_threads(threads)
    stride = ModelDescription.read(folder).stride
    return InductorPredictor(load_program(folder / PROGRAM_ONE), load_program(folder / PROGRAM), stride)


def load_program(path: Path) -> Any:
    """What executes a compiled program.

    Called as it is, a program parses the description of its inputs every time, which takes some 25 µs.
    """
    return torch._inductor.aoti_load_package(str(path), run_single_threaded=True).loader.boxed_run
