"""Masked pre-training: deterministic, of training series alone, and it is where a training starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tsc_lib import data
from tsc_lib.core.errors import UserError
from tsc_lib.data import Dataset, Split
from tsc_lib.models.zoo import configure
from tsc_lib.study import stages
from tsc_lib.study.specs import TrainingRun
from tsc_lib.training import TrainSpec
from tsc_lib.training.pretraining import find_sources, pretrain

MODEL = "ConvTransformer(layers=1, heads=2, d_model=8, d_ff=8, filters=8)"


@pytest.fixture(scope="module")
def italy() -> Dataset:
    torch.set_num_threads(1)
    return data.load(data.resolve("ItalyPowerDemand"))


@pytest.fixture(autouse=True)
def ten_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsc_lib.training.pretraining.STEPS", 10)


def weights_of(sources: list[Dataset], seed: int = 0) -> dict[str, torch.Tensor]:
    return pretrain(configure(MODEL, 1, 2, 24), sources, seed)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, b[name]) for name, value in a.items())


def test_the_same_seed_gives_the_same_weights_and_nothing_but_training_series_has_a_say(italy: Dataset) -> None:
    other = Split([x + 1 for x in italy.test.x], 1 - italy.test.y)
    poisoned = replace(italy, valid=other, test=other, train=Split(italy.train.x, 1 - italy.train.y))
    assert same(weights_of([italy]), weights_of([poisoned]))
    assert not same(weights_of([italy]), weights_of([italy], seed=1))
    assert all(name.startswith(("embedding.", "layers.")) for name in weights_of([italy]))


def test_series_of_other_lengths_take_part(italy: Dataset) -> None:
    rng = np.random.default_rng(0)
    series = [rng.normal(size=(1, length)).astype(np.float32) for length in (3, 9, 50, 2000)]
    ragged = replace(italy, name="Ragged", equal_length=False, train=Split(series, np.arange(4)))
    found = weights_of([italy, ragged])
    assert all(torch.isfinite(value).all() for value in found.values())


def test_what_cannot_be_is_one_sentence(italy: Dataset) -> None:
    with pytest.raises(UserError, match="pretrain: Wide has 3 channel\\(s\\), and the network reads 1; leave it out"):
        weights_of([italy, replace(italy, name="Wide", channels=3)])
    with pytest.raises(UserError, match="has 'ItalyPowerDemand' twice; leave one out"):
        find_sources("ItalyPowerDemand + ItalyPowerDemand")


def test_the_target_takes_part_as_it_is_cut() -> None:
    target = data.resolve("ItalyPowerDemand", split_seed=3)
    assert find_sources("GunPoint+ItalyPowerDemand", target)[1] == target


def test_a_training_starts_from_it_and_it_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsc_lib.core.store.OUTPUTS", tmp_path)
    spec = TrainSpec(epochs=1, learning_rate=1e-12, pretrain="ItalyPowerDemand")
    run = TrainingRun(data.resolve("ItalyPowerDemand"), MODEL, spec, 0)
    model = stages.load_model(stages.train(run)[0]).network.state_dict()
    for name, value in stages.pretrain(run).items():
        torch.testing.assert_close(model[name], value, rtol=0, atol=1e-9)
    assert len(list((tmp_path / "store" / "pretrain").iterdir())) == 1
