"""Training as the study did it: Adam, cross-entropy, the best epoch by validation; deterministic and resumable."""

from __future__ import annotations

import copy
import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypedDict

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from tsc_lib.core.files import write_bytes
from tsc_lib.core.limits import BATCH_SIZES, EPOCHS, LEARNING_RATES, check_fields
from tsc_lib.core.spec import Spec
from tsc_lib.data import Dataset, Split, batches
from tsc_lib.models.compressed import CompressedModel
from tsc_lib.models.transformer import Transformer, TransformerConfig, check_length
from tsc_lib.training.batch import TrainingBatch, cross_entropy


class Epoch(TypedDict):
    """What is known of an epoch of a training: losses and accuracy of its end, and how long it took.

    Without validation series, their loss and accuracy are None.
    """

    epoch: int
    train_loss: float
    valid_loss: float | None
    valid_accuracy: float | None
    seconds: float
    cpu_seconds: float
    best: NotRequired[bool]


logger = logging.getLogger(__name__)

Watch = Callable[[list[Epoch]], None]
Loss = Callable[[Tensor, TrainingBatch], Tensor]

LIMITS = {
    "epochs": EPOCHS,
    "batch_size": BATCH_SIZES,
    "learning_rate": LEARNING_RATES,
    "warmup_steps": (0, 1_000_000),
}
"""The least and the most of a training's settings."""


@dataclass(frozen=True)
class TrainSpec(Spec):
    """Settings of a training: Adam on cross-entropy, the best epoch chosen by validation.

    Over the first `warmup_steps` steps the learning rate grows linearly to its full value. Post-norm transformers need
    that (Xiong et al., "On Layer Normalization in the Transformer Architecture", ICML 2020): without it a seed may
    never leave chance.
    """

    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 1e-3
    warmup_steps: int = 20

    def __post_init__(self) -> None:
        check_fields(self, "training setting", LIMITS)


def _as_tensors(x: np.ndarray, lengths: np.ndarray | None) -> tuple[Tensor, Tensor | None]:
    return torch.from_numpy(x), None if lengths is None else torch.from_numpy(lengths)


def classify(
    predict: Callable[[np.ndarray, np.ndarray | None], np.ndarray],
    split: Split,
    equal_length: bool,
    batch_size: int = 64,
) -> np.ndarray:
    """Logits (n, classes) of every series of a split, in its order, from any `tsc_lib.runtimes.Predictor`."""
    logits: dict[int, np.ndarray] = {}
    for batch in batches(split, batch_size, equal_length=equal_length):
        logits |= dict(zip(batch.index.tolist(), predict(batch.x, batch.lengths), strict=True))
    return np.stack([logits[i] for i in range(len(split))])


