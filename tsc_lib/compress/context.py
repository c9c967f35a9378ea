"""What a compression step may use besides the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tsc_lib.data import Split
from tsc_lib.models.compressed import CompressedModel
from tsc_lib.training import SELF, Pool, TrainingBatch, TrainSpec, Watch, classify, make_pool, make_predictor


@dataclass(frozen=True)
class TrainingContext:
    """What a compression step may use: data of train alone, and the settings of the training.

    Attributes
    ----------
    train, valid : Split
        The two parts of the training data; the test set is out of reach by construction.
    equal_length : bool
        Whether all series have one length.
    settings : TrainSpec
        Batch size and learning rate that the model was trained with.
    seed : int
        Seed of the training, and of all that a step draws.
    folder : Path, optional
        Where a step that takes long may keep checkpoints.
    teacher : CompressedModel, optional
        The uncompressed model of the same data, settings and seed, for steps that learn from it.
    watch : callable, optional
        For steps that train; see `tsc_lib.training.fit`.
    find_pool : callable, optional
        Gives what a teacher of some name says of the training series, from a store; by default that is made anew.
    """

    train: Split
    valid: Split
    equal_length: bool
    settings: TrainSpec
    seed: int
    folder: Path | None = None
    teacher: CompressedModel | None = None
    watch: Watch | None = None
    find_pool: Callable[[str], Pool] | None = None

    def ask(self, predict: Callable[[np.ndarray, np.ndarray | None], np.ndarray]) -> Callable[[TrainingBatch], Tensor]:
        """What a network gives for a batch of a training: for series that stay as they are, computed once."""
        if self.settings.changes_series:
            return lambda batch: torch.from_numpy(
                predict(batch.x.numpy(), None if batch.lengths is None else batch.lengths.numpy())
            )
        found = torch.from_numpy(classify(predict, self.train, self.equal_length))
        return lambda batch: found[batch.index]

    def teach(self, teacher: str, classes: int) -> Pool:
        """Versions of the training series, whose classes are so many, with what a teacher says of them.

        Raises
        ------
        UserError
            If it cannot teach here.
        """
        if self.find_pool is not None:
            return self.find_pool(teacher)
        networks = {} if self.teacher is None else {SELF: make_predictor(self.teacher.network)}
        return make_pool(
            teacher,
            self.train,
            self.settings,
            self.seed,
            classes=classes,
            equal_length=self.equal_length,
            networks=networks,
        )

    def sample(self, count: int) -> tuple[Split, np.ndarray]:
        """At most `count` training series, drawn by the seed, and their positions in train, in order."""
        count = min(count, len(self.train))
        chosen = np.sort(np.random.default_rng(self.seed).choice(len(self.train), count, replace=False))
        return Split([self.train.x[i] for i in chosen], self.train.y[chosen]), chosen
