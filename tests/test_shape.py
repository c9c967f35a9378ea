"""Depth, width and rank: what is left computes what it computed before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tsc_lib.compress import NoEffect, TrainingContext, apply
from tsc_lib.compress.importance import CRITERIA, measure_influence
from tsc_lib.compress.lowrank import LINEARS, factorise
from tsc_lib.compress.surgery import keep_channels
from tsc_lib.compress.survivors import find_survivors
from tsc_lib.core.errors import UserError
from tsc_lib.data import Split
from tsc_lib.models.compressed import CompressedModel, Evidence, count_macs, load_model, save_model
from tsc_lib.models.embedding import PatchEmbeddingConfig
from tsc_lib.models.transformer import LayerConfig, Ranks, Transformer, TransformerConfig
from tsc_lib.study.operations import operations
from tsc_lib.training import TrainSpec

CONFIG = TransformerConfig(
    1, 3, PatchEmbeddingConfig(8), 16, 4, tuple(map(LayerConfig, (4, 2, 3, 4), (12, 20, 8, 64))), 16
)


@pytest.fixture(scope="module")
def context() -> TrainingContext:
    rng = np.random.default_rng(0)
    split = Split([rng.normal(size=(1, 40)).astype(np.float32) for _ in range(48)], rng.integers(0, 3, 48))
    return TrainingContext(split, split, True, TrainSpec(batch_size=16), seed=0)


@pytest.fixture
def model() -> CompressedModel:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = Transformer(CONFIG).eval()
    with torch.no_grad():
        for parameter in network.parameters():  # norms and biases too are as if trained
            parameter += 0.1 * torch.randn_like(parameter)
    return CompressedModel(network, reference_length=40)


def logits_of(network: Transformer) -> torch.Tensor:
    with torch.inference_mode():
        return network(torch.randn(4, 1, 40, generator=torch.Generator().manual_seed(1)))


class Nothing(nn.Module):
    """A layer that passes on what it is given."""

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor | None]:
        return x, mask


def test_a_layer_that_does_nothing_can_go(model: CompressedModel, context: TrainingContext) -> None:
    made = apply(model, "layers(2, even)", context)
    assert made.evidence[0].details["layers"] == [0, 3]
    assert made.network.config.layers == (LayerConfig(4, 12), LayerConfig(4, 64))
    model.network.layers[1], model.network.layers[2] = Nothing(), Nothing()
    torch.testing.assert_close(logits_of(made.network), logits_of(model.network))


@pytest.mark.parametrize(("which", "kept"), [("first", [0, 1, 2]), ("last", [1, 2, 3]), ("even", [0, 2, 3])])
def test_layers_by_place(model: CompressedModel, context: TrainingContext, which: str, kept: list[int]) -> None:
    [evidence] = apply(model, f"layers(3, {which})", context).evidence
    assert evidence.details["layers"] == kept
    assert evidence.macs_after < evidence.macs_before


def test_the_layers_that_change_least_go(model: CompressedModel, context: TrainingContext) -> None:
    """A post-norm layer whose sublayers give almost nothing only normalises again what is normalised."""
    with torch.no_grad():
        idle = model.network.layers[2]
        for parameter in (*idle.attention.out.parameters(), *idle.feed_forward.contract.parameters()):
            parameter.zero_()
        for norm in (model.network.layers[1].feed_forward_norm, idle.attention_norm, idle.feed_forward_norm):
            norm.weight.fill_(1)
            norm.bias.zero_()
    [evidence] = apply(model, "layers(3)", context).evidence
    assert evidence.details["layers"] == [0, 1, 3]
    assert evidence.details["influence"] == measure_influence(model.network, context)
    assert evidence.details["influence"][2] == pytest.approx(0, abs=1e-5)


class NormOverSome(nn.Module):
    """Layer norm over some channels; the others come out as zero."""

    def __init__(self, norm: nn.LayerNorm, channels: torch.Tensor) -> None:
        super().__init__()
        self.norm, self.channels = norm, channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight, bias = self.norm.weight[self.channels], self.norm.bias[self.channels]
        y = F.layer_norm(x[..., self.channels], (len(self.channels),), weight, bias, self.norm.eps)
        return torch.zeros_like(x).index_copy(-1, self.channels, y)


def test_a_narrow_model_is_the_wide_one_without_the_other_channels(model: CompressedModel) -> None:
    """But for the norms' statistics, which are over the kept channels in both here; positions keep their columns."""
    channels = torch.tensor([0, 3, 4, 9, 15])
    narrow = keep_channels(model.network, channels)
    gone = torch.ones(16, dtype=torch.bool)
    gone[channels] = False
    with torch.no_grad():
        model.network.embedding.convolution.weight[gone] = 0
        model.network.embedding.convolution.bias[gone] = 0
        model.network.embedding.class_token[..., gone] = 0
        model.network.embedding.positions[:, gone] = 0
    for layer in model.network.layers:
        layer.attention_norm = NormOverSome(layer.attention_norm, channels)
        layer.feed_forward_norm = NormOverSome(layer.feed_forward_norm, channels)
    torch.testing.assert_close(logits_of(narrow), logits_of(model.network))


