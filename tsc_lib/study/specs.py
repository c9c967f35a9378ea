"""What the stages of the study work on: specifications whose content is the key of what is stored."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tsc_lib import training
from tsc_lib.benchmark import BenchmarkSettings
from tsc_lib.benchmark.host import Machine
from tsc_lib.compress import Recipe, Variant
from tsc_lib.core.spec import Spec
from tsc_lib.data import DataSpec
from tsc_lib.models.transformer import TransformerConfig
from tsc_lib.training import TrainSpec


@dataclass(frozen=True)
class TrainingRun(Spec):
    """One trained model: a data set, an architecture, the settings and a seed."""

    data: DataSpec
    model: str
    train: TrainSpec
    seed: int

    @property
    def label(self) -> str:
        """Readable name, e.g. ``PLAID-T1-s0``."""
        return f"{self.data.name}-{self.model}-s{self.seed}"

    @property
    def file_name(self) -> str:
        """A name for a file about it, with letters, digits and ``_.-`` alone, whatever its data set is called."""
        return f"{re.sub(r'[^a-zA-Z0-9_.-]', '_', self.label)}-{self.key()}"

    @property
    def names(self) -> dict[str, str | int]:
        """What tables call it: columns `dataset`, `model` and `seed`."""
        return {"dataset": self.data.name, "model": self.model, "seed": self.seed}


@dataclass(frozen=True)
class PretrainJob(Spec):
    """An encoder, pre-trained on the training series of some data sets."""

    model: TransformerConfig
    data: tuple[DataSpec, ...]
    seed: int


@dataclass(frozen=True)
class TeachJob(Spec):
    """Labels of augmented training series by a teacher; of a run, where its networks take part."""

    data: DataSpec
    teacher: str
    augment: training.Augmentations
    mixing: float
    versions: int
    seed: int
    series: int
    networks_of: TrainingRun | None


@dataclass(frozen=True)
class CompressJob(Spec):
    """A run's model after a recipe."""

    run: TrainingRun
    recipe: Recipe


@dataclass(frozen=True)
class EvaluationJob(Spec):
    """A compressed model in a runtime, made on a machine: converters and compilers ask what its processor can do."""

    run: TrainingRun
    recipe: Recipe
    runtime: str
    machine: Machine


@dataclass(frozen=True)
class BenchmarkJob(Spec):
    """Variants of one run, measured side by side on a machine, its energy by a source."""

    run: TrainingRun
    variants: tuple[Variant, ...]
    settings: BenchmarkSettings
    machine: Machine
    energy: dict[str, object]
    beside_peak: bool = False


@dataclass(frozen=True)
class PeakJob(Spec):
    """The peak of a processor, as a version of torch reaches it."""

    cpu_model: str
    torch_version: str
