"""The plain use of other runtimes that ours are measured beside: it classifies as eager does, batches of any size."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import torch._inductor.config

from tsc_lib.compress import TrainingContext, apply
from tsc_lib.data import Split
from tsc_lib.models.compressed import CompressedModel, save_model
from tsc_lib.models.embedding import PatchEmbeddingConfig
from tsc_lib.models.transformer import LayerConfig, Transformer, TransformerConfig
from tsc_lib.training import TrainSpec

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
WAYS = ["onnxruntime fp32", "onnxruntime int8", "openvino fp32", "openvino int8", "inductor int8"]
COMPILERS = ("g++", "clang++")
TOLERANCE = {"fp32": 1e-5, "int8": 0.3}


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import plain_runtimes

    with torch._inductor.config.patch(freezing=False):  # it is set for good otherwise
        yield plain_runtimes
    del sys.modules["plain_runtimes"]


@pytest.mark.compiles
@pytest.mark.parametrize("equal_length", [True, False], ids=["equal", "unequal"])
@pytest.mark.parametrize("way", WAYS)
def test_plain_runtimes_classify_as_eager_does(plain: ModuleType, tmp_path: Path, way: str, equal_length: bool) -> None:
    runtime, number_format = way.split()
    if runtime == "inductor":
        if not any(map(shutil.which, COMPILERS)):
            pytest.skip("inductor needs a C++ compiler")
        if not equal_length:
            pytest.skip("one program of inductor is enough")
    else:
        pytest.importorskip(runtime)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = TransformerConfig(1, 3, PatchEmbeddingConfig(8), 16, 4, (LayerConfig(4, 32),) * 2, 32)
    rng = np.random.default_rng(0)
    split = Split([rng.normal(size=(1, 40)).astype(np.float32) for _ in range(48)], rng.integers(0, 3, 48))
    context = TrainingContext(split, split, equal_length, TrainSpec(), seed=0)
    model = CompressedModel(Transformer(config).eval(), reference_length=40)
    save_model(model if number_format == "fp32" else apply(model, "int8(static)", context), tmp_path)
    predict = plain.load(str(tmp_path), way, 1, equal_length)
    for n in (1, 5):
        x = np.stack(split.x[:n])
        lengths = None if equal_length else np.array([40, 16, 24, 33, 8])[:n]
        if lengths is not None:
            x = x * (np.arange(40) < lengths[:, None])[:, None]
        with torch.inference_mode():
            exact = model.network(torch.from_numpy(x), None if lengths is None else torch.from_numpy(lengths)).numpy()
        logits = predict(x, lengths)
        np.testing.assert_allclose(logits, exact, atol=TOLERANCE[number_format])
        if number_format == "int8":
            assert not np.array_equal(logits, exact)


def test_every_way_has_been_tried(plain: ModuleType) -> None:
    assert list(plain.WAYS) == WAYS