@pytest.mark.parametrize("criterion", list(CRITERIA))
def test_width_keeps_the_most_important_channels(
    model: CompressedModel, context: TrainingContext, criterion: str
) -> None:
    made = apply(model, f"width({criterion}, 6)", context)
    [evidence] = made.evidence
    kept, scores = evidence.details["channels"], CRITERIA[criterion](model.network, context).channels
    gone = sorted(set(range(16)) - set(kept))
    assert len(kept) == 6 and scores[kept].min() >= scores[gone].max()
    assert made.network.config.embedding.position_channels == tuple(kept)
    torch.testing.assert_close(
        made.network.embedding.positions, model.network.embedding.positions[:, kept], rtol=0, atol=0
    )


def test_a_model_can_be_narrowed_twice(model: CompressedModel, tmp_path: Path) -> None:
    twice = keep_channels(keep_channels(model.network, torch.tensor([1, 2, 5, 8])), torch.tensor([0, 3]))
    once = keep_channels(model.network, torch.tensor([1, 8]))
    assert twice.config == once.config and once.config.embedding == PatchEmbeddingConfig(8, 1, 16, (1, 8))
    torch.testing.assert_close(logits_of(twice), logits_of(once), rtol=0, atol=0)
    save_model(CompressedModel(twice, 40), tmp_path)
    loaded = load_model(tmp_path).network
    assert loaded.config == twice.config
    torch.testing.assert_close(logits_of(loaded), logits_of(twice), rtol=0, atol=0)


def test_full_rank_changes_no_logit(model: CompressedModel) -> None:
    state = model.network.state_dict()
    full = [
        {name: min(state[f"layers.{layer}.{path}.weight"].shape) for name, path in LINEARS.items()}
        for layer in range(4)
    ]
    full[1]["value"] = 0  # this one stays whole
    ranks = [Ranks(**of_layer) for of_layer in full]
    torch.testing.assert_close(
        logits_of(factorise(model.network, ranks)), logits_of(model.network), rtol=1e-4, atol=1e-5
    )


def test_what_is_of_low_rank_is_found_and_computes_the_same(model: CompressedModel, context: TrainingContext) -> None:
    with torch.no_grad():
        weight = model.network.layers[3].feed_forward.expand.weight
        weight.copy_(torch.randn(64, 3) @ torch.randn(3, 16))
    made = apply(model, "lowrank(0.9999)", context)
    [evidence] = made.evidence
    assert evidence.details["ranks"][3][4] == 3
    assert sum(map(sum, evidence.details["ranks"])) == 3  # the others would not become cheaper
    assert evidence.macs_before - evidence.macs_after == 6 * (16 * 64 - 3 * (16 + 64))
    torch.testing.assert_close(logits_of(made.network), logits_of(model.network), rtol=1e-3, atol=1e-4)


