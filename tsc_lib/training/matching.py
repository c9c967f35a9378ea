"""Function matching: a network learns what a teacher says of many augmented versions of the training series [1]_.

The versions are drawn and labelled once: classics are quick in bulk and slow in small batches. Each is drawn fold by
fold, so that both series of a mixture lie in the fold that the member which labels it has not seen.

References
----------
.. [1] Beyer et al., "Knowledge distillation: A good teacher is patient and consistent", CVPR 2022.
.. [2] Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save
from torch import Tensor
from torch.nn import functional as F

from tsc_lib.core.files import write_bytes
from tsc_lib.data import Split, batches, make_folds
from tsc_lib.series.scaling import pad
from tsc_lib.training.batch import TrainingBatch, cross_entropy
from tsc_lib.training.settings import TrainSpec
from tsc_lib.training.teachers import FOLDS, Predict, Teacher, find_taught, fit_teacher, is_fitted

LABELS = "labels.safetensors"

LEAST = 1e-4
"""What a teacher's probabilities are raised to at least: a forest gives none to a class that no tree voted for."""

FITTED = 2
"""Augmented versions that classics are fitted on beside the series as they are: without, they label others badly."""

MOST = 10_000
"""Series that classics are fitted on at most, augmented ones counted; of a larger data set, a part drawn at random."""

BULK = 256
"""Series that are augmented and labelled together."""


@dataclass(frozen=True)
class Teaching:
    """What teaching took.

    Attributes
    ----------
    teacher : str
        Its name.
    fit_cpu_seconds, label_cpu_seconds : float
        CPU time, in seconds, of fitting the teacher and of labelling with it.
    labelled : int
        Series that it labelled, every version counted.
    left_out : int
        Training series that keep their class as their label, since no other fold has that class.
    """

    teacher: str
    fit_cpu_seconds: float
    label_cpu_seconds: float
    labelled: int
    left_out: int


@dataclass(frozen=True)
class Version:
    """What augmentation made of every training series.

    Attributes
    ----------
    x : list of ndarray
        One float32 array (channels, length) for each series, in the order of train.
    partner : ndarray of int64, shape (n,)
        Position of the series that was mixed into each; its own where none was.
    share : ndarray of float32, shape (n,)
        Share of the first in each mixture.
    """

    x: list[np.ndarray]
    partner: np.ndarray
    share: np.ndarray


@dataclass(frozen=True)
class Pool:
    """Versions of the training series, and what a teacher says of each.

    Attributes
    ----------
    versions : sequence of Version
        Series are drawn from any of them.
    taught : ndarray of float32, shape (versions, n, classes)
        The teacher's probabilities.
    equal_length : bool
        Whether all series have one length.
    teaching : Teaching
        What that took.
    """

    versions: Sequence[Version]
    taught: np.ndarray
    equal_length: bool
    teaching: Teaching

    def draw(self, index: np.ndarray, rng: np.random.Generator) -> TrainingBatch:
        """The series at some positions of train, each in a version drawn at random, with its label."""
        numbers = rng.integers(len(self.versions), size=len(index))
        drawn = [self.versions[number] for number in numbers]
        x, lengths = pad([version.x[i] for version, i in zip(drawn, index, strict=True)])
        return TrainingBatch(
            torch.from_numpy(x),
            None if self.equal_length else torch.from_numpy(lengths),
            torch.from_numpy(index),
            torch.tensor([int(version.partner[i]) for version, i in zip(drawn, index, strict=True)]),
            torch.tensor([float(version.share[i]) for version, i in zip(drawn, index, strict=True)]),
            torch.from_numpy(self.taught[numbers, index]),
        )


