"""The training loop: deterministic and resumable, by default as the study trained."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from typing import NotRequired, TypedDict

import numpy as np
import torch
from torch import Tensor, nn

from tsc_lib.data import Batch, Dataset, Split, batches, load
from tsc_lib.models.compressed import CompressedModel
from tsc_lib.models.transformer import Transformer, TransformerConfig, check_length
from tsc_lib.training.accuracy import judge
from tsc_lib.training.batch import TrainingBatch, cross_entropy
from tsc_lib.training.checkpoint import load_checkpoint, save_checkpoint
from tsc_lib.training.filter_norm import add_filter_norm, fold_filter_norm
from tsc_lib.training.matching import Pool, make_loss, make_pool, read_labels
from tsc_lib.training.optimizers import make_average, make_optimizer, share_of_rate, switch_weights
from tsc_lib.training.pretraining import find_sources, pretrain
from tsc_lib.training.settings import Plan, TrainSpec


class Epoch(TypedDict):
    """What is known of an epoch of a training: losses and accuracy of its end, and how long it took.

    Without validation series, their loss and accuracy are None. An epoch with `refit` belongs to the training after the
    choice, on training and validation series together.
    """

    epoch: int
    train_loss: float
    valid_loss: float | None
    valid_accuracy: float | None
    seconds: float
    cpu_seconds: float
    best: NotRequired[bool]
    refit: NotRequired[bool]


logger = logging.getLogger(__name__)

Watch = Callable[[list[Epoch]], None]
Loss = Callable[[Tensor, TrainingBatch], Tensor]


def train(
    config: TransformerConfig,
    dataset: Dataset,
    spec: TrainSpec,
    seed: int,
    *,
    checkpoint: Path | None = None,
    teach: Callable[[Split], Pool] | None = None,
    start: Mapping[str, Tensor] | None = None,
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
    teach : callable, optional
        Gives what the teacher of `spec` says of series that are trained on, from a store; by default it is asked anew.
    start : mapping, optional
        Weights to start from, in place of those that the seed draws; of parts that are not in it, it still draws them.

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
    check_lengths(config, dataset)
    train, valid = dataset.train, dataset.valid
    whole = _join(dataset), Split([], valid.y[:0])
    unchosen = spec.refit and spec.keep == "last"  # all series at once: there is nothing to choose before

    if spec.pretrain and start is None:
        sources = find_sources(spec.pretrain)
        start = pretrain(config, [dataset if each.name == dataset.name else load(each) for each in sources], seed)

    def ask(split: Split) -> Pool:
        classes, equal_length = len(dataset.classes), dataset.equal_length
        return make_pool(spec.teacher, split, spec, seed, classes=classes, equal_length=equal_length)

    def run(splits: tuple[Split, Split], share: float, checkpoint: Path | None) -> tuple[Transformer, list[Epoch]]:
        torch.manual_seed(seed)
        network = Transformer(config)
        network.load_state_dict(start or {}, strict=False)
        target = torch.from_numpy(splits[0].y)
        loss = make_loss(read_labels, target, 1.0, spec.teacher_weight, spec.label_smoothing)
        return network, fit(
            network,
            *splits,
            spec,
            seed,
            equal_length=dataset.equal_length,
            checkpoint=checkpoint,
            share=share,
            loss=loss if spec.teacher else None,
            pool=(teach or ask)(splits[0]) if spec.teacher else None,
        )

    network, history = run(whole if unchosen else (train, valid), 1.0, checkpoint)
    if spec.refit and not unchosen and len(valid):
        share = find_best_epoch(history) / len(history)
        network, again = run(whole, share, checkpoint and checkpoint.with_suffix(".refit.safetensors"))
        history += [{**entry, "best": False, "refit": True} for entry in again]
    return CompressedModel(network, int(np.median(dataset.train.lengths))), history


def list_taught(dataset: Dataset, spec: TrainSpec) -> list[Split]:
    """The series that the teacher of a training is asked for, in each of its parts; none without a teacher."""
    if not spec.teacher:
        return []
    if not spec.refit or not len(dataset.valid):
        return [dataset.train]
    return [_join(dataset)] if spec.keep == "last" else [dataset.train, _join(dataset)]


def _join(dataset: Dataset) -> Split:
    """Training and validation series together."""
    return Split([*dataset.train.x, *dataset.valid.x], np.concatenate([dataset.train.y, dataset.valid.y]))


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
    share: float = 1.0,
    pool: Pool | None = None,
) -> list[Epoch]:
    """Train in place and leave the model at its best epoch by validation accuracy, ties by validation loss.

    Without validation series, or if `spec` says so, it is left as it is after the last epoch.

    The same seed gives the same weights, bit for bit, on one thread; also when the training was killed and went on
    from its checkpoint, since every epoch draws from its own generators.

    Parameters
    ----------
    model : Transformer
        Trained in place.
    train, valid : Split
        Nothing else reaches training or selection.
    spec : TrainSpec
        How it is trained.
    seed : int
        Of the order of the series, of augmentation and of dropout.
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
    share : float
        Of the steps, after which to stop; the learning rate is as in the whole training.
    pool : Pool, optional
        Versions of the training series, labelled by a teacher, in place of what `spec` would make of them.

    Returns
    -------
    list of Epoch
        One entry per epoch, with `best` among them.

    Raises
    ------
    RuntimeError
        If the loss is no longer finite.
    UserError
        If `spec` normalises filters, and the model has none.
    """
    if spec.filter_norm:
        add_filter_norm(model)
    trainer = _Trainer(model, train, spec, seed, equal_length, after_step, loss, pool)
    plan = spec.plan(len(train))
    steps = max(1, round(share * plan.steps))
    per_epoch = plan.passes * math.ceil(len(train) / spec.batch_size)
    history: list[Epoch] = []
    best = copy.deepcopy(trainer.judged.state_dict())
    if checkpoint is not None and (found := load_checkpoint(checkpoint, trainer.parts, trainer.optimizer)):
        history, best = found
    for epoch in range(len(history), math.ceil(steps / per_epoch)):
        started, cpu_started = time.perf_counter(), time.process_time()
        first = epoch * per_epoch
        train_loss = trainer.train_epoch(epoch, range(first + 1, min(first + per_epoch, steps) + 1), plan)
        valid_loss, valid_accuracy = judge(trainer.judged, valid, equal_length)
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
        if _find_kept(history, spec) == epoch + 1:
            best = copy.deepcopy(trainer.judged.state_dict())
        if checkpoint is not None:
            save_checkpoint(checkpoint, trainer.parts, best, trainer.optimizer, history)
        told = "no validation series" if valid_accuracy is None else f"validation accuracy {valid_accuracy:.3f}"
        said = f"epoch {epoch + 1} of {plan.epochs}: {told}"
        logger.info(said, extra={"steps": (epoch + 1, plan.epochs)})
        if watch is not None:
            watch(history)
    model.load_state_dict(best)
    if spec.filter_norm:
        fold_filter_norm(model)
    model.eval()
    chosen = _find_kept(history, spec)
    return [{**entry, "best": entry["epoch"] == chosen} for entry in history]


class _Trainer:
    """A network in training: its optimiser, the average of its weights, and where its batches come from."""

    def __init__(
        self,
        model: Transformer,
        train: Split,
        spec: TrainSpec,
        seed: int,
        equal_length: bool,
        after_step: Callable[[], None] | None,
        loss: Loss | None,
        pool: Pool | None,
    ) -> None:
        self.pool = pool
        self.model, self.train, self.spec, self.seed, self.equal_length = model, train, spec, seed, equal_length
        self.after_step, self.loss = after_step or (lambda: None), loss or self._cross_entropy
        self.optimizer = make_optimizer(spec.optimizer, model, spec.learning_rate, spec.weight_decay)
        self.average = make_average(model, spec.average) if spec.average else None
        self.classes = torch.from_numpy(train.y)

    @property
    def judged(self) -> nn.Module:
        """The network whose weights are judged and kept."""
        return self.model if self.average is None else self.average.module

    @property
    def parts(self) -> dict[str, nn.Module]:
        """What a checkpoint holds, by name."""
        return {"model": self.model} | ({} if self.average is None else {"average": self.average})

    def train_epoch(self, epoch: int, steps: range, plan: Plan) -> float:
        """The steps of an epoch; the mean loss of its series."""
        torch.manual_seed(self.seed * 100_003 + epoch)
        rng = np.random.default_rng([self.seed, epoch])
        other = np.random.default_rng([self.seed, epoch, 1])  # so that the order is the same with augmentation
        stream = chain.from_iterable(
            batches(self.train, self.spec.batch_size, equal_length=self.equal_length, rng=rng)
            for _ in range(plan.passes)
        )
        self.model.train()
        switch_weights(self.optimizer, training=True)
        total = seen = 0.0
        for step, batch in zip(steps, stream, strict=False):
            rate = share_of_rate(step, plan.steps, self.spec.warmup_steps, self.spec.schedule)
            for group in self.optimizer.param_groups:
                group["lr"] = self.spec.learning_rate * rate
            total += self._step(self._prepare(batch, other)) * len(batch.index)
            seen += len(batch.index)
        switch_weights(self.optimizer, training=False)
        self.after_step()
        return total / seen

    def _prepare(self, batch: Batch, rng: np.random.Generator) -> TrainingBatch:
        if self.pool is not None:
            return self.pool.draw(batch.index, rng)
        return self.spec.alter(TrainingBatch.of(batch), rng)

    def _step(self, batch: TrainingBatch) -> float:
        self.optimizer.zero_grad()
        loss = self.loss(self.model(batch.x, batch.lengths), batch)
        loss.backward()
        if self.spec.clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.spec.clip)
        self.optimizer.step()
        self.after_step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        return loss.item()

    def _cross_entropy(self, logits: Tensor, batch: TrainingBatch) -> Tensor:
        return cross_entropy(logits, batch, self.classes, self.spec.label_smoothing)


def _find_kept(history: list[Epoch], spec: TrainSpec) -> int:
    return find_best_epoch(history) if spec.keep == "best" else len(history)


def find_best_epoch(history: list[Epoch]) -> int:
    """Epoch, from 1, of the highest validation accuracy, the lowest validation loss breaks ties; else the last."""

    def judge(entry: Epoch) -> tuple[float, float, int]:
        accuracy, loss = entry["valid_accuracy"], entry["valid_loss"]
        return (0.0, 0.0, entry["epoch"]) if accuracy is None or loss is None else (accuracy, -loss, 0)

    return max(history, key=judge)["epoch"]
