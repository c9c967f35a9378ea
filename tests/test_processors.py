"""Exported models on a processor without VNNI and AVX-512, which qemu imitates: the same answers, or one sentence."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from exported import describe_again

import tsc_lib
from tsc_lib import runtimes
from tsc_lib.export import bundle

EMULATOR = shutil.which("qemu-x86_64")
HASWELL = ["-cpu", "Haswell"]  # AVX2 and FMA; neither AVX-512 nor VNNI

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(EMULATOR is None, reason="needs qemu-x86_64: apt-get install qemu-user"),
]


def predict_on_haswell(folder: Path, file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """What ``predict`` does there; qemu takes a program, not a link to one, so the packages' folder is named."""
    assert EMULATOR is not None
    path = os.pathsep.join([str(Path(tsc_lib.__file__).parents[1]), *filter(None, sys.path)])
    command = [EMULATOR, *HASWELL, os.path.realpath(sys.executable), "-m", "tsc_lib", "predict", str(folder), str(file)]
    return subprocess.run(
        [*command, "--threads", "1", *options], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty series of 24 steps in a file."""
    file = tmp_path_factory.mktemp("series") / "x.npz"
    np.savez(file, x=np.random.default_rng(0).normal(size=(40, 1, 24)))
    return file
