"""Mixtures of experts: who computes a token, what that costs, and who can execute and change them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tsc_lib import data, runtimes
from tsc_lib.compress import TrainingContext, apply
from tsc_lib.core.errors import UserError
from tsc_lib.data import Split
from tsc_lib.models.compressed import CompressedModel, count_macs, load_model, save_model
from tsc_lib.models.experts import BALANCE, Experts, measure_imbalance
from tsc_lib.models.transformer import FeedForward, LayerConfig, Transformer
from tsc_lib.models.zoo import find_architecture
from tsc_lib.runtimes import convert
from tsc_lib.study.operations import operations
from tsc_lib.training import TrainSpec

MODEL = "T1(layers=2, heads=2, d_model=16, d_ff=24, experts=4)"


@pytest.fixture
def model() -> CompressedModel:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return CompressedModel(Transformer(find_architecture(MODEL).configure(2, 3, 40)).eval(), 40)


@pytest.fixture(scope="module")
def context() -> TrainingContext:
    rng = np.random.default_rng(0)
    split = Split([rng.normal(size=(2, n)).astype(np.float32) for n in rng.integers(17, 41, 24)], np.arange(24) % 3)
    return TrainingContext(split, split, False, TrainSpec(batch_size=8), seed=0)


@pytest.mark.parametrize("active", [1, 2, 4])
def test_a_token_gets_what_its_experts_give_by_their_probability(active: int) -> None:
    torch.manual_seed(0)
    experts = Experts(8, [FeedForward(8, 6, 0.0) for _ in range(4)], active).eval()
    x = torch.randn(3, 5, 8)
    with torch.inference_mode():
        found = experts(x)
        for token, given in zip(x.flatten(0, 1), found.flatten(0, 1), strict=True):
            shares = experts.router(token).softmax(0)
            chosen = shares.topk(active).indices.tolist()
            expected = sum(shares[i] * experts.experts[i](token) for i in chosen)
            torch.testing.assert_close(given, expected, atol=1e-6, rtol=0)


def test_even_use_costs_least() -> None:
    even, one = torch.full((8, 4), 0.25), torch.eye(4)[torch.zeros(8, dtype=torch.long)]
    assert measure_imbalance(even, torch.arange(8)[:, None] % 4) == 1
    assert measure_imbalance(one, torch.zeros(8, 1, dtype=torch.long)) == 4


def test_the_loss_that_balances_joins_what_is_minimised() -> None:
    torch.manual_seed(0)
    experts, x = Experts(8, [FeedForward(8, 6, 0.0) for _ in range(4)], 1), torch.randn(40, 8)
    (0.0 * experts(x).sum()).backward()
    joined = experts.router.weight.grad
    shares = experts.router(x).softmax(1)
    own = BALANCE * measure_imbalance(shares, shares.argmax(1, keepdim=True))
    [expected] = torch.autograd.grad(own, experts.router.weight)
    assert joined is not None and expected.abs().max() > 0
    torch.testing.assert_close(joined, expected)


def test_it_is_stored_counted_and_trained(model: CompressedModel, context: TrainingContext, tmp_path: Path) -> None:
    config = model.network.config
    assert "24 in 1 of 4 experts" in config._repr_html_()
    assert sum(o.macs for o in operations(config, 40)) == count_macs(model.network, 40)
    made = apply(model, "patch(16) > finetune(1) > layers(1)", context)
    save_model(made, tmp_path)
    loaded, x = load_model(tmp_path).network, torch.randn(4, 2, 40)
    assert loaded.config == made.network.config and loaded.config.layers[0].experts == 4
    with torch.inference_mode():
        torch.testing.assert_close(loaded(x), made.network(x), rtol=0, atol=0)


def test_plain_layers_are_stored_as_before() -> None:
    assert not {"experts", "active"} & set(LayerConfig(2, 8).to_json())
    assert LayerConfig.from_json(LayerConfig(2, 8, experts=4, active=2).to_json()) == LayerConfig(
        2, 8, experts=4, active=2
    )
    for wrong in ({"experts": 0}, {"experts": 2, "active": 3}, {"experts": 2, "ranks": {"expand": 3}}):
        with pytest.raises(ValueError, match="some of a layer's experts"):
            LayerConfig(2, 8, **wrong)


@pytest.mark.compiles
def test_onnx_runtime_sends_tokens_to_the_same_experts(
    model: CompressedModel, context: TrainingContext, tmp_path: Path
) -> None:
    convert.convert(model, "onnxruntime", tmp_path, equal_length=False)
    predict = runtimes.load(tmp_path, "onnxruntime")
    for size in (1, 7):
        for batch in data.batches(context.train, size, equal_length=False):
            with torch.inference_mode():
                exact = model.network(torch.from_numpy(batch.x), torch.from_numpy(batch.lengths)).numpy()
            np.testing.assert_allclose(predict(batch.x, batch.lengths), exact, atol=1e-5)


@pytest.mark.parametrize(
    "recipe", ["prune(l1, 0.5)", "width(taylor, 8)", "lowrank(0.5)", "mask(l1, 0.5)", "int8(dynamic)", "qat(1)"]
)
def test_steps_that_do_not_know_them_say_so(model: CompressedModel, context: TrainingContext, recipe: str) -> None:
    with pytest.raises(UserError, match="does not know mixtures of experts, and this model has one; leave it out"):
        apply(model, recipe, context)


@pytest.mark.parametrize("runtime", ["openvino", "inductor"])
def test_runtimes_that_do_not_execute_them_say_so(model: CompressedModel, tmp_path: Path, runtime: str) -> None:
    with pytest.raises(UserError, match=f"{runtime} does not execute mixtures of experts; use eager or onnxruntime"):
        convert.convert(model, runtime, tmp_path, equal_length=True)
