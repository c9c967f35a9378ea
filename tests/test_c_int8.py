"""Static int8 in C: the logits of the fake-quantized network, by products of whole numbers with int8 weights."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from exported import LABELS

from tsc_lib import data, runtimes
from tsc_lib.compress import TrainingContext, apply
from tsc_lib.core.errors import UserError
from tsc_lib.export import write
from tsc_lib.export.bundle import Bundle
from tsc_lib.microcontroller import PROCESSORS, emulate, find_missing
from tsc_lib.models.compressed import CompressedModel
from tsc_lib.models.fakequant import FakeQuantLinear, find_linears
from tsc_lib.models.number_format import INT8_WEIGHT, NumberFormat
from tsc_lib.models.transformer import LayerConfig, Ranks, Transformer, TransformerConfig
from tsc_lib.models.zoo import configure
from tsc_lib.runtimes import convert
from tsc_lib.runtimes.c.static_quantization import quantize
from tsc_lib.runtimes.conversion import Conversion
from tsc_lib.series.scaling import Scaler
from tsc_lib.training import TrainSpec, classify, make_predictor

COMPILER = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc") or shutil.which("clang")
pytestmark = [
    pytest.mark.compiles,
    pytest.mark.skipif(COMPILER is None, reason="needs a C compiler: apt-get install gcc"),
]

LENGTH, LONGEST = 96, 120
ROUNDED = 0.02
"""How far a logit may be off where one of a series' thousands of inputs was rounded to the other of two steps."""

STUDENT = configure("T1(layers=2, heads=4, d_ff=64)", 1, len(LABELS), LONGEST)
OURS = configure(
    "ConvTransformer(layers=2, filters=16, pointwise=24, d_model=32, heads=2, d_ff=64)", 2, len(LABELS), LONGEST
)
THIN = dataclasses.replace(
    STUDENT, layers=(LayerConfig(4, 64, Ranks(query=4, value=6, expand=8, contract=9)), LayerConfig(4, 64))
)
MODELS = {"student": (STUDENT, True), "ours": (OURS, True), "unequal": (OURS, False), "factorised": (THIN, False)}


def make_split(config: TransformerConfig, equal_length: bool, count: int = 60) -> data.Split:
    rng = np.random.default_rng(0)
    lengths = [LENGTH] * count if equal_length else rng.integers(3, LONGEST + 1, count).tolist()
    series = [rng.normal(size=(config.channels, length)).astype(np.float32).cumsum(axis=1) / 5 for length in lengths]
    return data.Split(series, np.arange(count) % len(LABELS))


