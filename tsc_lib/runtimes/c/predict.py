"""C: a program without a runtime, compiled by the machine's compiler and called through `ctypes`."""

from __future__ import annotations

import ctypes
import re
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from tsc_lib.core.errors import UserError
from tsc_lib.runtimes.c.compiler import HEADER, PROGRAM, compile_library, name_library

FILES = ("model.json", PROGRAM, HEADER)
PARTS: tuple[str, ...] = ()
PACKAGES: tuple[str, ...] = ()


class CPredictor:
    """Calls a compiled program series by series, those of a batch on several threads.

    Parameters
    ----------
    function : callable
        The program's ``model_logits``.
    sizes : dict of str to int
        The macros of its header, by their names without ``MODEL_``.
    threads : int
        Threads for a batch.
    """

    def __init__(self, function: Any, sizes: Mapping[str, int], threads: int) -> None:
        self._function, self._sizes = function, sizes
        self._spaces = [np.zeros(sizes["WORKSPACE_BYTES"] // 4, np.float32) for _ in range(threads)]

    def __call__(self, x: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """Logits (n, classes) of series x (n, channels, length).

        Raises
        ------
        UserError
            If the program was made for other channels or lengths.
        """
        sizes, (count, channels, steps) = self._sizes, x.shape
        fixed = sizes["LENGTH"] if sizes["EQUAL_LENGTH"] else None
        longest = steps if lengths is None else int(lengths.max())
        if channels != sizes["CHANNELS"] or longest > sizes["LENGTH"] or fixed not in (None, steps):
            raise UserError(
                f"the program reads {sizes['CHANNELS']} channel(s) of {'' if fixed else 'up to '}{sizes['LENGTH']} "
                f"time steps, not {channels} of {longest}; give such series, or export the model again"
            )
        logits = np.empty((count, sizes["CLASSES"]), np.float32)
        x = np.ascontiguousarray(x, np.float32)
        if count == 1 or len(self._spaces) == 1:
            self._run(x, lengths, logits, self._spaces[0])
            return logits
        ends = np.linspace(0, count, len(self._spaces) + 1).astype(int)
        with ThreadPoolExecutor(len(self._spaces)) as pool:
            for done in [
                pool.submit(self._run, x[i:j], None if lengths is None else lengths[i:j], logits[i:j], space)
                for i, j, space in zip(ends, ends[1:], self._spaces, strict=False)
            ]:
                done.result()
        return logits

    def _run(self, x: np.ndarray, lengths: np.ndarray | None, logits: np.ndarray, space: np.ndarray) -> None:
        count, channels, steps = x.shape
        given, found, workspace = (array.__array_interface__["data"][0] for array in (x, logits, space))
        for i in range(count):
            length = steps if lengths is None else int(lengths[i])
            place = given + 4 * i * channels * steps
            if length < steps and channels > 1:  # the program reads channel after channel
                own = np.ascontiguousarray(x[i, :, :length])
                place = own.__array_interface__["data"][0]
            self._function(place, length, found + 4 * i * logits.shape[1], workspace)


def load(folder: Path, threads: int) -> CPredictor:
    """A predictor of the program in `folder`, compiled now unless a library for this processor is there."""
    sizes = {name: int(size) for name, size in MACRO.findall((folder / HEADER).read_text())}
    library = folder / name_library()
    if library.exists():
        return CPredictor(_find_function(library), sizes, threads)
    sources = tuple((folder / name).read_bytes() for name in (PROGRAM, HEADER))
    return CPredictor(_compile_function(*sources), sizes, threads)


MACRO = re.compile(r"^#define MODEL_(\w+) (\d+)$", re.MULTILINE)


@lru_cache(maxsize=16)
def _compile_function(program: bytes, header: bytes) -> Any:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / PROGRAM).write_bytes(program)
        (folder / HEADER).write_bytes(header)
        compile_library(folder, folder / "model.so")
        return _find_function(folder / "model.so")  # which stays when its file is removed


def _find_function(library: Path) -> Any:
    function = ctypes.CDLL(str(library)).model_logits
    function.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    function.restype = None
    return function