def test_low_rank_holds_the_share_it_is_told(model: CompressedModel, context: TrainingContext) -> None:
    made = apply(model, "lowrank(0.5)", context)
    for layer, ranks in enumerate(made.evidence[0].details["ranks"]):
        old, new = model.network.layers[layer].feed_forward.expand, made.network.layers[layer].feed_forward.expand
        if ranks[4]:
            lost = (new[1].weight @ new[0].weight - old.weight).square().sum() / old.weight.square().sum()
            squares = torch.linalg.svdvals(old.weight).square()
            assert lost <= 0.5 + 1e-5
            assert squares[: ranks[4] - 1].sum() < 0.5 * squares.sum()
    assert any(map(any, made.evidence[0].details["ranks"]))


@pytest.mark.parametrize(
    "recipe",
    [
        "layers(2) > width(taylor, 8) > prune(activation, 0.5)",
        "width(l2, 8) > lowrank(0.5) > layers(2, last)",
        "student(1, 2, 8, 16, 4) > finetune(1) > prune(l1, 0.5)",
        "lowrank(0.4) > finetune(1) > int8(dynamic)",
    ],
)
def test_composed_steps_survive_the_disk_and_are_counted_right(
    model: CompressedModel, context: TrainingContext, tmp_path: Path, recipe: str
) -> None:
    made = apply(model, recipe, context)
    save_model(made, tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.network.config == made.network.config and loaded.evidence == made.evidence
    torch.testing.assert_close(logits_of(loaded.network), logits_of(made.network), rtol=0, atol=0)
    counted = operations(made.network.config, 40)
    assert sum(o.macs for o in counted) == count_macs(made.network, 40) == made.evidence[-1].macs_after
    norms_and_token = (4 * len(made.network.layers) + 1) * made.network.config.d_model
    assert sum(o.weights for o in counted) + norms_and_token == made.evidence[-1].params_after


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ("layers(4)", "removes nothing from a model of 4 layers"),
        ("width(l1, 16)", "removes nothing from 16 channels"),
        ("lowrank(0.999999)", "finds no linear layer that two factors would make cheaper"),
    ],
)
def test_what_has_no_effect_fails(model: CompressedModel, context: TrainingContext, recipe: str, sentence: str) -> None:
    with pytest.raises(NoEffect, match=sentence):
        apply(model, recipe, context)


@pytest.mark.parametrize("after", ["prune(l1, 0.5)", "gradual(l1, 0.5)", "width(l1, 8)", "lowrank(0.3)"])
def test_factorised_layers_are_not_cut(model: CompressedModel, context: TrainingContext, after: str) -> None:
    with pytest.raises(UserError, match="put it before lowrank"):
        apply(model, f"lowrank(0.5) > {after}", context)


def evidence_of(*steps: tuple[str, dict]) -> list[Evidence]:
    return [Evidence(name, *[0] * 8, details) for name, details in steps]


def test_survivors_are_told_in_the_numbers_of_the_first_model() -> None:
    layers = ("layers(2)", {"layers": [0, 2]})
    prune = ("prune(l1, 0.5)", {"heads": [[1], [0]], "neurons": [[0, 1], [1, 2]]})
    whole = ("prune(l1, 0.5)", {"heads": [[1], [0], [1]], "neurons": [[0, 1], [1, 2], [0, 2]]})
    width, tuned = ("width(l1, 16)", {"channels": [0, 1]}), ("finetune(1)", {"history": []})
    assert find_survivors(evidence_of(width, tuned), 3, 2, 3) == {}
    assert find_survivors(evidence_of(whole, ("student", {})), 3, 2, 3) == {}
    found = find_survivors(evidence_of(layers, tuned, prune), 3, 2, 3)
    assert found == {"heads": [[1], [], [0]], "neurons": [[0, 1], [], [1, 2]]}
    assert find_survivors(evidence_of(whole, layers), 3, 2, 3)["neurons"] == [[0, 1], [], [0, 2]]
    again = ("gradual(l1, 0.5)", {"heads": [[0], [0], [0]], "neurons": [[1], [0], [1]]})
    assert find_survivors(evidence_of(whole, again), 3, 2, 3)["neurons"] == [[1], [1], [2]]
