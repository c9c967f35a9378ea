"""What a compression step may use besides the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tsc_lib.data import Split
from tsc_lib.models.compressed import CompressedModel
from tsc_lib.training import TrainSpec, Watch


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
    """

    train: Split
    valid: Split
    equal_length: bool
    settings: TrainSpec
    seed: int
    folder: Path | None = None
    teacher: CompressedModel | None = None
    watch: Watch | None = None

    def sample(self, count: int) -> tuple[Split, np.ndarray]:
        """At most `count` training series, drawn by the seed, and their positions in train, in order."""
        count = min(count, len(self.train))
        chosen = np.sort(np.random.default_rng(self.seed).choice(len(self.train), count, replace=False))
        return Split([self.train.x[i] for i in chosen], self.train.y[chosen]), chosen
