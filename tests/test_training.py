"""Training: deterministic, resumable, selected on validation, and blind to the test set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tsc_lib import data
from tsc_lib.data import Dataset, Split
from tsc_lib.models.compressed import load_model
from tsc_lib.models.embedding import PatchEmbeddingConfig
from tsc_lib.models.transformer import LayerConfig, Transformer, TransformerConfig
from tsc_lib.study import stages
from tsc_lib.study.specs import TrainingRun
from tsc_lib.training import TrainSpec, fit
from tsc_lib.training.loop import find_best_epoch

SPEC = TrainSpec(epochs=4, batch_size=8)


@pytest.fixture(scope="module")
def italy() -> Dataset:
    return data.load(data.resolve("ItalyPowerDemand"))


def small(seed: int = 0) -> Transformer:
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    return Transformer(TransformerConfig(1, 2, PatchEmbeddingConfig(8), 8, 4, (LayerConfig(2, 8),), 8))


def train(dataset: Dataset, spec: TrainSpec = SPEC, checkpoint: Path | None = None, stop_after: int | None = None):
    model = small()

    def stop(history: list[dict]) -> None:
        if len(history) == stop_after:
            raise KeyboardInterrupt

    history = fit(model, dataset.train, dataset.valid, spec, 0, equal_length=True, checkpoint=checkpoint, watch=stop)
    return model, history


def losses(history: list[dict]) -> list[tuple]:
    return [(e["epoch"], e["train_loss"], e["valid_loss"], e["valid_accuracy"], e["best"]) for e in history]


def assert_same(a: torch.nn.Module, b: torch.nn.Module) -> None:
    assert all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


def test_the_loss_falls(italy: Dataset) -> None:
    _, history = train(italy, TrainSpec(epochs=12, batch_size=8, learning_rate=5e-3))
    assert history[-1]["train_loss"] < 0.8 * history[0]["train_loss"]


def test_same_seed_same_weights(italy: Dataset) -> None:
    (a, first), (b, second) = train(italy), train(italy)
    assert losses(first) == losses(second)
    assert_same(a, b)


@pytest.mark.parametrize("stop_after", [1, 3])
def test_killed_training_goes_on_to_the_same_weights(italy: Dataset, tmp_path: Path, stop_after: int) -> None:
    whole, history = train(italy)
    checkpoint = tmp_path / "checkpoint.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(italy, checkpoint=checkpoint, stop_after=stop_after)
    resumed, continued = train(italy, checkpoint=checkpoint)
    assert losses(continued) == losses(history)
    assert_same(whole, resumed)


def test_the_best_epoch_by_validation_is_kept(italy: Dataset) -> None:
    model, history = train(italy)
    chosen = next(e for e in history if e["best"])
    assert chosen["epoch"] == find_best_epoch(history)
    with torch.inference_mode():
        logits = model(torch.from_numpy(np.stack(italy.valid.x)))
    assert (logits.argmax(1).numpy() == italy.valid.y).mean() == pytest.approx(chosen["valid_accuracy"])


def test_ties_go_to_the_lower_validation_loss() -> None:
    entries = [(1, 0.5, 0.9), (2, 0.7, 0.8), (3, 0.7, 0.6), (4, 0.7, 0.6)]
    history = [{"epoch": e, "valid_accuracy": a, "valid_loss": x} for e, a, x in entries]
    assert find_best_epoch(history) == 3


def test_diverging_training_fails(italy: Dataset) -> None:
    poisoned = Split([x * np.float32(np.inf) for x in italy.train.x], italy.train.y)
    with pytest.raises(RuntimeError, match="not finite in epoch 1"):
        fit(small(), poisoned, italy.valid, SPEC, 0, equal_length=True)


def test_nothing_of_the_test_set_reaches_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other test series and labels give the same weights, bit for bit."""
    source = data.resolve("ItalyPowerDemand").folder
    weights = []
    for poison in (False, True):
        folder = tmp_path / f"{poison}" / "Toy"
        folder.mkdir(parents=True)
        for part in ("TRAIN", "TEST"):
            lines = (Path(source) / f"ItalyPowerDemand_{part}.ts").read_text().splitlines()
            if part == "TEST" and poison:
                start = next(i for i, line in enumerate(lines) if line.lower() == "@data") + 1
                lines[start:] = [f"{','.join(['1e6'] * 23)},{i}:{1 + i % 2}" for i in range(40)]
            (folder / f"Toy_{part}.ts").write_text("\n".join(lines) + "\n")
        monkeypatch.setattr("tsc_lib.core.store.OUTPUTS", tmp_path / f"outputs-{poison}")
        unit = TrainingRun(data.resolve(str(folder)), "T1", TrainSpec(epochs=2), 0)
        weights.append(load_model(stages.train(unit)[0]).network)
    assert_same(*weights)


def test_the_learning_rate_warms_up(italy: Dataset) -> None:
    def first_step(warmup: int) -> torch.Tensor:
        # Adam's first step is the learning rate in size, whatever the gradient.
        spec = TrainSpec(epochs=1, batch_size=len(italy.train), warmup_steps=warmup)
        before = small().classify.bias.detach().clone()
        model = small()
        fit(model, italy.train, italy.train, spec, 0, equal_length=True)
        return model.classify.bias.detach() - before

    assert torch.allclose(4 * first_step(4), first_step(0), rtol=1e-3)
    assert first_step(0).abs().max() == pytest.approx(SPEC.learning_rate, rel=1e-2)
