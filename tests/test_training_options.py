"""Options of a training: augmentation, optimisers, schedule, average, mixing, duration, and the refit."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from tsc_lib import data
from tsc_lib.core.errors import UserError
from tsc_lib.data import Dataset, Split
from tsc_lib.models.convolution_embedding import ConvolutionEmbeddingConfig
from tsc_lib.models.embedding import PatchEmbeddingConfig
from tsc_lib.models.transformer import LayerConfig, Transformer, TransformerConfig
from tsc_lib.study import stages
from tsc_lib.study.specs import TrainingRun
from tsc_lib.training import AUGMENTATIONS, Augmentations, TrainingBatch, TrainSpec, fit, train
from tsc_lib.training.augmentation import augment, mix

BASE = TrainSpec(epochs=3, batch_size=8)
ALL = TrainSpec(
    epochs=3, batch_size=8, optimizer="adamw", weight_decay=0.05, schedule="cosine", clip=1.0, average=0.9,
    filter_norm=True, label_smoothing=0.1, augment="scale > noise > warp > shift > crop > cutout", mixing=0.3,
)  # fmt: skip
CHANGES = {
    "optimizer": ["adamw", "schedulefree", "fame"], "weight_decay": [0.05], "schedule": ["cosine"], "clip": [0.01],
    "average": [0.9], "filter_norm": [True], "label_smoothing": [0.1], "mixing": [0.3],
    "augment": sorted(AUGMENTATIONS),
}  # fmt: skip
FILTERS = ConvolutionEmbeddingConfig(8, filters=4, kernel=5, dilations=(1, 2))
CONFIG = TransformerConfig(2, 2, PatchEmbeddingConfig(8), 8, 4, (LayerConfig(2, 8),), 8)


def made(seed: int, shortest: int, count: int = 30) -> Split:
    """Noise of two channels around two levels, of 48 time steps or fewer."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 2
    lengths = rng.integers(shortest, 49, count)
    return Split([rng.normal(0.5 * c, 1, (2, n)).astype(np.float32) for c, n in zip(y, lengths, strict=True)], y)


def run(spec: TrainSpec, checkpoint: Path | None = None, stop_after: int | None = None, shortest: int = 40):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Transformer(dataclasses.replace(CONFIG, embedding=FILTERS))

    def stop(history: list[dict]) -> None:
        if len(history) == stop_after:
            raise KeyboardInterrupt

    splits = made(0, shortest), made(1, shortest)
    history = fit(model, *splits, spec, 0, equal_length=shortest == 48, checkpoint=checkpoint, watch=stop)
    return model.state_dict(), history


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, b[name]) for name, value in a.items())


@pytest.mark.parametrize(("option", "value"), [(name, value) for name, values in CHANGES.items() for value in values])
def test_every_option_changes_the_weights(option: str, value: object) -> None:
    decays = option == "optimizer"  # without a decay, AdamW is Adam
    base = dataclasses.replace(BASE, weight_decay=0.05) if decays else BASE
    assert not same(run(base)[0], run(dataclasses.replace(base, **{option: value}))[0])


@pytest.mark.parametrize("shortest", [40, 48])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "schedulefree", "fame"])
def test_a_killed_training_goes_on_to_the_same_weights(tmp_path: Path, optimizer: str, shortest: int) -> None:
    spec = (
        dataclasses.replace(ALL, optimizer=optimizer)
        if optimizer != "schedulefree"
        else dataclasses.replace(ALL, optimizer=optimizer, schedule="constant", average=0.0)
    )
    whole, history = run(spec, shortest=shortest)
    assert same(whole, run(spec, shortest=shortest)[0])
    checkpoint = tmp_path / "checkpoint.safetensors"
    with pytest.raises(KeyboardInterrupt):
        run(spec, checkpoint, stop_after=2, shortest=shortest)
    resumed, continued = run(spec, checkpoint, shortest=shortest)
    assert same(whole, resumed)
    assert [e["train_loss"] for e in continued] == [e["train_loss"] for e in history]


