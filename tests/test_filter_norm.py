"""Batch normalisation of the filters before the tokens, which a trained network no longer has."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from tsc_lib import data
from tsc_lib.compress import apply
from tsc_lib.compress.context import TrainingContext
from tsc_lib.core.errors import UserError
from tsc_lib.models.zoo import build, configure
from tsc_lib.training import find_train_spec, train
from tsc_lib.training.filter_norm import FilterNorm, add_filter_norm, fold_filter_norm

SHORT = find_train_spec("ConvTransformer").change({"steps": 8, "refit": False})


def test_padding_does_not_count() -> None:
    answers = torch.randn(3, 10, 4, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([10, 3, 6])
    valid = torch.arange(10) < lengths[:, None]
    norm = FilterNorm(4)
    found = norm(answers, valid)
    steps = torch.cat([series[:length] for series, length in zip(answers, lengths.tolist(), strict=True)])
    own = torch.cat([series[:length] for series, length in zip(found, lengths.tolist(), strict=True)])
    torch.testing.assert_close(norm.running_mean, 0.1 * steps.mean(0))
    torch.testing.assert_close(own.mean(0), torch.zeros(4), atol=1e-6, rtol=0)
    torch.testing.assert_close(own.std(0, correction=0), torch.ones(4), atol=1e-4, rtol=0)
    assert not found[~valid].any()


def test_a_single_time_step_is_normalised_as_in_use() -> None:
    norm, answers = FilterNorm(4), torch.randn(1, 1, 4)
    torch.testing.assert_close(norm(answers), answers / (1 + norm.eps) ** 0.5)
    assert not norm.running_mean.any()


@pytest.mark.parametrize("lengths", [None, torch.tensor([40, 96])])
def test_a_folded_network_answers_alike(lengths: torch.Tensor | None) -> None:
    network = build("ConvTransformer", 2, 3, 96)
    x = torch.randn(2, 2, 96, generator=torch.Generator().manual_seed(0))
    names = list(network.state_dict())
    add_filter_norm(network)
    for _ in range(5):
        network.train()(x, lengths)
    before = network.eval()(x, lengths)
    fold_filter_norm(network)
    torch.testing.assert_close(network(x, lengths), before, atol=1e-5, rtol=1e-5)
    assert list(network.state_dict()) == names


def test_new_weights_are_trained_with_it_and_trained_ones_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """A student of other sizes starts from new weights; what is trained further is as it will be in use."""
    asked: list[bool] = []

    def add(network: torch.nn.Module) -> None:
        asked.append(True)
        add_filter_norm(network)

    monkeypatch.setattr("tsc_lib.training.loop.add_filter_norm", add)
    dataset = data.load(data.resolve("ItalyPowerDemand"))
    config = configure("ConvTransformer", 1, len(dataset.classes), 24)
    model, _ = train(config, dataset, SHORT, 0)
    assert asked == [True]
    context = TrainingContext(dataset.train, dataset.valid, True, SHORT, seed=0, teacher=model)
    apply(model, "prune(l1, 0.5) > finetune(1)", context)
    assert asked == [True]
    apply(model, "student(1, 2, 32) > distill(1, 2.0, 0.5, 0.001)", context)
    assert asked == [True, True]


def test_a_model_without_filters_is_refused() -> None:
    dataset = data.load(data.resolve("ItalyPowerDemand"))
    spec = dataclasses.replace(find_train_spec("T1"), epochs=1, filter_norm=True)
    with pytest.raises(UserError, match="'filter_norm' is for models with filters before their tokens"):
        train(configure("T1", 1, 2, 24), dataset, spec, 0)
