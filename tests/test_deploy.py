"""Runtimes: the logits of eager fp32, and evidence of the number format that ran."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tsc_lib import data, runtimes
from tsc_lib.compress import TrainingContext, apply
from tsc_lib.core.errors import RuntimeUnavailable, UserError
from tsc_lib.models.compressed import CompressedModel
from tsc_lib.models.embedding import PatchEmbeddingConfig
from tsc_lib.models.transformer import LayerConfig, Transformer, TransformerConfig
from tsc_lib.models.zoo import build
from tsc_lib.runtimes import convert, processor
from tsc_lib.runtimes.graph import Form, InferenceTransformer
from tsc_lib.runtimes.openvino.predict import OFTEN
from tsc_lib.series.scaling import pad
from tsc_lib.training import TrainSpec

needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("clang++") is None, reason="inductor needs a C++ compiler"
)
LINEARS = 2 * 6 + 2  # two layers of query, key, value, out, expand, contract; and the classifier


def model_of(channels: int) -> CompressedModel:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = TransformerConfig(
        channels, 3, PatchEmbeddingConfig(8), 16, 4, tuple(map(LayerConfig, (4, 2), (32, 24))), 32
    )
    return CompressedModel(Transformer(config).eval(), reference_length=24)


@pytest.fixture(scope="module")
def context() -> TrainingContext:
    dataset = data.load(data.resolve("ItalyPowerDemand"))
    return TrainingContext(dataset.train, dataset.valid, True, TrainSpec(), seed=0)


@pytest.fixture(scope="module")
def unequal() -> TrainingContext:
    """Three channels, 9 to 40 time steps."""
    rng = np.random.default_rng(0)
    x = [rng.normal(size=(3, n)).astype(np.float32) for n in rng.integers(9, 41, 24)]
    split = data.Split(x, rng.integers(0, 3, 24))
    return TrainingContext(split, split, False, TrainSpec(), seed=0)


def logits_of(model: CompressedModel, x: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
    with torch.inference_mode():
        return model.network(torch.from_numpy(x), None if lengths is None else torch.from_numpy(lengths)).numpy()


def test_eager_fp32_is_the_network(tmp_path: Path) -> None:
    model = model_of(1)
    deployed = convert.convert(model, "eager", tmp_path, equal_length=True)
    x = np.random.default_rng(0).normal(size=(5, 1, 24)).astype(np.float32)
    np.testing.assert_array_equal(runtimes.load(tmp_path, "eager")(x), logits_of(model, x))
    assert (deployed.int8_ops, deployed.fp32_ops) == (0, LINEARS)
    assert deployed.model_bytes == 4 * sum(p.numel() for p in model.network.parameters())


def test_dynamic_int8_runs_int8_operators_and_is_smaller(tmp_path: Path, context: TrainingContext) -> None:
    model = apply(model_of(1), "int8(dynamic)", context)
    deployed = convert.convert(model, "eager", tmp_path, equal_length=True)
    assert (deployed.int8_ops, deployed.fp32_ops) == (LINEARS, 0)
    assert deployed.model_bytes < 0.6 * 4 * sum(p.numel() for p in model.network.parameters())
    x = np.stack(context.valid.x)
    logits, exact = runtimes.load(tmp_path, "eager")(x), logits_of(model, x)
    assert not np.array_equal(logits, exact)
    np.testing.assert_allclose(logits, exact, atol=0.1)


def test_dynamic_int8_takes_layers_without_a_bias(tmp_path: Path, context: TrainingContext) -> None:
    model = apply(model_of(1), "lowrank(0.5) > int8(dynamic)", context)
    assert any(isinstance(m, torch.nn.Linear) and m.bias is None for m in model.network.modules())
    deployed = convert.convert(model, "eager", tmp_path, equal_length=True)
    assert (deployed.int8_ops, deployed.fp32_ops) == (linears(model, "eager"), 0)
    x = np.stack(context.valid.x)
    np.testing.assert_allclose(runtimes.load(tmp_path, "eager")(x), logits_of(model, x), atol=0.1)


def linears(model: CompressedModel, runtime: str) -> int:
    """How many linear layers a runtime has to execute."""
    network = model.network if runtime == "eager" else InferenceTransformer(model.network, attention="operator")
    return sum(isinstance(module, torch.nn.Linear) for module in network.modules())


@pytest.mark.parametrize("attention", ["operator", "matmul", "elementwise"])
@pytest.mark.parametrize(("channels", "length"), [(1, 24), (3, 29)])
def test_the_inference_form_has_the_same_logits(attention: Form, channels: int, length: int) -> None:
    network = model_of(channels).network.eval()
    graph = InferenceTransformer(network, attention=attention).eval()
    x = torch.randn(5, channels, length)
    with torch.inference_mode():
        torch.testing.assert_close(graph(x), network(x), atol=1e-5, rtol=0)
        lengths = torch.tensor([24, 8, 16, 20, 11])
        whole = x[:, :, :24] * (torch.arange(24) < lengths[:, None])[:, None]
        torch.testing.assert_close(graph(whole, lengths), network(whole, lengths), atol=1e-5, rtol=0)


@pytest.mark.compiles
@pytest.mark.parametrize("name", ["T1", "ConvTransformer"])
def test_a_shape_that_comes_often_has_a_program_of_its_own(name: str, tmp_path: Path) -> None:
    model = CompressedModel(build(name, 1, 3, 24).eval(), 24)
    convert.convert(model, "openvino", tmp_path, equal_length=True)
    predict = runtimes.load(tmp_path, "openvino")
    many = np.random.default_rng(0).normal(size=(3, 1, 24)).astype(np.float32)
    x = many[:1]
    first, other = predict(x).copy(), predict(many).copy()
    for _ in range(OFTEN):
        again = predict(x)
        predict(many)
    assert list(predict._own) == [x.shape]
    np.testing.assert_allclose(again, first, atol=1e-5)
    np.testing.assert_allclose(predict(many), other, atol=1e-5)


@pytest.mark.compiles
def test_bf16_runs_where_the_processor_has_it(
    tmp_path: Path, context: TrainingContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = apply(model_of(1), "bf16", context)
    monkeypatch.setattr(processor, "has_bf16", lambda: False)
    for runtime in ("eager", "inductor"):
        with pytest.raises(RuntimeUnavailable, match=r"no instructions for bf16"):
            convert.convert(model, runtime, tmp_path, equal_length=True)
    monkeypatch.setattr(processor, "has_bf16", lambda: True)
    deployed = convert.convert(model, "eager", tmp_path, equal_length=True)
    assert (deployed.int8_ops, deployed.fp32_ops, deployed.bf16_ops) == (0, 0, LINEARS)
    assert deployed.model_bytes == 2 * sum(p.numel() for p in model.network.parameters())
    x = np.stack(context.valid.x)
    logits, exact = runtimes.load(tmp_path, "eager")(x), logits_of(model, x)
    assert logits.dtype == np.float32 and not np.array_equal(logits, exact)
    np.testing.assert_allclose(logits, exact, atol=0.1)


@pytest.mark.compiles
def test_what_it_takes_to_prepare_is_recorded(tmp_path: Path) -> None:
    made = convert.convert(model_of(1), "openvino", tmp_path, equal_length=True)
    assert made.prepare_seconds > 0
    if Path("/proc/self/clear_refs").exists():
        assert made.prepare_peak_mb > 0


@pytest.mark.compiles
@pytest.mark.parametrize("recipe", [None, "int8(static)"])
def test_runtimes_count_the_same_weights_and_no_positions(
    tmp_path: Path, unequal: TrainingContext, recipe: str | None
) -> None:
    model = model_of(3) if recipe is None else apply(model_of(3), recipe, unequal)
    sizes = {}
    for runtime in ("onnxruntime", "openvino"):
        (tmp_path / runtime).mkdir()
        sizes[runtime] = convert.convert(model, runtime, tmp_path / runtime, equal_length=False).model_bytes
    weights = 4 * sum(p.numel() for p in model.network.parameters())
    assert max(sizes.values()) <= weights  # the positions of 1024 tokens would be three times that
    assert sizes["openvino"] == pytest.approx(sizes["onnxruntime"], rel=0.02 if recipe is None else 0.1)


GRAPHS = [
    pytest.param("inductor", None, marks=needs_compiler),
    pytest.param("inductor", "int8(static)", marks=needs_compiler),
    ("onnxruntime", None),
    ("onnxruntime", "int8(dynamic)"),
    ("onnxruntime", "int8(static)"),
    ("openvino", None),
    ("openvino", "int8(static)"),
]


@pytest.mark.compiles
@pytest.mark.usefixtures("library_products")
@pytest.mark.parametrize(("runtime", "recipe"), GRAPHS)
def test_one_graph_serves_every_batch_size(
    tmp_path: Path, context: TrainingContext, runtime: str, recipe: str | None
) -> None:
    model = model_of(1) if recipe is None else apply(model_of(1), recipe, context)
    deployed = convert.convert(model, runtime, tmp_path, equal_length=True)
    predict, count = runtimes.load(tmp_path, runtime), linears(model, runtime)
    assert (deployed.int8_ops, deployed.fp32_ops) == ((0, count) if recipe is None else (count, 0))
    weights = 4 * sum(p.numel() for p in model.network.parameters())
    assert (
        abs(deployed.model_bytes - weights) < 0.1 * weights if recipe is None else deployed.model_bytes < 0.8 * weights
    )
    for n in (1, 2, 7, 64):
        x = np.random.default_rng(n).normal(size=(n, 1, 24)).astype(np.float32)
        logits, exact = predict(x), logits_of(model, x)
        assert logits.shape == (n, 3)
        np.testing.assert_allclose(logits, exact, atol=1e-5 if recipe is None else 0.1)


@pytest.mark.compiles
@pytest.mark.usefixtures("library_products")
@pytest.mark.parametrize(("runtime", "recipe"), GRAPHS[1:])
def test_one_graph_serves_unequal_lengths(
    tmp_path: Path, unequal: TrainingContext, runtime: str, recipe: str | None
) -> None:
    recipe = recipe and recipe.replace("static", "static, 16")
    model = model_of(3) if recipe is None else apply(model_of(3), recipe, unequal)
    deployed = convert.convert(model, runtime, tmp_path, equal_length=False)
    predict, count = runtimes.load(tmp_path, runtime), linears(model, runtime)
    assert (deployed.int8_ops, deployed.fp32_ops) == ((0, count) if recipe is None else (count, 0))
    for batch in data.batches(unequal.train, 5, equal_length=False):
        logits = predict(batch.x, batch.lengths)
        exact = logits_of(model, batch.x, batch.lengths)
        np.testing.assert_allclose(logits, exact, atol=1e-5 if recipe is None else 0.15)
    # Down to a single step, which fills a patch with zeros, and far beyond what was trained on.
    for steps in [[1], [5, 3], [40, 7, 2], [5000]]:
        x, lengths = pad([np.random.default_rng(n).normal(size=(3, n)).astype(np.float32) for n in steps])
        if recipe is None:
            np.testing.assert_allclose(predict(x, lengths), logits_of(model, x, lengths), atol=1e-5)
        assert np.isfinite(predict(x, lengths)).all()


REMOVED = "prune(taylor, 0.5, both, global) > layers(1) > width(activation, 6) > lowrank(0.5)"


@pytest.mark.usefixtures("library_products")
@pytest.mark.compiles
@pytest.mark.parametrize(
    ("runtime", "recipe"),
    [
        pytest.param("inductor", REMOVED, marks=needs_compiler),
        *[
            (runtime, recipe)
            for runtime in ("eager", "onnxruntime", "openvino")
            for recipe in (REMOVED, "student(1, 2, 16, 8, 4)")
        ],
    ],
)
def test_every_runtime_executes_every_shape(
    tmp_path: Path, unequal: TrainingContext, runtime: str, recipe: str
) -> None:
    """Heads, neurons, layers and channels gone and linear layers of low rank; or a student with other patches."""
    model = apply(model_of(3), recipe, unequal)
    deployed = convert.convert(model, runtime, tmp_path, equal_length=False)
    assert (deployed.int8_ops, deployed.fp32_ops) == (0, linears(model, runtime))
    predict = runtimes.load(tmp_path, runtime)
    for batch in data.batches(unequal.train, 5, equal_length=False):
        exact = logits_of(model, batch.x, batch.lengths)
        np.testing.assert_allclose(predict(batch.x, batch.lengths), exact, atol=1e-5)


@pytest.mark.parametrize(("runtime", "package"), [("onnxruntime", "onnxruntime"), ("openvino", "openvino")])
def test_a_runtime_that_is_not_installed_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(RuntimeUnavailable, match=rf"needs {package}, .*: pip install 'tsc_lib\[runtimes\]'"):
        convert.convert(model_of(1), runtime, tmp_path, equal_length=True)


def test_without_a_compiler_inductor_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeUnavailable, match=r"needs a C\+\+ compiler .* install g\+\+"):
        convert.convert(model_of(1), "inductor", tmp_path, equal_length=True)


def test_quantized_model_without_int8_operators_fails(
    tmp_path: Path, context: TrainingContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = apply(model_of(1), "int8(dynamic)", context)
    monkeypatch.setattr(
        "tsc_lib.runtimes.eager.convert.cast_network", lambda network, _: network
    )  # a quantizer that does nothing
    with pytest.raises(RuntimeError, match="executes no linear layer in int8"):
        convert.convert(model, "eager", tmp_path, equal_length=True)


@pytest.mark.parametrize(
    ("runtime", "number_format", "sentence"),
    [
        ("tpu", "fp32", "unknown runtime 'tpu'; the runtimes are eager, inductor, onnxruntime"),
        ("eager", "int8 static", "eager does not execute int8 static; use inductor or onnxruntime or openvino"),
        ("inductor", "int8 dynamic", "inductor does not execute int8 dynamic; use eager or onnxruntime"),
    ],
)
def test_what_a_runtime_cannot_do_is_one_sentence(runtime: str, number_format: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        convert.check(runtime, number_format)
