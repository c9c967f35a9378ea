"""Exported models on a processor without VNNI and AVX-512, which qemu imitates: the same answers, or one sentence."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from exported import make, network_of

import tsc_lib
from tsc_lib import runtimes
from tsc_lib.data import Batch
from tsc_lib.export import bundle
from tsc_lib.models.compressed import CompressedModel
from tsc_lib.models.number_format import NumberFormat

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


X = np.random.default_rng(0).normal(size=(40, 1, 24)).astype(np.float32)


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty series of 24 steps in a file."""
    file = tmp_path_factory.mktemp("series") / "x.npz"
    np.savez(file, x=X)
    return file


def wide_weights(number_format: NumberFormat) -> CompressedModel:
    """A model whose weights are all as large as its format holds, so that sums of products are as large as they get."""
    network = network_of(1)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.Linear):
                module.weight.copy_(module.weight.sign() * 0.5)
    return CompressedModel(network, 24, number_format, Batch(X, None, np.arange(len(X))))


@pytest.mark.parametrize(
    ("runtime", "number_format", "tolerance"),
    [
        ("onnxruntime", NumberFormat.INT8_STATIC, 0),
        ("onnxruntime", NumberFormat.INT8_DYNAMIC, 0),
        ("openvino", NumberFormat.INT8_STATIC, 0.02),
    ],
)
def test_int8_answers_alike_without_vnni(
    tmp_path: Path, series: Path, runtime: str, number_format: NumberFormat, tolerance: float
) -> None:
    make(tmp_path / "model", runtime, model=wide_weights(number_format))
    assert bundle.read(tmp_path / "model").instructions == ()
    there = predict_on_haswell(tmp_path / "model", series)
    assert there.returncode == 0, there.stderr
    rows = np.genfromtxt(there.stdout.splitlines(), delimiter=",", skip_header=1)
    here = tsc_lib.load(tmp_path / "model").predict_proba(X)
    assert len(np.unique(here.argmax(axis=1))) > 1
    np.testing.assert_allclose(rows[:, 2:], here, atol=tolerance + 1e-6)


def test_native_code_is_refused_by_what_the_processor_says_and_not_the_kernel(
    models: Path, tmp_path: Path, series: Path
) -> None:
    folder = Path(shutil.copytree(models / "fixed", tmp_path / "model"))
    for name in runtimes.files("inductor"):
        (folder / name).touch()
    native = {"runtime": "inductor", "instructions": ["x86_64", "avx2", "avx512_f", "avx512_vnni"]}
    described = dataclasses.replace(bundle.read(models / "fixed"), **native, versions={"numpy": "2", "torch": "2"})
    for name in (bundle.SUMS, "model.onnx"):
        (folder / name).unlink()
    bundle.write(folder, described, "card")
    there = predict_on_haswell(folder, series, "--trust-native-code")
    assert there.returncode == 1
    assert "compiled for a processor with avx512_f, avx512_vnni, which this one lacks; export" in there.stderr
    assert "Traceback" not in there.stderr