def batch(lengths: torch.Tensor | None) -> TrainingBatch:
    x = torch.randn(6, 3, 50, generator=torch.Generator().manual_seed(0))
    if lengths is not None:
        x *= (torch.arange(50) < lengths.unsqueeze(1)).unsqueeze(1)
    return TrainingBatch(x, lengths, torch.arange(6) * 2)


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
@pytest.mark.parametrize("lengths", [None, torch.tensor([50, 50, 41, 34, 7, 1])], ids=["equal", "unequal"])
def test_augmentation_keeps_shape_padding_and_labels(name: str, lengths: torch.Tensor | None) -> None:
    before = batch(lengths)
    after = augment(before, Augmentations.parse(name), np.random.default_rng(0))
    assert torch.equal(after.index, before.index)
    unchanged = lengths is None and AUGMENTATIONS[name].needs_lengths
    assert torch.equal(after.x, before.x) == unchanged and torch.isfinite(after.x).all()
    if lengths is None:
        assert after.lengths is None and after.x.shape == before.x.shape
        return
    assert after.x.shape[:2] == before.x.shape[:2] and after.x.shape[2] == (
        after.lengths.max() if name in ("crop", "window") else 50
    )
    assert (after.lengths <= lengths).all() and (after.lengths >= lengths.clamp(max=32)).all()
    for series, length in zip(after.x, after.lengths, strict=True):
        assert not series[:, length:].any()


def test_what_is_made_of_a_series_is_its_own_whatever_the_padding() -> None:
    """Other padding, and other series beside it, change nothing."""
    lengths = torch.tensor([50, 50, 41, 34, 7, 1])
    before = batch(lengths)
    dirty = before._replace(x=before.x + 1e6 * (torch.arange(50) >= lengths.unsqueeze(1)).unsqueeze(1))
    for name in sorted(AUGMENTATIONS):
        clean, other = (augment(b, Augmentations.parse(name), np.random.default_rng(0)).x for b in (before, dirty))
        torch.testing.assert_close(clean, other)


def test_a_warp_and_a_crop_are_read_off_the_series_and_a_shift_goes_around() -> None:
    ramp = TrainingBatch(torch.arange(50.0).expand(4, 1, 50), None, torch.arange(4))
    for name in ("warp(0.5)", "crop(0.5)"):
        x = augment(ramp, Augmentations.parse(name), np.random.default_rng(0)).x
        assert (x.diff(dim=2) >= 0).all() and x.min() >= 0 and x.max() <= 49
    warped = augment(ramp, Augmentations.parse("warp(0.5)"), np.random.default_rng(0)).x
    torch.testing.assert_close(warped[:, 0, [0, 49]], torch.tensor([[0.0, 49.0]] * 4), atol=1e-3, rtol=0)
    shifted = augment(ramp, Augmentations.parse("shift(0.5)"), np.random.default_rng(0)).x
    assert (shifted.sort(dim=2).values == ramp.x).all()


def test_a_mixture_has_the_series_and_the_labels_of_both() -> None:
    lengths = torch.tensor([50, 50, 41, 34, 7, 1])
    before = batch(lengths)
    after = mix(before, 0.5, np.random.default_rng(0))
    place = {int(index): i for i, index in enumerate(before.index)}
    for i in range(6):
        j = place[int(after.partner[i])]
        expected = after.share[i] * before.x[i] + (1 - after.share[i]) * before.x[j]
        torch.testing.assert_close(after.x[i], expected)
        assert after.lengths[i] == max(lengths[i], lengths[j])


@pytest.mark.parametrize("series", [5, 30, 700])
def test_steps_are_the_optimisers_whatever_the_number_of_series(series: int) -> None:
    torch.manual_seed(0)
    model, count = Transformer(CONFIG), []
    split = made(0, 48, series)
    spec = TrainSpec(steps=60, batch_size=16)
    history = fit(model, split, split, spec, 0, equal_length=True, after_step=lambda: count.append(1))
    assert len(count) - len(history) == 60  # once more after every epoch
    assert len(history) == spec.plan(series).epochs <= 3


def test_the_last_epoch_is_kept_if_asked_for() -> None:
    history = run(dataclasses.replace(BASE, keep="last", learning_rate=0.3))[1]
    assert [e["best"] for e in history] == [False, False, True]


