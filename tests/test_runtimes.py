"""Runtimes execute what was prepared elsewhere, and need nothing but themselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import exported
import numpy as np
import pytest

from tsc_lib import runtimes
from tsc_lib.core.errors import RuntimeUnavailable, UserError
from tsc_lib.runtimes import RUNTIMES

HEAVY = ["torch", "torchao", "pandas", "yaml", "aeon", "safetensors", "tqdm", "scipy", "sklearn", "matplotlib", "onnx"]
"""Packages of the study that a machine which only predicts has not got."""

UNIX = ["fcntl", "grp", "pwd", "resource", "termios"]
"""Modules of Python that other systems have not got."""

FREE = ("onnxruntime", "openvino")
"""Runtimes that need no torch."""


def without_the_study(*statements: str) -> subprocess.CompletedProcess[str]:
    """Run statements in a process that cannot import the study's packages, on no Unix."""
    block = f"import sys; sys.modules.update(dict.fromkeys({HEAVY + UNIX}))"
    script = "\n".join([block, *statements])
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)


@pytest.mark.parametrize("runtime", FREE)
def test_a_prepared_model_runs_where_there_is_no_torch(models: Path, runtime: str) -> None:
    series = "np.random.default_rng(0).normal(size=(3, 24, 40)).astype(np.float32)"
    done = without_the_study(
        "import numpy as np",
        "from tsc_lib import runtimes",
        f"predict = runtimes.load({str(models / f'any-{runtime}')!r}, {runtime!r})",
        f"print(*predict({series}, np.full(3, 40)).ravel().tolist())",
    )
    assert done.returncode == 0, done.stderr
    logits = np.array(done.stdout.split(), dtype=float).reshape(3, -1)
    x = np.random.default_rng(0).normal(size=(3, 24, 40)).astype(np.float32)
    np.testing.assert_allclose(logits, exported.logits_alone(24, list(x)), atol=1e-5)


@pytest.mark.parametrize("runtime", ["eager", "inductor"])
def test_without_torch_a_runtime_of_torch_says_so(runtime: str) -> None:
    done = without_the_study(
        "from tsc_lib import runtimes",
        f"try: runtimes.load('', {runtime!r})",
        "except runtimes.RuntimeUnavailable as error: print(error)",
    )
    assert done.stdout.strip() == f"{runtime} needs torch, which is not installed: pip install torch", done.stderr


@pytest.mark.parametrize("runtime", FREE)
def test_a_runtime_that_is_not_installed_says_so(models: Path, monkeypatch: pytest.MonkeyPatch, runtime: str) -> None:
    monkeypatch.setitem(sys.modules, runtime, None)
    with pytest.raises(RuntimeUnavailable, match=f"{runtime} needs {runtime}, which is not installed"):
        runtimes.load(models / f"any-{runtime}", runtime)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModuleNotFoundError("No module", name="onnx.helper"), "needs onnx, which is not installed: pip install onnx$"),
        (
            ImportError("libgomp.so.1: cannot open\nshared object", name="onnxruntime"),
            r"onnxruntime cannot be imported \(libgomp.so.1: cannot open shared object\); install its packages again$",
        ),
        (ImportError(), r"onnxruntime cannot be imported \(ImportError\)"),
    ],
    ids=["missing", "broken", "silent"],
)
def test_what_is_installed_but_broken_is_not_called_missing(
    models: Path, monkeypatch: pytest.MonkeyPatch, error: ImportError, said: str
) -> None:
    def session(*_: object) -> None:
        raise error

    monkeypatch.setattr("tsc_lib.runtimes.onnxruntime.predict.session", session)
    with pytest.raises(RuntimeUnavailable, match=said):
        runtimes.load(models / "any-onnxruntime", "onnxruntime")


def test_a_command_of_the_study_says_what_is_missing() -> None:
    done = without_the_study("from tsc_lib import cli", "sys.exit(cli.main(['data', 'GunPoint']))")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: this command needs pandas, which is not installed: pip install 'tsc_lib[study]'"
    ]


def test_an_unknown_runtime_is_one_sentence() -> None:
    with pytest.raises(UserError, match=f"unknown runtime 'tpu'; the runtimes are {', '.join(RUNTIMES)}"):
        runtimes.load(".", "tpu")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_runtime_tells_its_files_and_packages(runtime: str) -> None:
    assert "model.json" in runtimes.files(runtime)
    assert "calibration.safetensors" not in runtimes.files(runtime)
    assert bool(runtimes.packages(runtime)) == (runtime != "c")  # which needs a compiler, and no package
