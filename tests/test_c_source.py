"""Models as C source: the same logits as eager, from any compiler, whatever labels and scaling."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

import tsc_lib
from tsc_lib import runtimes
from tsc_lib.core.errors import RuntimeUnavailable, UserError
from tsc_lib.export import bundle, write
from tsc_lib.export.bundle import Bundle
from tsc_lib.models.compressed import CompressedModel
from tsc_lib.models.convolution_embedding import ConvolutionEmbeddingConfig
from tsc_lib.models.embedding import PatchEmbeddingConfig
from tsc_lib.models.number_format import NumberFormat
from tsc_lib.models.token_reduction import TokenReduction
from tsc_lib.models.transformer import LayerConfig, Ranks, Transformer, TransformerConfig
from tsc_lib.runtimes import convert
from tsc_lib.series.scaling import Scaler

COMPILER = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc") or shutil.which("clang")
pytestmark = [
    pytest.mark.compiles,
    pytest.mark.skipif(COMPILER is None, reason="needs a C compiler: apt-get install gcc"),
]

HOSTILE = ("*/ #error", "%s%n", 'a"b\\', "ü??/", "\u2028x")
SANITIZE = "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all"
LONGEST = 70

PLAIN = TransformerConfig(1, 5, PatchEmbeddingConfig(8), 16, 4, (LayerConfig(2, 24), LayerConfig(4, 24)), 32)
CONVOLVED = TransformerConfig(
    2,
    3,
    ConvolutionEmbeddingConfig(3, filters=6, kernel=5, dilations=(1, 2), pointwise=7),
    12,
    4,
    (LayerConfig(3, 8),) * 2,
    8,
    pre_norm=True,
)
ODD = TransformerConfig(
    3, 2, PatchEmbeddingConfig(5), 10, 5,
    (LayerConfig(3, 7, Ranks(query=2, value=1, expand=3)), LayerConfig(1, 5), LayerConfig(2, 9)), 6,
    input_channels=(0, 2),
)  # fmt: skip
MODELS = {"plain": (PLAIN, True), "convolved": (CONVOLVED, False), "odd": (ODD, False)}


def network_of(name: str) -> Transformer:
    torch.manual_seed(1)
    network = Transformer(MODELS[name][0]).eval()
    with torch.no_grad():
        for layer in network.layers:
            for weight in (layer.attention.query, layer.attention.key):
                for part in weight if isinstance(weight, torch.nn.Sequential) else [weight]:
                    part.weight.mul_(9.0 if name == "odd" else 1.0)  # scores that no exponential stands
        for norm in (module for module in network.modules() if isinstance(module, torch.nn.LayerNorm)):
            norm.bias.normal_(std=0.3)
            norm.weight.normal_(1.0, 0.3)
    return network


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders with converted models."""
    folders = {}
    for name, (_, equal_length) in MODELS.items():
        folders[name] = tmp_path_factory.mktemp(name)
        model = CompressedModel(network_of(name), 100 if equal_length else 40)
        convert.convert(model, "c", folders[name], equal_length=equal_length, longest=LONGEST)
    return folders


def describe(name: str, scaling: str = "none") -> Bundle:
    config, equal_length = MODELS[name]
    mean, deviation = np.full((config.channels, 1), 3.0), np.full((config.channels, 1), 0.7)
    lengths = (100, 100) if equal_length else (1, LONGEST)
    return Bundle(
        dataset='*/ "', model="T0", recipe="baseline", seed=0, runtime="c", number_format=NumberFormat.FP32,
        channels=config.channels, labels=HOSTILE[: config.classes], patch=8, shortest=lengths[0], longest=lengths[1],
        equal_length=equal_length, scaling=Scaler(scaling, *((mean, deviation) if scaling == "channel" else ())),
        gaps="refuse", threads=1, versions={"numpy": np.__version__},
    )  # fmt: skip