@pytest.fixture(scope="module")
def italy() -> Dataset:
    return data.load(data.resolve("ItalyPowerDemand"))


def test_a_refit_trains_on_all_series_for_as_long_as_was_chosen(italy: Dataset, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, channels=1)
    spec = TrainSpec(epochs=3, batch_size=8, refit=True, learning_rate=5e-3)
    model, history = train(config, italy, spec, 0)
    chosen = next(e["epoch"] for e in history if e["best"])
    assert [e["epoch"] for e in history if e.get("refit")] == list(range(1, chosen + 1))
    both = Split([*italy.train.x, *italy.valid.x], np.concatenate([italy.train.y, italy.valid.y]))
    torch.manual_seed(0)
    network = Transformer(config)
    fit(network, both, Split([], both.y[:0]), spec, 0, equal_length=True, share=chosen / 3)
    assert same(model.network.state_dict(), network.state_dict())
    for _ in range(2):  # the second time from the checkpoints of both trainings
        again, told = train(config, italy, spec, 0, checkpoint=tmp_path / "checkpoint.safetensors")
        assert same(again.network.state_dict(), network.state_dict())
        assert [e["train_loss"] for e in told] == [e["train_loss"] for e in history]
    assert len(list(tmp_path.iterdir())) == 2
    once, history = train(config, italy, dataclasses.replace(spec, keep="last"), 0)
    assert len(history) == 3 and history[0]["valid_accuracy"] is None
    assert not same(
        once.network.state_dict(),
        train(config, italy, dataclasses.replace(spec, refit=False), 0)[0].network.state_dict(),
    )


def test_the_stage_stores_a_refit_without_its_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsc_lib.core.store.OUTPUTS", tmp_path)
    model = "T1(layers=1, heads=2, d_model=8, d_ff=16)"
    run_of = TrainingRun(data.resolve("ItalyPowerDemand"), model, TrainSpec(epochs=2, refit=True), 0)
    folder, history = stages.train(run_of)
    assert any(e.get("refit") for e in history)
    assert not list(folder.glob("*checkpoint*"))


def test_options_at_their_default_are_no_part_of_the_key() -> None:
    assert TrainSpec().to_json() == {"epochs": 20, "batch_size": 64, "learning_rate": 1e-3, "warmup_steps": 20}
    assert TrainSpec.from_json(ALL.to_json()) == ALL
    assert len({dataclasses.replace(BASE, **{k: v}).key() for k, values in CHANGES.items() for v in values}) == 17
    assert str(ALL).startswith("3 epochs of adamw at a learning rate of 0.001, batches of 8, weight_decay 0.05, ")


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"optimizer": "sgd"}, "training setting 'optimizer' is adam or adamw or schedulefree or fame, not 'sgd'"),
        ({"schedule": 3}, "training setting 'schedule' must be text, not 3"),
        ({"keep": "first"}, "training setting 'keep' is best or last, not 'first'"),
        ({"average": 1.0}, "training setting 'average' must be a finite number from 0 to 0.999999, not 1.0"),
        ({"refit": "yes"}, "training setting 'refit' must be true or false, not 'yes'"),
        ({"steps": -1}, "training setting 'steps' must be a whole number from 0 to 100,000,000, not -1"),
        ({"augment": "warp(0.1"}, "augment 'warp(0.1': cannot read 'warp(0.1'; write e.g. 'warp(0.2) > noise(0.05)'"),
        ({"augment": "blur"}, "augment 'blur': unknown method 'blur'; the methods are crop, cutout, "),
        ({"augment": "noise(-1)"}, "augment 'noise(-1)': noise, parameter 'sigma' must be a finite number from 1e-06"),
        ({"augment": 3}, "augment is text such as 'warp(0.2) > noise(0.05)', not 3"),
        ({"optimizer": "schedulefree", "schedule": "cosine"}, "averages the weights itself; give it no 'schedule'"),
    ],
)
def test_bad_settings_are_one_sentence(setting: dict, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        TrainSpec(**setting)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