def make_model(name: str, recipe: str = "int8(static, 40)") -> tuple[CompressedModel, CompressedModel]:
    """A network with norms that do something, in fp32 and as `recipe` has it."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config, equal_length = MODELS[name]
    network = Transformer(config).eval()
    with torch.no_grad():
        for norm in (module for module in network.modules() if isinstance(module, torch.nn.LayerNorm)):
            norm.bias.normal_(std=0.3)
            norm.weight.normal_(1.0, 0.3)
    model = CompressedModel(network, LENGTH)
    split = make_split(config, equal_length)
    context = TrainingContext(split, split, equal_length, TrainSpec(batch_size=16), seed=0, teacher=model)
    return model, apply(model, recipe, context)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Conversion]]:
    """Folders with converted models."""
    found = {}
    for name, (_, equal_length) in MODELS.items():
        folder = tmp_path_factory.mktemp(name)
        made = convert.convert(make_model(name)[1], "c", folder, equal_length=equal_length, longest=LONGEST)
        found[name] = folder, made
    return found


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_those_of_the_fake_quantized_network(
    programs: dict[str, tuple[Path, Conversion]], name: str
) -> None:
    config, equal_length = MODELS[name]
    plain, model = make_model(name)
    split = make_split(config, equal_length)
    found = classify(runtimes.load(programs[name][0], "c"), split, equal_length)
    expected = classify(make_predictor(quantize(model)), split, equal_length)
    exact = classify(make_predictor(plain.network), split, equal_length)
    off = np.abs(found - expected).max(axis=1)
    assert np.mean(off < 1e-5) > 0.9 and off.max() < ROUNDED
    clear = np.diff(np.sort(expected, axis=1)[:, -2:], axis=1)[:, 0] > 2 * ROUNDED
    assert clear.sum() > 10 and (found.argmax(axis=1) == expected.argmax(axis=1))[clear].all()
    # Int8 is something else than fp32, and not far from it.
    changed = np.abs(found - exact).max(axis=1)
    assert np.median(changed) > 1e-4 and changed.max() < 0.1 * np.ptp(exact)


def read_arrays(text: str, kind: str) -> list[np.ndarray]:
    """The arrays of a type in a C file, as matrices where they are."""
    found = []
    for sizes, values in re.findall(rf"static const {kind} model_weights\d+((?:\[\d+\])+) = ([^;]+);", text):
        shape = [int(size) for size in re.findall(r"\d+", sizes)]
        found.append(np.array(re.findall(r"[-\d.e]+", values), float).reshape(shape))
    return found


@pytest.mark.parametrize("name", MODELS)
def test_weights_lie_on_a_grid_of_seven_bits(programs: dict[str, tuple[Path, Conversion]], name: str) -> None:
    folder, made = programs[name]
    arrays = read_arrays((folder / "model.c").read_text(), "int8_t")
    linears = list(find_linears(quantize(make_model(name)[1])).values())
    assert all(isinstance(linear, FakeQuantLinear) for linear in linears)
    assert len(arrays) == len(linears) == made.int8_ops and made.fp32_ops == 0
    assert sum(array.size for array in arrays) == sum(linear.weight.numel() for linear in linears)
    for array in arrays:  # (inputs, outputs)
        assert (np.abs(array).max(axis=0) == INT8_WEIGHT).all()
    steps = [linear.weight.detach().numpy() / linear.get_weight_steps().numpy()[:, None] for linear in linears]
    expected = sorted(np.round(weight).T.ravel().tolist() for weight in steps)
    assert sorted(array.ravel().tolist() for array in arrays) == expected


@pytest.mark.parametrize("name", MODELS)
def test_products_with_weights_are_whole_numbers(programs: dict[str, tuple[Path, Conversion]], name: str) -> None:
    text = (programs[name][0] / "model.c").read_text()
    products = re.findall(r"OpType: (Gemm|MatMul|MatMulInteger)\n \* Name: model_([a-z]+)\d", text)
    # In fp32 remain attention's products and the convolution of the embedding.
    assert {stage for kind, stage in products if kind != "MatMulInteger"} <= {"attend", "embed", "measure"}
    assert {stage for kind, stage in products if kind == "MatMulInteger"} >= {"keys", "queries", "finish", "classify"}
    functions = re.findall(r"OpType: MatMulInteger\n.*?\n}\n", text, re.DOTALL)
    assert functions and all("int32_t acc = 0;" in each and "float" not in each for each in functions)


@pytest.mark.parametrize("name", MODELS)
def test_flash_shrinks(programs: dict[str, tuple[Path, Conversion]], name: str, tmp_path: Path) -> None:
    made, equal_length = programs[name][1], MODELS[name][1]
    plain = convert.convert(make_model(name)[0], "c", tmp_path, equal_length=equal_length, longest=LONGEST)
    assert made.model_bytes < 0.45 * plain.model_bytes
    assert made.flash_bytes is not None and plain.flash_bytes is not None
    assert made.flash_bytes < plain.flash_bytes - 0.9 * (plain.model_bytes - made.model_bytes) + 12_000
    assert made.ram_bytes == plain.ram_bytes


def test_the_most_sensitive_layers_stay_in_fp32(tmp_path: Path) -> None:
    _, model = make_model("ours", "int8(static, 40, fp32_layers=3)")
    left = [name for name, linear in find_linears(quantize(model)).items() if not isinstance(linear, FakeQuantLinear)]
    made = convert.convert(model, "c", tmp_path, equal_length=True)
    assert (made.int8_ops, made.fp32_ops) == (len(find_linears(model.network)) - len(left), len(left))
    assert len(left) >= 3
    split = make_split(OURS, True)
    found, expected = classify(runtimes.load(tmp_path, "c"), split, True), make_predictor(quantize(model))
    np.testing.assert_allclose(found, classify(expected, split, True), atol=ROUNDED)


def test_what_it_cannot_observe_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="c has no observer percentile for int8 static; use inductor or onnxruntime or"):
        convert.convert(make_model("student", "int8(static, 40, percentile)")[1], "c", tmp_path, equal_length=True)
    model = dataclasses.replace(make_model("student")[1], calibration=None)
    with pytest.raises(UserError, match="static int8 needs calibration series"):
        convert.convert(model, "c", tmp_path, equal_length=True)


def export(programs: dict[str, tuple[Path, Conversion]], name: str, folder: Path) -> None:
    config, equal_length = MODELS[name]
    described = Bundle(
        dataset="Toy", model="T0", recipe="int8(static)", seed=0, runtime="c", number_format=NumberFormat.INT8_STATIC,
        channels=config.channels, labels=LABELS, patch=config.embedding.patch, shortest=LENGTH if equal_length else 1,
        longest=LENGTH if equal_length else LONGEST, equal_length=equal_length, scaling=Scaler("none"), gaps="refuse",
        threads=1, versions={"numpy": np.__version__},
    )  # fmt: skip
    write.write(folder, programs[name][0], described, "# card\n", make_split(config, equal_length).x)


def make_test(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", "-C", str(folder), "test", *options], capture_output=True, text=True)


@pytest.mark.parametrize("name", ["student", "unequal"])
def test_an_exported_folder_is_tested_by_any_compiler(
    programs: dict[str, tuple[Path, Conversion]], name: str, tmp_path: Path
) -> None:
    export(programs, name, tmp_path / "model")
    small = "-O1 -g -DMODEL_SMALL -fsanitize=address,undefined -fno-sanitize-recover=all"
    for compiler in filter(shutil.which, ("gcc", "clang")):
        for flags in ("-O1 -Werror", small) if compiler == "gcc" else ("-O1 -Werror",):
            done = make_test(tmp_path / "model", f"CC={compiler}", f"CFLAGS={flags}")
            assert done.returncode == 0, done.stdout + done.stderr
            assert "10 series have the logits" in done.stdout


def test_what_is_more_than_rounding_fails_the_test(
    programs: dict[str, tuple[Path, Conversion]], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    export(programs, "student", folder)
    test, model = (folder / "test.c").read_text(), (folder / "model.c").read_text()
    (folder / "test.c").write_text(test.replace("expected[] = {\n", "expected[] = {\n5 + "))
    done = make_test(folder, "CFLAGS=-O1")
    assert done.returncode != 0 and "series 1: logit 1 is" in done.stdout
    (folder / "test.c").write_text(test)
    # The weights of one class a step lower.
    start = model.rindex("static const int8_t")
    lower = re.sub(r"(\n\{)(-?\d+)", lambda found: f"{found[1]}{int(found[2]) - 1}", model[start:])
    (folder / "model.c").write_text(model[:start] + lower)
    done = make_test(folder, "CFLAGS=-O1")
    assert done.returncode != 0 and "that is no rounding" in done.stdout


def test_it_calls_the_mathematics_and_nothing_else(
    programs: dict[str, tuple[Path, Conversion]], tmp_path: Path
) -> None:
    for name, (folder, _) in programs.items():
        subprocess.run(["cc", "-std=c99", "-c", folder / "model.c", "-o", tmp_path / name], check=True)
        told = subprocess.run(["nm", tmp_path / name], check=True, capture_output=True, text=True).stdout
        missing = {line.split()[-1] for line in told.splitlines() if " U " in line}
        rounding = {"nearbyintf", "fmaxf", "fminf"}
        assert missing <= {"expf", "logf", "sqrtf", "memcpy", "memset", "_GLOBAL_OFFSET_TABLE_"} | rounding


@pytest.mark.skipif(bool(find_missing()), reason=find_missing() or "never")
def test_an_imitated_microcontroller_gives_the_same_from_less_flash(
    programs: dict[str, tuple[Path, Conversion]], tmp_path: Path
) -> None:
    convert.convert(make_model("unequal")[0], "c", tmp_path, equal_length=False, longest=LONGEST)
    series, processor = make_split(OURS, False).x[:6], PROCESSORS["cortex-m4"]
    wide, narrow = (emulate(folder, series, processor) for folder in (tmp_path, programs["unequal"][0]))
    assert narrow.footprint.flash_bytes < 0.6 * wide.footprint.flash_bytes
    predict = runtimes.load(programs["unequal"][0], "c")
    own = np.concatenate([predict(one[None], np.array([one.shape[1]])) for one in series])
    off = np.abs(narrow.logits - own).max(axis=1)
    assert np.median(off) < 1e-5 and off.max() < ROUNDED
