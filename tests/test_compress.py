"""Compression: recipes, what each method does to a model, and the evidence that it did."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tsc_lib import data
from tsc_lib.compress import STEPS, NoEffect, Recipe, Step, TrainingContext, apply
from tsc_lib.compress.importance import measure_heads, measure_neurons
from tsc_lib.compress.surgery import keep_structure
from tsc_lib.core.errors import UserError
from tsc_lib.models.compressed import CompressedModel, count_macs, load_model, save_model
from tsc_lib.models.transformer import LayerConfig
from tsc_lib.models.zoo import build
from tsc_lib.runtimes.predictor import ModelDescription
from tsc_lib.training import TrainSpec


@pytest.fixture(scope="module")
def context() -> TrainingContext:
    dataset = data.load(data.resolve("ItalyPowerDemand"))
    return TrainingContext(dataset.train, dataset.valid, True, TrainSpec(batch_size=16), seed=0)


@pytest.fixture
def model() -> CompressedModel:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return CompressedModel(build("T1", 1, 2).eval(), reference_length=24)


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("baseline", "baseline"),
        ("prune(l1,0.50)", "prune(l1, 0.5)"),
        (" mask( l2 , 0.5 )>finetune(4)", "mask(l2, 0.5) > finetune(4)"),
        ("int8(static, 128)", "int8(static)"),
        ("int8(mode=static, calibration=16)", "int8(static, 16)"),
        ("prune(taylor, 0.5, scope=global)", "prune(taylor, 0.5, both, global)"),
        ("layers(keep=2, which=influence) > distill(10)", "layers(2) > distill(10)"),
        ("student(d_ff=64) > distill(20, weight=0.9)", "student > distill(20, 2.0, 0.9)"),
        ("prune(l1, 0.5) > finetune(4, 0.001) > int8(static)", "prune(l1, 0.5) > finetune(4, 0.001) > int8(static)"),
    ],
)
def test_recipes_have_one_spelling(written: str, canonical: str) -> None:
    assert str(Recipe.parse(written)) == canonical
    assert Recipe.parse(canonical) == Recipe.parse(written)


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        (
            "shrink(0.5)",
            "unknown method 'shrink'; the methods are bf16, channels, distill, drop, exits, filters, ",
        ),
        ("prune(l1)", "prune needs ratio"),
        ("mask(l3, 0.5)", "unknown pruning norm 'l3'; use l1 or l2"),
        ("prune(l3, 0.5)", "unknown criterion 'l3'; use l1, l2, taylor, activation or random"),
        ("prune(l1, 0.5, tails)", "prune takes parts both, heads, neurons and scope layer or global, not 'tails'"),
        ("prune(l1, 0.5, multiple=0)", "'multiple' must be a whole number from 1 to 100,000, not 0"),
        ("gradual(l1, 0.5, 1)", "'steps' must be a whole number from 2 to 1,000, not 1"),
        ("gradual(l1, 0.5, 2, 0)", "'epochs' must be a whole number from 1 to 100,000, not 0"),
        ("gradual(l1, 0.5, training=prayer)", "trains by finetune or distill, not by 'prayer'"),
        ("layers(0)", "'keep' must be a whole number from 1 to 100,000, not 0"),
        ("layers(2, odd)", "unknown choice of layers 'odd'; use influence, first, last, even or random"),
        ("width(size, 16)", "unknown criterion 'size'"),
        ("width(l1, 0)", "'d_model' must be a whole number from 1 to 100,000, not 0"),
        ("lowrank(1)", "lies between 0 and 1, not 1"),
        ("distill(0)", "distill, parameter 'epochs' must be a whole number from 1 to 100,000, not 0"),
        ("distill(4, weight=1.5)", "'weight' must be a finite number from 0.001 to 1, not 1.5"),
        ("distill(4, features=-1)", "'features' must be a finite number from 0 to 1,000,000, not -1"),
        ("student(layers=0)", "'layers' must be a whole number from 1 to 64, not 0"),
        ("student(heads=5)", "5 heads must share its 32 channels evenly"),
        ("prune(l1, 1.5)", "between 0 and 1, not 1.5"),
        ("prune(l1, 0)", "between 0 and 1, not 0"),
        ("prune(l1, half)", "'half' is not a number"),
        ("mask(l1, 0.5, 3)", "takes at most 2 parameters"),
        ("prune(l1, share=0.5)", "prune has no parameter 'share'"),
        ("finetune(2.5)", "'2.5' is not a whole number"),
        ("finetune(1_0)", "'1_0' is not a whole number"),
        ("finetune(١)", "'١' is not a whole number"),
        ("finetune(1000000)", "'epochs' must be a whole number from 1 to 100,000, not 1000000"),
        ("finetune(4, 1e999)", "'learning_rate' must be a finite number from 1e-15 to 10, not inf"),
        ("mask(l1, nan)", "'nan' is not a number"),
        ("prune(l1, 0.5, ratio=0.7)", "prune is given ratio twice; it is prune(criterion, ratio"),
        ("prune(criterion=l1, ratio=0.5, ratio=0.5)", "prune is given ratio twice"),
        ("prune(l1, =0.5)", "prune has no parameter ''"),
        ("student(layers=100000)", "'layers' must be a whole number from 1 to 64"),
        (" > ".join(["finetune(4)"] * 100) + " > fintune", "unknown method 'fintune'"),
        ("int8(both)", "unknown int8 mode 'both'"),
        ("prune(l1, 0.5) >", "cannot read ''"),
    ],
)
def test_bad_recipes_are_one_sentence(recipe: str, sentence: str) -> None:
    with pytest.raises(UserError, match=r".*") as caught:
        Recipe.parse(recipe)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_masks_zero_rows_and_change_no_shape(model: CompressedModel, context: TrainingContext, norm: str) -> None:
    masked = apply(model, f"mask({norm}, 0.5)", context)
    [evidence] = masked.evidence
    assert masked.network.config == model.network.config
    assert evidence.macs_after == evidence.macs_before
    assert evidence.params_after == evidence.params_before
    assert evidence.nonzero_after < 0.6 * evidence.nonzero_before
    weight, was = (
        masked.network.layers[0].feed_forward.expand.weight,
        model.network.layers[0].feed_forward.expand.weight,
    )
    gone = (weight == 0).all(dim=1)
    assert gone.sum() == 128
    strength = was.detach().norm(int(norm[1]), dim=1)
    assert strength[gone].max() <= strength[~gone].min()


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_removal_makes_the_model_smaller(model: CompressedModel, context: TrainingContext, norm: str) -> None:
    pruned = apply(model, f"prune({norm}, 0.5)", context)
    [evidence] = pruned.evidence
    assert pruned.network.config.layers == (LayerConfig(4, 128),) * 8
    assert evidence.params_after == sum(p.numel() for p in pruned.network.parameters()) < 0.6 * evidence.params_before
    assert evidence.macs_after < 0.6 * evidence.macs_before
    layer = model.network.layers[3]
    for importance, kept in (
        (measure_heads(layer, int(norm[1])), evidence.details["heads"][3]),
        (measure_neurons(layer, int(norm[1])), evidence.details["neurons"][3]),
    ):
        gone = sorted(set(range(len(importance))) - set(kept))
        assert importance[kept].min() >= importance[gone].max()


def test_removing_what_contributes_nothing_changes_no_logit(model: CompressedModel) -> None:
    """Structure whose outputs are multiplied by zero can go, and the rest must stay in its place."""
    network = model.network
    heads, neurons = torch.tensor([0, 3, 4, 7]), torch.arange(0, 256, 3)
    with torch.no_grad():
        for layer in network.layers:
            gone = torch.ones(8, 4, dtype=bool)
            gone[heads] = False
            layer.attention.out.weight[:, gone.flatten()] = 0
            idle = torch.ones(256, dtype=bool)
            idle[neurons] = False
            layer.feed_forward.contract.weight[:, idle] = 0
        smaller = keep_structure(network, [heads] * 8, [neurons] * 8)
        x = torch.randn(3, 1, 24)
        torch.testing.assert_close(smaller(x), network(x))


def test_importance_of_a_head_is_the_norm_of_all_its_weights(model: CompressedModel) -> None:
    attention = model.network.layers[0].attention
    rows = slice(8, 12)  # head 2 of width 4
    parts = [m.weight[rows].flatten() for m in (attention.query, attention.key, attention.value)]
    expected = torch.cat([*parts, attention.out.weight[:, rows].flatten()])
    assert measure_heads(model.network.layers[0], 1)[2] == pytest.approx(expected.abs().sum().item(), rel=1e-5)
    assert measure_heads(model.network.layers[0], 2)[2] == pytest.approx(expected.norm().item(), rel=1e-5)


def test_fine_tuning_keeps_masked_rows_at_zero(model: CompressedModel, context: TrainingContext) -> None:
    tuned = apply(model, "mask(l1, 0.5) > finetune(1)", context)
    masked = apply(model, "mask(l1, 0.5)", context)
    for name, weight in masked.network.layers.state_dict().items():
        if name.endswith("weight") and weight.dim() == 2:
            torch.testing.assert_close(tuned.network.layers.state_dict()[name] == 0, weight == 0)
    assert tuned.evidence[1].details["history"][0]["epoch"] == 1


def test_calibration_comes_from_train_alone(model: CompressedModel, context: TrainingContext) -> None:
    quantized = apply(model, "int8(static, 16)", context)
    assert quantized.number_format == "int8 static"
    train = {x.tobytes() for x in context.train.x}
    assert len(quantized.calibration.x) == 16
    assert all(x.tobytes() in train for x in quantized.calibration.x)


def test_a_step_that_changes_nothing_fails(model: CompressedModel, context: TrainingContext) -> None:
    @dataclasses.dataclass(frozen=True)
    class Idle(Step):
        name = "idle"

        def apply(self, model: CompressedModel, context: TrainingContext):
            return dataclasses.replace(model), {}

    try:
        with pytest.raises(NoEffect, match="idle changed nothing"):
            apply(model, "idle", context)
    finally:
        STEPS.pop("idle")


@pytest.mark.parametrize("recipe", ["int8(dynamic) > finetune(1)", "int8(dynamic) > int8(static)"])
def test_nothing_follows_quantization(model: CompressedModel, context: TrainingContext, recipe: str) -> None:
    with pytest.raises(UserError):
        apply(model, recipe, context)


def test_the_original_is_left_alone(model: CompressedModel, context: TrainingContext) -> None:
    before = {k: v.clone() for k, v in model.network.state_dict().items()}
    apply(model, "mask(l1, 0.5) > finetune(1) > int8(static)", context)
    assert all(torch.equal(v, before[k]) for k, v in model.network.state_dict().items())
    assert model.evidence == []


def test_macs_of_t1_by_hand(model: CompressedModel) -> None:
    tokens = 24 // 8 + 1
    layer = tokens * (4 * 32 * 32 + 2 * 32 * 256) + 2 * tokens * tokens * 32
    by_hand = 3 * 8 * 32 + 8 * layer + 32 * 256 + 256 * 2
    assert count_macs(model.network, 24) == by_hand


def test_models_survive_the_disk(model: CompressedModel, context: TrainingContext, tmp_path: Path) -> None:
    made = apply(model, "prune(l2, 0.5) > int8(static, 8)", context)
    save_model(made, tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.network.config == made.network.config
    assert (loaded.number_format, loaded.reference_length) == ("int8 static", 24)
    assert loaded.evidence == made.evidence
    np.testing.assert_array_equal(loaded.calibration.x, made.calibration.x)
    x = torch.randn(2, 1, 24)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.network(x), made.network(x), rtol=0, atol=0)
    old = {"channels": 1, "classes": 2, "patch": 8, "d_model": 32, "head_dim": 4, "heads": [8], "d_ff": [256]}
    (tmp_path / "model.json").write_text(json.dumps({"config": old, "number_format": "fp32"}))
    for read in (load_model, ModelDescription.read):
        with pytest.raises(UserError, match=r"model.json .*not describe a (network|model) as this version does"):
            read(tmp_path)
    (tmp_path / "model.json").write_text("{")
    with pytest.raises(UserError, match=r"model.json is damaged"):
        load_model(tmp_path)