def make_predictor(model: nn.Module) -> Callable[[np.ndarray, np.ndarray | None], np.ndarray]:
    """What `classify` takes, from a network that may still be in training: without dropout and gradients."""
    model.eval()

    def predict(x: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
        with torch.inference_mode():
            return model(*_as_tensors(x, lengths)).numpy()

    return predict


def measure_accuracy(network: nn.Module, split: Split, equal_length: bool) -> float:
    """The share of a split's series that a network, in fp32, gives their own class."""
    return float((classify(make_predictor(network), split, equal_length).argmax(axis=1) == split.y).mean())


def train(
    config: TransformerConfig,
    dataset: Dataset,
    spec: TrainSpec,
    seed: int,
    *,
    checkpoint: Path | None = None,
) -> tuple[CompressedModel, list[Epoch]]:
    """Train a new network on a data set.

    Parameters
    ----------
    config : TransformerConfig
        Its sizes.
    dataset : Dataset
        Trained on its training series; the epoch is chosen on those for validation.
    spec, seed, checkpoint
        See `fit`; the first weights are drawn by the seed too.

    Returns
    -------
    model : CompressedModel
        As it was in the best epoch.
    history : list of Epoch
        What `fit` returns.

    Raises
    ------
    UserError
        If a series is too short or too long for the network.
    """
    torch.manual_seed(seed)
    network = Transformer(config)
    check_lengths(config, dataset)
    history = fit(
        network,
        dataset.train,
        dataset.valid,
        spec,
        seed,
        equal_length=dataset.equal_length,
        checkpoint=checkpoint,
    )
    return CompressedModel(network, int(np.median(dataset.train.lengths))), history


def check_lengths(config: TransformerConfig, dataset: Dataset) -> None:
    """Refuse a data set with series that the network cannot read.

    Raises
    ------
    UserError
    """
    for split, name in ((dataset.train, "train"), (dataset.valid, "validation"), (dataset.test, "test")):
        for length in set(split.lengths.tolist()):
            check_length(config, length, f"a {name} series of {dataset.name}")


def fit(
    model: Transformer,
    train: Split,
    valid: Split,
    spec: TrainSpec,
    seed: int,
    *,
    equal_length: bool,
    checkpoint: Path | None = None,
    after_step: Callable[[], None] | None = None,
    loss: Loss | None = None,
    watch: Watch | None = None,
) -> list[Epoch]:
    """Train in place and leave the model at its best epoch by validation accuracy, ties by validation loss.

    Without validation series it is left as it is after the last epoch.

    The same seed gives the same weights, bit for bit, on one thread; also when the training was killed and went on
    from its checkpoint, since every epoch draws from its own generators.

    Parameters
    ----------
    model : Transformer
        Trained in place.
    train, valid : Split
        Nothing else reaches training or selection.
    spec : TrainSpec
        Epochs, batch size, learning rate and its warm-up.
    seed : int
        Of the order of the series and of dropout.
    equal_length : bool
        Whether all series have one length, so that no mask is needed.
    checkpoint : Path, optional
        File that is written after every epoch, and resumed from if it exists.
    after_step : callable, optional
        Called after each step of the optimiser, e.g. to keep pruned weights at zero.
    loss : callable, optional
        Takes the logits (n, classes) of a batch and the batch as the network saw it, a `TrainingBatch`; returns what
        is minimised, a mean over the batch. By default the cross-entropy with the series' classes.
    watch : callable, optional
        Takes the entries of all epochs so far once the checkpoint has them, and may raise to stop a training that is
        not worth its time; the same training then goes on from there if it is ever wanted again.

    Returns
    -------
    list of Epoch
        One entry per epoch, with `best` among them.

    Raises
    ------
    RuntimeError
        If the loss is no longer finite.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=spec.learning_rate, fused=True)
    history: list[Epoch] = []
    best = copy.deepcopy(model.state_dict())
    if checkpoint is not None and checkpoint.exists():
        history, best = _resume(checkpoint, model, optimizer)
    for epoch in range(len(history), spec.epochs):
        started, cpu_started = time.perf_counter(), time.process_time()
        torch.manual_seed(seed * 100_003 + epoch)
        rng = np.random.default_rng([seed, epoch])
        train_loss = _train_epoch(model, optimizer, train, spec, epoch, rng, equal_length, after_step, loss)
        valid_loss, valid_accuracy = _judge(model, valid, equal_length)
        entry: Epoch = {
            "epoch": epoch + 1,
            "train_loss": train_loss,
            "valid_loss": valid_loss,
            "valid_accuracy": valid_accuracy,
            "seconds": time.perf_counter() - started,
            "cpu_seconds": time.process_time() - cpu_started,
        }
        if not np.isfinite([train_loss, valid_loss or 0.0]).all():
            raise RuntimeError(f"the loss is not finite in epoch {epoch + 1}")
        history.append(entry)
        if find_best_epoch(history) == epoch + 1:
            best = copy.deepcopy(model.state_dict())
        if checkpoint is not None:
            _save(checkpoint, model, optimizer, best, history)
        told = "no validation series" if valid_accuracy is None else f"validation accuracy {valid_accuracy:.3f}"
        said = f"epoch {epoch + 1} of {spec.epochs}: {told}"
        logger.info(said, extra={"steps": (epoch + 1, spec.epochs)})
        if watch is not None:
            watch(history)
    model.load_state_dict(best)
    model.eval()
    chosen = find_best_epoch(history)
    return [{**entry, "best": entry["epoch"] == chosen} for entry in history]


def find_best_epoch(history: list[Epoch]) -> int:
    """Epoch, from 1, of the highest validation accuracy, the lowest validation loss breaks ties; else the last."""

    def judge(entry: Epoch) -> tuple[float, float, int]:
        accuracy, loss = entry["valid_accuracy"], entry["valid_loss"]
        return (0.0, 0.0, entry["epoch"]) if accuracy is None or loss is None else (accuracy, -loss, 0)

    return max(history, key=judge)["epoch"]


def _judge(model: nn.Module, valid: Split, equal_length: bool) -> tuple[float | None, float | None]:
    """Cross-entropy and accuracy of the validation series, if there are any."""
    if not len(valid):
        return None, None
    logits = torch.from_numpy(classify(make_predictor(model), valid, equal_length))
    target = torch.from_numpy(valid.y)
    return F.cross_entropy(logits, target).item(), (logits.argmax(1) == target).double().mean().item()


def _train_epoch(
    model: Transformer,
    optimizer: torch.optim.Optimizer,
    train: Split,
    spec: TrainSpec,
    epoch: int,
    rng: np.random.Generator,
    equal_length: bool,
    after_step: Callable[[], None] | None,
    loss_of: Loss | None,
) -> float:
    model.train()
    total = 0.0
    steps_before = epoch * math.ceil(len(train) / spec.batch_size)
    classes = torch.from_numpy(train.y)
    batch_stream = batches(train, spec.batch_size, equal_length=equal_length, rng=rng)
    for step, batch in enumerate(batch_stream, start=steps_before + 1):
        warmth = min(1.0, step / spec.warmup_steps) if spec.warmup_steps else 1.0
        optimizer.param_groups[0]["lr"] = spec.learning_rate * warmth
        optimizer.zero_grad()
        seen = TrainingBatch(*_as_tensors(batch.x, batch.lengths), torch.from_numpy(batch.index))
        logits = model(seen.x, seen.lengths)
        loss = cross_entropy(logits, seen, classes) if loss_of is None else loss_of(logits, seen)
        loss.backward()
        optimizer.step()
        if after_step is not None:
            after_step()
        total += loss.item() * len(batch.index)
    return total / len(train)


def _save(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    best: dict[str, Tensor],
    history: list[Epoch],
) -> None:
    state = {f"model.{k}": v for k, v in model.state_dict().items()}
    state |= {f"best.{k}": v for k, v in best.items()}
    for index, moments in optimizer.state_dict()["state"].items():
        state |= {f"adam.{index}.{k}": v for k, v in moments.items()}
    write_bytes(path, save(state, metadata={"history": json.dumps(history)}))


def _resume(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[list[Epoch], dict[str, Tensor]]:
    with safe_open(path, framework="pt") as file:
        history = json.loads(file.metadata()["history"])
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    model.load_state_dict({k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")})
    best = {k.removeprefix("best."): v for k, v in state.items() if k.startswith("best.")}
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in state.items():
        if name.startswith("adam."):
            _, index, moment = name.split(".")
            moments.setdefault(int(index), {})[moment] = value
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    return history, best
