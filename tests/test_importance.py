"""Importance: what each criterion says, and what removal by it keeps."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tsc_lib.compress import NoEffect, TrainingContext, apply, importance
from tsc_lib.compress.surgery import keep_structure
from tsc_lib.data import Split, batches
from tsc_lib.models.compressed import CompressedModel
from tsc_lib.models.embedding import PatchEmbeddingConfig
from tsc_lib.models.transformer import LayerConfig, Transformer, TransformerConfig
from tsc_lib.training import TrainSpec

HEADS, NEURONS = (4, 2, 3), (12, 20, 8)
CONFIG = TransformerConfig(2, 3, PatchEmbeddingConfig(8), 16, 4, tuple(map(LayerConfig, HEADS, NEURONS)), 16)


def heads_of(model: CompressedModel) -> tuple[int, ...]:
    """Heads of every layer."""
    return tuple(layer.heads for layer in model.network.config.layers)


def neurons_of(model: CompressedModel) -> tuple[int, ...]:
    """Feed-forward neurons of every layer."""
    return tuple(layer.d_ff for layer in model.network.config.layers)


def split_of(n: int, seed: int, equal: bool) -> Split:
    rng = np.random.default_rng(seed)
    lengths = [32] * n if equal else rng.integers(8, 60, n)
    return Split([rng.normal(size=(2, k)).astype(np.float32) for k in lengths], rng.integers(0, 3, n))


def context_of(equal: bool) -> TrainingContext:
    return TrainingContext(split_of(90, 0, equal), split_of(20, 1, equal), equal, TrainSpec(batch_size=16), seed=0)


@pytest.fixture(params=[True, False], ids=["equal", "unequal"])
def context(request: pytest.FixtureRequest) -> TrainingContext:
    return context_of(request.param)


@pytest.fixture
def model() -> CompressedModel:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return CompressedModel(Transformer(CONFIG).eval(), reference_length=32)


def test_taylor_is_the_weights_times_their_gradients(model: CompressedModel, context: TrainingContext) -> None:
    """The sum over the weights that read a part, for each series alone: what removal changes to first order."""
    network = model.network
    heads = [torch.zeros(n) for n in HEADS]
    neurons = [torch.zeros(n) for n in NEURONS]
    for series, y in zip(context.train.x, context.train.y, strict=True):
        network.zero_grad()
        F.cross_entropy(network(torch.from_numpy(series)[None]), torch.tensor([int(y)])).backward()
        for i, layer in enumerate(network.layers):
            out, contract = layer.attention.out.weight, layer.feed_forward.contract.weight
            heads[i] += (out * out.grad).detach().sum(0).view(-1, 4).sum(1).abs() / 90
            neurons[i] += (contract * contract.grad).detach().sum(0).abs() / 90
    found = importance.measure_taylor(network, context)
    for ours, expected in zip([*found.heads, *found.neurons], [*heads, *neurons], strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-7)


def test_taylor_of_a_channel_is_the_slope_of_turning_it_down_everywhere(
    model: CompressedModel, context: TrainingContext
) -> None:
    network, gate = model.network, torch.ones(16, requires_grad=True)
    norms = [norm for layer in network.layers for norm in (layer.attention_norm, layer.feed_forward_norm)]
    found = importance.measure_taylor(network, context).channels
    network.layers[0].register_forward_pre_hook(lambda _, given: (given[0] * gate, *given[1:]))
    for norm in norms:
        norm.register_forward_hook(lambda *given: given[2] * gate)
    expected = torch.zeros(16)
    for series, y in zip(context.train.x, context.train.y, strict=True):
        loss = F.cross_entropy(network(torch.from_numpy(series)[None]), torch.tensor([int(y)]))
        expected += torch.autograd.grad(loss, gate)[0].abs() / 90
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


def test_activation_is_the_size_of_what_a_part_adds(model: CompressedModel, context: TrainingContext) -> None:
    """Measured by taking the part away, series by series, in the first layer, where nothing else changes."""
    network = model.network
    first = network.layers[0]
    found = importance.measure_activation(network, context)
    for module, weight, columns, ours in (
        (first.attention.out, first.attention.out.weight, slice(4, 8), found.heads[0][1]),
        (first.feed_forward, first.feed_forward.contract.weight, slice(7, 8), found.neurons[0][7]),
    ):
        given: list[torch.Tensor] = []
        hook = module.register_forward_hook(lambda *args, into=given: into.append(args[2]))
        squares, tokens = 0.0, 0
        for series in context.train.x:
            with torch.no_grad():
                network(torch.from_numpy(series)[None])
                kept = weight[:, columns].clone()
                weight[:, columns] = 0
                network(torch.from_numpy(series)[None])
                weight[:, columns] = kept
            whole, without = given[-2:]
            squares += (whole - without).square().sum().item()
            tokens += whole.shape[1]
        hook.remove()
        assert ours.item() == pytest.approx((squares / tokens) ** 0.5, rel=1e-3)


def test_influence_is_how_far_a_layer_turns_its_input(model: CompressedModel, context: TrainingContext) -> None:
    network = model.network
    stream: list[tuple[torch.Tensor, torch.Tensor]] = []
    network.layers[1].register_forward_hook(lambda _, given, output: stream.append((given[0], output[0])))
    with torch.no_grad():
        for series in context.train.x:
            network(torch.from_numpy(series)[None])
    cosines = torch.cat([F.cosine_similarity(a[0], b[0], dim=1) for a, b in stream])
    assert importance.measure_influence(network, context)[1] == pytest.approx(1 - cosines.mean().item(), rel=1e-3)


@pytest.mark.parametrize("criterion", ["l1", "l2", "taylor", "activation"])
def test_what_does_nothing_is_least_important(model: CompressedModel, context: TrainingContext, criterion: str) -> None:
    with torch.no_grad():
        layer = model.network.layers[1]
        for projection in (layer.attention.query, layer.attention.key, layer.attention.value):
            projection.weight[4:8] = 0
            projection.bias[4:8] = 0
        layer.attention.out.weight[:, 4:8] = 0
        layer.feed_forward.expand.weight[3] = 0
        layer.feed_forward.contract.weight[:, 3] = 0
    found = importance.CRITERIA[criterion](model.network, context)
    assert found.heads[1].argmin() == 1 and found.heads[1][1] == 0
    assert found.neurons[1].argmin() == 3 and found.neurons[1][3] == 0
    assert found.channels.shape == (16,) and (found.channels > 0).all()


@pytest.mark.parametrize("criterion", list(importance.CRITERIA))
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_removal_keeps_the_most_important(
    model: CompressedModel, context: TrainingContext, criterion: str, scope: str
) -> None:
    [evidence] = apply(model, f"prune({criterion}, 0.5, both, {scope})", context).evidence
    found = importance.CRITERIA[criterion](model.network, context)
    for part, sizes, measured in (
        ("heads", HEADS, found.heads),
        ("neurons", NEURONS, found.neurons),
    ):
        kept = evidence.details[part]
        counts = [len(indices) for indices in kept]
        if scope == "layer":
            assert counts == [n - round(n / 2) for n in sizes]
        else:
            assert sum(counts) == sum(sizes) - round(sum(sizes) / 2) and min(counts) >= 1
        for indices, scores in zip(kept, measured, strict=True):
            gone = sorted(set(range(len(scores))) - set(indices))
            assert not gone or scores[indices].min() >= scores[gone].max()


def test_globally_the_weak_layer_loses_most_and_never_all(model: CompressedModel, context: TrainingContext) -> None:
    """Scores are compared across layers by their layer's own size, so one layer's scale alone decides nothing."""
    feed_forward = model.network.layers[1].feed_forward
    with torch.no_grad():
        feed_forward.expand.weight[2:] *= 1e-3
        feed_forward.contract.weight[:, 2:] *= 1e-3
    pruned = apply(model, "prune(l2, 0.4, neurons, global)", context)
    assert neurons_of(pruned) == (12, 4, 8)
    assert heads_of(pruned) == HEADS
    with torch.no_grad():
        for layer in model.network.layers:
            layer.feed_forward.expand.weight.fill_(1)
            layer.feed_forward.contract.weight.fill_(1)
        model.network.layers[0].feed_forward.expand.weight.fill_(1e-6)
        model.network.layers[0].feed_forward.contract.weight.fill_(1e-6)
    pruned = apply(model, "prune(l1, 0.99, neurons, global)", context)
    assert neurons_of(pruned) == (1, 1, 1)


def test_only_the_named_part_is_removed(model: CompressedModel, context: TrainingContext) -> None:
    heads = apply(model, "prune(activation, 0.5, heads)", context)
    assert (heads_of(heads), neurons_of(heads)) == ((2, 1, 1), NEURONS)
    assert heads.evidence[0].details["neurons"][0] == list(range(12))
    neurons = apply(model, "prune(activation, 0.5, neurons)", context)
    assert (heads_of(neurons), neurons_of(neurons)) == (HEADS, (6, 10, 4))


def test_widths_are_rounded_up_to_a_multiple(model: CompressedModel, context: TrainingContext) -> None:
    """Heads are 4 wide: two of them make a multiple of 8."""
    pruned = apply(model, "prune(l1, 0.75, multiple=8)", context)
    assert heads_of(pruned) == (2, 2, 2)
    assert neurons_of(pruned) == (8, 8, 8)
    with pytest.raises(NoEffect, match="changed nothing"):
        apply(model, "prune(l1, 0.5, multiple=64)", context)


def test_random_removal_is_the_seeds(model: CompressedModel) -> None:
    context = context_of(True)

    def kept(seed: int) -> dict:
        return apply(model, "prune(random, 0.5)", dataclasses.replace(context, seed=seed)).evidence[0].details

    assert kept(0) == kept(0) != kept(1)


@pytest.mark.parametrize("criterion", ["taylor", "activation"])
def test_importance_sees_train_alone_and_only_so_much_of_it(
    model: CompressedModel, monkeypatch: pytest.MonkeyPatch, criterion: str
) -> None:
    context = context_of(True)
    poisoned = Split([x * np.float32(np.nan) for x in context.valid.x], context.valid.y)
    first = importance.CRITERIA[criterion](model.network, context)
    second = importance.CRITERIA[criterion](model.network, dataclasses.replace(context, valid=poisoned))
    assert torch.equal(first.channels, second.channels)
    monkeypatch.setattr(importance, "OBSERVED", 7)
    seen: list[int] = []
    hook = model.network.embedding.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    few = importance.CRITERIA[criterion](model.network, context)
    hook.remove()
    assert sum(seen) == 7
    sample, _ = context.sample(7)
    whole = importance.CRITERIA[criterion](model.network, dataclasses.replace(context, train=sample))
    torch.testing.assert_close(few.channels, whole.channels)


def test_importance_leaves_the_model_as_it_was(model: CompressedModel, context: TrainingContext) -> None:
    before = {k: v.clone() for k, v in model.network.state_dict().items()}
    importance.measure_taylor(model.network, context)
    assert all(torch.equal(v, before[k]) for k, v in model.network.state_dict().items())
    assert all(p.grad is None for p in model.network.parameters())
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.network.modules())


def test_gradual_removal_ends_where_one_shot_ends(model: CompressedModel, context: TrainingContext) -> None:
    """In as many heads and neurons; which ones it kept is told in the numbering of the model before."""
    made = apply(model, "gradual(taylor, 0.5, 3, 1)", context)
    once = apply(model, "prune(taylor, 0.5)", context)
    assert made.network.config == once.network.config
    [evidence] = made.evidence
    assert [len(history) for history in evidence.details["histories"]] == [1, 1]
    for part, sizes in (("heads", HEADS), ("neurons", NEURONS)):
        for kept, n in zip(evidence.details[part], sizes, strict=True):
            assert kept == sorted(set(kept)) and kept[-1] < n
    still = apply(model, "gradual(l1, 0.5, 2, 1)", dataclasses.replace(context, settings=TrainSpec(batch_size=90)))
    kept = [torch.tensor(k) for k in still.evidence[0].details["neurons"]]
    heads = [torch.tensor(k) for k in still.evidence[0].details["heads"]]
    # One step of training between moves every weight by no more than the learning rate.
    expected = keep_structure(model.network, heads, kept).state_dict()
    assert all((v - expected[k]).abs().max() <= 6e-4 for k, v in still.network.state_dict().items())


def test_a_killed_gradual_removal_goes_on(model: CompressedModel, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = dataclasses.replace(context_of(True), folder=tmp_path)
    whole = apply(model, "gradual(l2, 0.5, 3, 1)", dataclasses.replace(context, folder=None))
    calls = []

    def killed(*arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return remove(*arguments, **options)

    from tsc_lib.compress import gradual

    remove = gradual.remove
    monkeypatch.setattr(gradual, "remove", killed)
    with pytest.raises(KeyboardInterrupt):
        apply(model, "gradual(l2, 0.5, 3, 1)", context)
    epochs: list[int] = []
    train = batches

    def counted(split, *arguments, **options):
        epochs.append(len(split))
        return train(split, *arguments, **options)

    monkeypatch.setattr("tsc_lib.training.loop.batches", counted)
    monkeypatch.setattr("tsc_lib.training.accuracy.batches", counted)
    made = apply(model, "gradual(l2, 0.5, 3, 1)", context)
    assert epochs == []  # both trainings were finished
    assert all(torch.equal(v, whole.network.state_dict()[k]) for k, v in made.network.state_dict().items())