def make_pool(
    teacher: str,
    train: Split,
    spec: TrainSpec,
    seed: int,
    *,
    classes: int,
    equal_length: bool,
    networks: Mapping[str, Predict] | None = None,
    folder: Path | None = None,
) -> Pool:
    """Draw versions of the training series, and let a teacher label them.

    Parameters
    ----------
    teacher : str
        See `tsc_lib.training.teachers.parse_teacher`.
    train : Split
        The training series.
    spec : TrainSpec
        How they are augmented and mixed, and how many versions there are: one if they are left as they are.
    seed : int
        Of the versions and of the teacher.
    classes : int
        How many there are.
    equal_length : bool
        Whether all series have one length.
    networks : mapping, optional
        Trained networks, by the names that teachers give them.
    folder : Path, optional
        Where the labels are to be stored, or were.

    Raises
    ------
    UserError
        If the teacher is unknown, or cannot learn from such series.
    """
    folds = make_folds(train.x, train.y, FOLDS)
    drawn = [
        _draw_version(train, folds, equal_length, spec, np.random.default_rng([seed, number, FOLDS]))
        for number in range(spec.versions if spec.changes_series else 1)
    ]
    if folder is not None and (folder / LABELS).exists():
        with safe_open(folder / LABELS, framework="np") as file:
            teaching = Teaching(**json.loads(file.metadata()["teaching"]))
            return Pool(drawn, file.get_tensor("taught"), equal_length, teaching)
    begun = time.process_time()
    plain = dataclasses.replace(spec, mixing=0.0)
    more = FITTED if plain.changes_series and is_fitted(teacher) else 0
    extra = [
        _draw_version(train, folds, equal_length, plain, np.random.default_rng([seed, number, FOLDS, FITTED]))
        for number in range(more)
    ]
    # Of these series a teacher that is fitted sees all versions.
    asked = np.sort(np.random.default_rng([seed, MOST]).permutation(len(train))[: MOST // (more + 1)])
    fitted = fit_teacher(
        teacher,
        Split([x[i] for x in (train.x, *(each.x for each in extra)) for i in asked], np.tile(train.y[asked], more + 1)),
        np.tile(folds[asked], more + 1),
        seed,
        classes=classes,
        equal_length=equal_length,
        networks=networks or {},
    )
    known = find_taught(train.y, folds, asked) if is_fitted(teacher) else np.ones(len(train), dtype=bool)
    between = time.process_time()
    taught = np.stack([_label(version, fitted, train.y, folds, known, classes, equal_length) for version in drawn])
    seconds = between - begun, time.process_time() - between
    teaching = Teaching(teacher, *seconds, labelled=len(drawn) * int(known.sum()), left_out=int((~known).sum()))
    if folder is not None:
        about = {"teaching": json.dumps(dataclasses.asdict(teaching))}
        write_bytes(folder / LABELS, save({"taught": taught}, metadata=about))
    return Pool(drawn, taught, equal_length, teaching)


def _draw_version(
    train: Split, folds: np.ndarray, equal_length: bool, spec: TrainSpec, rng: np.random.Generator
) -> Version:
    version = Version(list(train.x), np.arange(len(train)), np.ones(len(train), dtype=np.float32))
    if not spec.changes_series:
        return version
    for fold in np.unique(folds):
        own = np.flatnonzero(folds == fold)
        part = Split([train.x[i] for i in own], train.y[own])
        for batch in batches(part, BULK, equal_length=equal_length, rng=rng):
            index = own[batch.index]
            seen = spec.alter(TrainingBatch.of(batch._replace(index=index)), rng)
            for row, i in enumerate(index):
                length = seen.x.shape[2] if seen.lengths is None else int(seen.lengths[row])
                version.x[i] = seen.x[row, :, :length].numpy()
            if seen.partner is not None and seen.share is not None:
                version.partner[index], version.share[index] = seen.partner.numpy(), seen.share.numpy()
    return version


def _label(
    version: Version,
    teacher: Teacher,
    y: np.ndarray,
    folds: np.ndarray,
    known: np.ndarray,
    classes: int,
    equal_length: bool,
) -> np.ndarray:
    """A teacher's probabilities (n, classes) of what is made of `known` series, and the classes of the others."""
    own, share = np.eye(classes, dtype=np.float32), version.share[:, None]
    labels = share * own[y] + (1 - share) * own[y[version.partner]]
    for fold in np.unique(folds):
        chosen = np.flatnonzero(known & known[version.partner] & (folds == fold))
        for start in range(0, len(chosen), BULK):
            index = chosen[start : start + BULK]
            x, lengths = pad([version.x[i] for i in index])
            labels[index] = teacher(x, None if equal_length else lengths, fold)
    return labels


def make_loss(
    teacher: Callable[[TrainingBatch], Tensor],
    target: Tensor,
    temperature: float,
    weight: float,
    smoothing: float = 0.0,
) -> Callable[[Tensor, TrainingBatch], Tensor]:
    """The loss of a distillation [2]_.

    Parameters
    ----------
    teacher : callable
        Gives the teacher's logits (n, classes) of a batch, or logarithms of its probabilities.
    target : Tensor
        The classes (all,) of the training series.
    temperature : float
        What the logits of both are divided by. The teacher's part is multiplied by its square, so that its gradients
        keep their size.
    weight : float
        Share of the teacher; the rest is the cross-entropy with the classes.
    smoothing : float
        Of the classes in that rest.
    """

    def loss(logits: Tensor, batch: TrainingBatch) -> Tensor:
        soft = F.log_softmax(teacher(batch) / temperature, dim=1)
        scaled = F.log_softmax(logits / temperature, dim=1)
        apart = F.kl_div(scaled, soft, reduction="batchmean", log_target=True) * temperature**2
        return weight * apart + (1 - weight) * cross_entropy(logits, batch, target, smoothing)

    return loss


def read_labels(batch: TrainingBatch) -> Tensor:
    """Logarithms of the probabilities (n, classes) that a batch from a pool carries."""
    assert batch.taught is not None
    return batch.taught.clamp(min=LEAST).log()
