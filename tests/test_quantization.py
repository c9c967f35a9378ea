"""Quantization: observers, weights alone, layers left in fp32, training for int8, error and sensitivity by layer."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from interrupted import resumed
from torch import nn
from torch.nn import functional as F

from tsc_lib import data, figures, runtimes
from tsc_lib.analysis import findings
from tsc_lib.compress import Recipe, TrainingContext, apply
from tsc_lib.compress.sensitivity import draw_calibration, measure_sensitivity
from tsc_lib.core.errors import RuntimeUnavailable, UserError
from tsc_lib.data import DataSpec
from tsc_lib.energy.opcount import model_energy
from tsc_lib.figures.quantization import KIND_LOOKS
from tsc_lib.models.compressed import CompressedModel, load_model, save_model
from tsc_lib.models.embedding import PatchEmbeddingConfig
from tsc_lib.models.fakequant import FakeQuantLinear, fake_quantize, find_linears, observe_ranges, replace_module
from tsc_lib.models.number_format import NumberFormat
from tsc_lib.models.transformer import LayerConfig, Transformer, TransformerConfig
from tsc_lib.models.zoo import build
from tsc_lib.runtimes import convert
from tsc_lib.runtimes.conversion import Conversion
from tsc_lib.runtimes.graph import InferenceTransformer, find_sources
from tsc_lib.runtimes.inductor.convert import PRODUCTS
from tsc_lib.runtimes.inductor.predict import PROGRAM, PROGRAM_ONE
from tsc_lib.runtimes.onnxruntime.layer_error import measure_layer_errors
from tsc_lib.study.layer_sensitivity import ERROR_COLUMNS, SENSITIVITY_COLUMNS, _placed
from tsc_lib.study.operations import operations
from tsc_lib.study.specs import TrainingRun
from tsc_lib.training import TrainSpec, classify, make_predictor

needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("clang++") is None, reason="inductor needs a C++ compiler"
)
CONFIG = TransformerConfig(1, 2, PatchEmbeddingConfig(8), 16, 4, tuple(map(LayerConfig, (4, 2), (32, 24))), 32)
LINEARS = 2 * 4 + 3  # of the inference form: three projections in one, and in the last layer in two; the classifier


@pytest.fixture(scope="module")
def model() -> CompressedModel:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return CompressedModel(Transformer(CONFIG).eval(), reference_length=24)


@pytest.fixture(scope="module")
def context(model: CompressedModel) -> TrainingContext:
    dataset = data.load(data.resolve("ItalyPowerDemand"))
    return TrainingContext(dataset.train, dataset.valid, True, TrainSpec(batch_size=16), seed=0, teacher=model)


def logits_of(model: CompressedModel, context: TrainingContext) -> np.ndarray:
    return classify(make_predictor(model.network), context.valid, True)


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("int8(static, observer=native)", "int8(static)"),
        ("int8(static, observer=percentile, percentile=99.99)", "int8(static, 128, percentile)"),
        ("int8(static, fp32_layers=8)", "int8(static, 128, native, 99.99, 8)"),
        ("int4(group=32)", "int4"),
        ("qat(4, teacher=0.5) > int8(static)", "qat(4, 0.0005, 0.5) > int8(static)"),
    ],
)
def test_recipes_have_one_spelling(written: str, canonical: str) -> None:
    assert str(Recipe.parse(written)) == canonical and Recipe.parse(canonical) == Recipe.parse(written)


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ("int8(static, observer=guess)", "unknown observer 'guess'; use native, minmax, percentile or mse"),
        ("int8(static, observer=minmax, percentile=99)", "a percentile belongs to the observer percentile"),
        ("int8(static, observer=percentile, percentile=40)", "lies above 50 and is no more than 100, not 40"),
        ("int8(dynamic, observer=minmax)", "belong to int8(static)"),
        ("int8(weights, fp32_layers=2)", "belong to int8(static)"),
        ("int4(20)", "a group of 16, 32, 64 or 128 weights, not 20"),
        ("qat(0)", "'epochs' must be a whole number from 1 to 100,000, not 0"),
        ("qat(1, teacher=2)", "'teacher' must be a finite number from 0 to 1, not 2.0"),
    ],
)
def test_bad_recipes_are_one_sentence(recipe: str, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        Recipe.parse(recipe)
    assert sentence in str(caught.value)


def test_what_a_runtime_cannot_do_is_one_sentence(
    model: CompressedModel, context: TrainingContext, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="onnxruntime has no observer mse for int8 static; use inductor or openvino"):
        convert.convert(apply(model, "int8(static, observer=mse)", context), "onnxruntime", tmp_path, equal_length=True)
    with pytest.raises(UserError, match="eager does not execute int4 weights; use onnxruntime or openvino"):
        convert.check("eager", Recipe.parse("int4").number_format)
    with pytest.raises(UserError, match="11 layers in fp32 leave none in int8; the model has 11"):
        apply(model, "int8(static, fp32_layers=11)", context)


def test_a_fake_quantized_layer_computes_what_integers_would() -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(6, 4), torch.randn(5, 6)
    low, high = x.min().item(), x.max().item()
    with torch.no_grad():
        found = FakeQuantLinear(linear, low, high).eval()(x).numpy()
    step = (high - low) / 255
    zero = round(-low / step)
    inputs = np.clip(np.round(x.numpy() / step) + zero, 0, 255) - zero
    weight = linear.weight.detach().numpy()
    scale = np.abs(weight).max(axis=1) / 64
    product = inputs @ np.round(weight / scale[:, None]).T
    np.testing.assert_allclose(found, product * step * scale + linear.bias.detach().numpy(), atol=1e-5)


def test_sources_name_every_linear_layer_once(model: CompressedModel, context: TrainingContext) -> None:
    for recipe in ("baseline", "lowrank(0.5)"):
        network = apply(model, recipe, context).network
        with torch.no_grad():
            graph = InferenceTransformer(network, attention="operator")
        named = [source for name in find_linears(graph) for source in find_sources(name)]
        assert sorted(named) == sorted(find_linears(network))


def test_sensitivity_sees_series_that_are_shorter_than_a_patch(
    model: CompressedModel, context: TrainingContext
) -> None:
    rng = np.random.default_rng(0)
    short = [rng.normal(size=(1, n)).astype(np.float32) for n in (3, 5, 8, 7, 20)]
    filled = [np.pad(one, ((0, 0), (0, max(0, 8 - one.shape[1])))) for one in short]
    found = []
    for series in (short, filled):
        split = data.Split(series, np.arange(5) % 2)
        found.append(measure_sensitivity(model, replace(context, train=split, equal_length=False), 5))
    assert found[0] == found[1]


def test_sensitivity_is_that_of_one_layer_alone(model: CompressedModel, context: TrainingContext) -> None:
    rows = measure_sensitivity(model, context, 16)
    assert len(rows) == LINEARS and all(row["divergence"] > 0 for row in rows)
    with torch.no_grad():
        graph = InferenceTransformer(model.network, attention="operator").eval()
    exact = torch.from_numpy(classify(make_predictor(graph), context.train, True)).softmax(1)
    low, high = observe_ranges(graph, draw_calibration(context, 16)[0])["hidden"]
    replace_module(graph, "hidden", FakeQuantLinear(graph.hidden, low, high))
    found = torch.from_numpy(classify(make_predictor(graph), context.train, True)).softmax(1)
    [row] = [row for row in rows if row["layer"] == "hidden"]
    by_hand = (exact * (exact.log() - found.log())).sum(1).mean().item()
    assert row["divergence"] == pytest.approx(by_hand, abs=1e-7)
    target = torch.from_numpy(context.train.y)
    increase = F.nll_loss(found.log(), target) - F.nll_loss(exact.log(), target)
    assert row["loss_increase"] == pytest.approx(increase.item(), abs=1e-6)


def test_the_most_sensitive_layers_stay_in_fp32(
    model: CompressedModel, context: TrainingContext, tmp_path: Path
) -> None:
    made = apply(model, "int8(static, 16, fp32_layers=3)", context)
    rows = made.evidence[-1].details["sensitivity"]
    least = min(row["divergence"] for row in rows if row["layer"] in made.quantization.fp32_layers)
    assert len(made.quantization.fp32_layers) == 3
    assert all(row["divergence"] <= least for row in rows if row["layer"] not in made.quantization.fp32_layers)
    save_model(made, tmp_path)
    assert load_model(tmp_path).quantization == made.quantization


def sqnr_db(exact: np.ndarray, found: np.ndarray) -> float:
    return 10 * np.log10(np.square(exact).sum() / np.square(exact - found).sum())


@pytest.mark.compiles
def test_layer_errors_are_those_of_the_graph_that_runs(
    model: CompressedModel, context: TrainingContext, tmp_path: Path
) -> None:
    made = apply(model, "int8(static, 54, percentile, 99.9)", context)
    deployed = convert.convert(made, "onnxruntime", tmp_path, equal_length=True)
    assert (deployed.int8_ops, deployed.fp32_ops) == (LINEARS, 0)
    rows = measure_layer_errors(tmp_path, "onnxruntime", context.valid, True)
    with torch.no_grad():
        assert {row["layer"] for row in rows} == set(
            find_linears(InferenceTransformer(model.network, attention="matmul"))
        )
    predicted = classify(runtimes.load(tmp_path, "onnxruntime"), context.valid, True)
    of_logits = next(row["sqnr_db"] for row in rows if row["layer"] == "classify")
    assert of_logits == pytest.approx(sqnr_db(logits_of(model, context), predicted), abs=0.01)
    assert all(10 < row["sqnr_db"] < 60 for row in rows), "a layer beside another's would be noise alone"
    for closed in ("inductor", "c"):
        with pytest.raises(RuntimeUnavailable, match=f"{closed}'s .*program hands out nothing but its result"):
            measure_layer_errors(tmp_path, closed, context.valid, True)


@pytest.mark.compiles
def test_layers_left_in_fp32_run_in_fp32(model: CompressedModel, context: TrainingContext, tmp_path: Path) -> None:
    made = apply(model, "int8(static, 16, fp32_layers=3)", context)
    deployed = convert.convert(made, "onnxruntime", tmp_path, equal_length=True)
    assert (deployed.int8_ops, deployed.fp32_ops) == (LINEARS - 3, 3)
    rows = measure_layer_errors(tmp_path, "onnxruntime", context.valid, True)
    assert not {row["layer"] for row in rows} & set(made.quantization.fp32_layers) and len(rows) == LINEARS - 3


@pytest.mark.compiles
def test_onnx_static_int8_rounds_a_products_input_and_weights_alone(
    model: CompressedModel, context: TrainingContext, tmp_path: Path
) -> None:
    made = apply(model, f"int8(static, 54, fp32_layers={LINEARS - 1})", context)
    convert.convert(made, "onnxruntime", tmp_path, equal_length=True)
    with torch.no_grad():
        graph = InferenceTransformer(model.network, attention="operator").eval()
    (name,) = set(find_linears(graph)) - set(made.quantization.fp32_layers)
    low, high = observe_ranges(graph, draw_calibration(context, 54)[0])[name]
    replace_module(graph, name, FakeQuantLinear(graph.get_submodule(name), low, high).eval())
    found = classify(runtimes.load(tmp_path, "onnxruntime"), context.valid, True)
    np.testing.assert_allclose(found, classify(make_predictor(graph), context.valid, True), atol=1e-5)
    operators = {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}
    assert {"QuantizeLinear", "MatMulIntegerToFloat"} <= operators and "DequantizeLinear" not in operators


@pytest.mark.compiles
@needs_compiler
def test_inductor_honours_observer_and_layers(model: CompressedModel, context: TrainingContext, tmp_path: Path) -> None:
    made = apply(model, "int8(static, 54, percentile, 90, 2)", context)
    deployed = convert.convert(made, "inductor", tmp_path, equal_length=True)
    assert (deployed.int8_ops, deployed.fp32_ops) == (LINEARS - 2, 2)
    found = classify(runtimes.load(tmp_path, "inductor"), context.valid, True)
    assert 5 < sqnr_db(logits_of(model, context), found) < 60
    assert [choice.series > 1 for choice in deployed.products] == [False, True]
    for choice, name in zip(deployed.products, (PROGRAM_ONE, PROGRAM), strict=True):
        assert set(choice.cpu_ms) == set(PRODUCTS) and min(choice.cpu_ms.values()) > 0
        assert count_int8_products(tmp_path / name) == LINEARS - 2
    assert Conversion.from_json(json.loads(json.dumps(deployed.to_json()))) == deployed


def count_int8_products(program: Path) -> int:
    """Linear layers that a program executes in int8, told from its source: calls of the library, or of own kernels."""
    with zipfile.ZipFile(program) as archive:
        wrapper, kernels = (
            "".join(archive.read(name).decode() for name in archive.namelist() if name.endswith(f".{part}.cpp"))
            for part in ("wrapper", "kernel")
        )
    own = re.findall(r"void (\w+)\(const uint8_t\* X, const \w+\* W\b", kernels)
    called = re.findall(r"^ +(\w+)\(", wrapper, re.MULTILINE)
    return len(re.findall(r"aoti_torch_cpu_\w*qlinear\w*\(", wrapper)) + sum(called.count(name) for name in own)


@pytest.mark.compiles
@pytest.mark.parametrize("recipe", ["int8(static, 54, percentile, 90, 2)", "int8(static, 54, mse)"])
def test_openvino_honours_observer_and_layers(
    model: CompressedModel, context: TrainingContext, tmp_path: Path, recipe: str
) -> None:
    made = apply(model, recipe, context)
    deployed = convert.convert(made, "openvino", tmp_path, equal_length=True)
    left = len(made.quantization.fp32_layers)
    assert (deployed.int8_ops, deployed.fp32_ops) == (LINEARS - left, left)
    found = classify(runtimes.load(tmp_path, "openvino"), context.valid, True)
    assert 5 < sqnr_db(logits_of(model, context), found) < 60


@pytest.mark.compiles
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_weights_alone_are_narrower(
    model: CompressedModel, context: TrainingContext, tmp_path: Path, runtime: str
) -> None:
    sizes, errors = [4 * sum(p.numel() for p in model.network.parameters())], []
    for recipe in ("int8(weights)", "int4(16)"):
        folder = tmp_path / recipe
        folder.mkdir()
        deployed = convert.convert(apply(model, recipe, context), runtime, folder, equal_length=True)
        assert (deployed.int8_ops, deployed.fp32_ops, deployed.narrow_weight_ops) == (0, LINEARS, LINEARS)
        sizes.append(deployed.model_bytes)
        errors.append(sqnr_db(logits_of(model, context), classify(runtimes.load(folder, runtime), context.valid, True)))
    assert sizes[1] < 0.65 * sizes[0] and sizes[2] < 0.8 * sizes[1]
    assert errors[0] > errors[1] + 10 > 15, "int4 is noisier by far"


def test_energy_is_modelled_for_every_format() -> None:
    def parts(number_format: str, *fp32_layers: set[str]) -> Mapping[str, float]:
        return model_energy("x", operations(CONFIG, 24, 1, NumberFormat(number_format), *fp32_layers)).domains

    exact, narrow = parts("fp32"), parts("int4 weights")
    assert narrow["arithmetic"] == exact["arithmetic"] and narrow["memory"] < exact["memory"]
    mixed = {"layers.0.feed_forward.expand", "hidden"}
    macs = 4 * 16 * 32 + 16 * 32
    saved = parts("int8 static", mixed)["arithmetic"] - parts("int8 static")["arithmetic"]
    assert saved == pytest.approx(macs * (4.6 - 0.3) * 1e-12)


def test_training_for_int8_chooses_by_the_rounded_network(
    model: CompressedModel, context: TrainingContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tsc_lib.models.fakequant.AVERAGING", 0.0)
    made = apply(model, "qat(1, 1e-12)", context)
    rounded = apply(model, "finetune(1, 1e-12)", context).network
    fake_quantize(rounded, draw_calibration(context, 128)[0])
    logits = torch.from_numpy(classify(make_predictor(rounded), context.valid, True))
    [epoch] = made.evidence[-1].details["history"]
    loss = F.cross_entropy(logits, torch.from_numpy(context.valid.y)).item()
    assert epoch["valid_loss"] == pytest.approx(loss, abs=1e-7)
    exact = F.cross_entropy(torch.from_numpy(logits_of(model, context)), torch.from_numpy(context.valid.y)).item()
    assert abs(exact - loss) > 1e-6


def test_training_for_int8_is_deterministic_and_goes_on_where_it_was(
    model: CompressedModel, context: TrainingContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, again = (apply(model, "qat(3, 0.001, 0.5)", context) for _ in range(2))
    np.testing.assert_array_equal(logits_of(whole, context), logits_of(again, context))
    assert list(whole.network.state_dict()) == list(model.network.state_dict()) and whole.number_format == "fp32"
    later = resumed(model, "qat(3, 0.001, 0.5)", context, tmp_path, monkeypatch)
    np.testing.assert_array_equal(logits_of(later, context), logits_of(whole, context))


def test_masked_rows_stay_zero_under_training_for_int8(model: CompressedModel, context: TrainingContext) -> None:
    masked = apply(model, "mask(l1, 0.5)", context)
    trained = apply(masked, "qat(1)", context)
    was, found = (m.network.layers[0].feed_forward.expand.weight for m in (masked, trained))
    assert torch.equal((found == 0).all(1), (was == 0).all(1)) and not torch.equal(found, was)


@pytest.mark.parametrize("name", ["T1", "ConvTransformer", "T1(layers=1, experts=2)"])
def test_every_linear_layer_of_every_model_has_a_place_and_a_look(name: str) -> None:
    network = build(name, 1, 2)
    layers = [module for module, part in network.named_modules() if isinstance(part, torch.nn.Linear)]
    run = TrainingRun(DataSpec("Toy", "0"), name, TrainSpec(), 0)
    placed = pd.DataFrame(_placed(run, [{"layer": layer} for layer in layers]))
    assert set(placed[placed.kind == "embedding"].block) <= {0} and set(placed.kind) <= set(KIND_LOOKS)
    assert ("embedding" in set(placed.kind)) == (name == "ConvTransformer")


def test_tables_become_figures_and_findings(model: CompressedModel, context: TrainingContext) -> None:
    run = TrainingRun(DataSpec("Toy", "0"), "T1", TrainSpec(), 0)
    borne = pd.DataFrame(_placed(run, measure_sensitivity(model, context, 16)), columns=SENSITIVITY_COLUMNS)
    assert borne.block.max() == 3 and set(borne[borne.block == 3].kind) == {"classifier"}
    assert "of the divergence of all layers" in findings.sensitivity(borne)
    rows = [
        {**row, "recipe": "int8(static)", "runtime": "onnxruntime", "sqnr_db": 30.0 + row["block"], "status": "ok"}
        for row in _placed(run, [{"layer": name} for name in borne.layer])
    ]
    told = pd.DataFrame([*rows, {**rows[0], "runtime": "inductor", "status": "failed: unavailable: no"}])[ERROR_COLUMNS]
    assert "inductor: unavailable: no." in findings.layer_errors(told)
    for table, draw in ((borne, figures.sensitivity_map), (told, figures.layer_errors)):
        for part in (table, table.iloc[:0]):
            figure = draw(part)
            figure.canvas.draw()
            assert bool(figure.axes) == bool(len(part))