def make(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", "-C", str(folder), "test", *options], capture_output=True, text=True)


def series_of(name: str, count: int = 9) -> list[np.ndarray]:
    config, equal_length = MODELS[name]
    rng = np.random.default_rng(3)
    lengths = [100] * count if equal_length else [1, 4, 5, 47, 48, 16, 30, LONGEST, 33][:count]
    return [rng.normal(size=(config.channels, length)).astype(np.float32) for length in lengths]


def logits_alone(network: Transformer, one: np.ndarray, equal_length: bool) -> np.ndarray:
    lengths = None if equal_length else torch.tensor([one.shape[1]])
    with torch.inference_mode():
        return network(torch.from_numpy(one[None]), lengths)[0].numpy()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", MODELS)
def test_logits_are_those_of_eager(programs: dict[str, Path], name: str, threads: int) -> None:
    network, equal_length, series = network_of(name), MODELS[name][1], series_of(name)
    lengths = np.array([one.shape[1] for one in series])
    x = np.zeros((len(series), series[0].shape[0], lengths.max()), np.float32)
    for row, one in zip(x, series, strict=True):
        row[:, : one.shape[1]] = one
    found = runtimes.load(programs[name], "c", threads)(x, None if equal_length else lengths)
    expected = np.stack([logits_alone(network, one, equal_length) for one in series])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_evidence(programs: dict[str, Path]) -> None:
    network = network_of("plain")
    made = convert.convert(CompressedModel(network, 100), "c", programs["plain"], equal_length=True)
    weights = sum(weight.numel() for weight in network.parameters())
    assert made.fp32_ops == 2 * 6 + 2
    assert made.flash_bytes is not None and made.flash_bytes > made.model_bytes
    # The class token and the embedding's bias are in the table of positions, which is no weight.
    assert made.model_bytes == 4 * (weights - 2 * 16)
    text = (programs["plain"] / "model.h").read_text()
    assert f"#ifdef MODEL_SMALL\n#define MODEL_WORKSPACE_BYTES {made.ram_bytes}\n" in text
    assert made.stack_bytes is not None and 0 < made.stack_bytes < 10_000
    assert made.longest == 100


@pytest.mark.parametrize(("name", "scaling"), [("plain", "channel"), ("convolved", "series"), ("odd", "none")])
def test_an_exported_folder_is_tested_by_any_compiler(
    programs: dict[str, Path], tmp_path: Path, name: str, scaling: str
) -> None:
    folder = tmp_path / "model"
    write.write(folder, programs[name], describe(name, scaling), "# card\n")
    before = sorted(path.name for path in folder.iterdir())
    strict = "-O1 -Werror"
    for compiler in filter(shutil.which, ("gcc", "clang")):
        for flags in (f"{strict} -DMODEL_SMALL", SANITIZE) if compiler == "gcc" or name == "odd" else (strict,):
            done = make(folder, f"CC={compiler}", f"CFLAGS={flags}")
            assert done.returncode == 0, done.stdout + done.stderr
            assert "warning" not in done.stderr
            assert "10 series have the logits" in done.stdout
    assert sorted(path.name for path in folder.iterdir()) == before
    loaded = tsc_lib.load(folder, trust_native_code=True)
    series = [3 + 2 * one.astype(np.float64) for one in series_of(name, 4)]
    network, scaler, equal_length = network_of(name), loaded.bundle.scaling, MODELS[name][1]
    expected = [logits_alone(network, scaler(one), equal_length) for one in series]
    labels = [loaded.bundle.labels[logits.argmax()] for logits in expected]
    assert loaded.predict(series).tolist() == labels


def test_a_wrong_logit_fails_the_test(programs: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write.write(folder, programs["plain"], describe("plain"), "# card\n")
    text = (folder / "test.c").read_text()
    head, expected = text.split("expected[] = {\n")
    value, rest = expected.split("f,", 1)
    (folder / "test.c").write_text(f"{head}expected[] = {{\n{float(value) + 0.001}f,{rest}")
    done = make(folder)
    assert done.returncode != 0
    assert "series 1: logit 1 is" in done.stdout


def test_what_no_model_reads_is_refused(programs: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write.write(folder, programs["convolved"], describe("convolved", "channel"), "# card\n")
    (folder / "main.c").write_text(
        '#include "model.h"\n#include <math.h>\n#include <stdio.h>\n'
        f"static float workspace[MODEL_WORKSPACE_BYTES / sizeof(float)], series[2 * {LONGEST + 1}], logits[3];\n"
        "int main(void) {\n"
        '    for (int n = -1; n < MODEL_LENGTH + 2; n++) printf("%d", model_classify(series, n, logits, workspace));\n'
        '    series[3] = NAN; printf(" %d", model_classify(series, 40, logits, workspace));\n'
        '    series[3] = 3e30f; printf(" %d", model_classify(series, 40, logits, workspace));\n'
        "    return 0;\n}\n"
    )
    command = ["cc", "-std=c99", "-Wall", "-Werror", *SANITIZE.split(), "main.c", "model.c", "preprocess.c", "-lm"]
    subprocess.run(command, cwd=folder, check=True)
    told = subprocess.run(["./a.out"], cwd=folder, check=True, capture_output=True, text=True).stdout
    assert told == f"11{'0' * LONGEST}1 1 1"
    with pytest.raises(UserError, match=f"2 channel\\(s\\) of up to {LONGEST} time steps, not 2 of {LONGEST + 1}"):
        runtimes.load(programs["convolved"], "c")(np.zeros((1, 2, LONGEST + 1), np.float32), np.array([LONGEST + 1]))


def test_it_calls_the_mathematics_and_nothing_else(programs: dict[str, Path], tmp_path: Path) -> None:
    for name, folder in programs.items():
        subprocess.run(["cc", "-std=c99", "-c", folder / "model.c", "-o", tmp_path / name], check=True)
        symbols = subprocess.run(
            ["nm", tmp_path / name], check=True, capture_output=True, text=True
        ).stdout.splitlines()
        missing = {line.split()[-1] for line in symbols if " U " in line}
        defined = {line.split()[-1] for line in symbols if line.split()[-2] in "TDBC"}
        assert missing <= {"expf", "logf", "sqrtf", "fmaxf", "memcpy", "memset", "_GLOBAL_OFFSET_TABLE_"}
        assert defined == {"model_logits"}
        assert not [line for line in symbols if line.split()[-2] in "bBdD" and ".ro" not in line], "it has variables"


def test_code_is_loaded_only_where_it_is_trusted(programs: dict[str, Path], tmp_path: Path) -> None:
    write.write(tmp_path / "model", programs["plain"], describe("plain"), "# card\n")
    with pytest.raises(UserError, match="--trust-native-code"):
        tsc_lib.load(tmp_path / "model")
    assert not bundle.read(tmp_path / "model").instructions


def test_without_a_compiler(programs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = CompressedModel(network_of("plain"), 100)
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(RuntimeUnavailable, match="c needs the C compiler 'no-such-compiler' that CC names"):
        convert.convert(model, "c", tmp_path, equal_length=True)
    monkeypatch.delenv("CC")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeUnavailable, match="c needs a C compiler, which is not there; install gcc or clang"):
        convert.convert(model, "c", tmp_path, equal_length=True)
    assert runtimes.load(programs["plain"], "c") is not None  # it was compiled before


def test_networks_without_a_c_form(tmp_path: Path) -> None:
    layers = (dataclasses.replace(PLAIN.layers[0], reduction=TokenReduction("merge", 0.5)), PLAIN.layers[1])
    network = Transformer(dataclasses.replace(PLAIN, layers=layers)).eval()
    with pytest.raises(RuntimeUnavailable, match="without early exits and with all tokens"):
        convert.convert(CompressedModel(network, 100), "c", tmp_path, equal_length=True)
    with pytest.raises(UserError, match="c does not execute int8 dynamic; use eager or onnxruntime"):
        convert.check("c", NumberFormat.INT8_DYNAMIC)
