"""What a search is asked for, and all that its result depends on."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tsc_lib import data, runtimes
from tsc_lib.benchmark.host import Machine, describe_machine
from tsc_lib.core.errors import UserError
from tsc_lib.core.limits import BATCH_SIZES, EPOCHS, SEEDS, check_fields, check_whole
from tsc_lib.core.spec import ADDED, Spec
from tsc_lib.models import zoo
from tsc_lib.search import quick_benchmark
from tsc_lib.study.specs import TrainingRun
from tsc_lib.study.versions import version
from tsc_lib.training import find_train_spec

OBJECTIVES = ("energy", "time", "latency", "size")

LIMITS = {"seeds": SEEDS, "max_drop": (0, 100), "folds": (0, 20)}
"""The least and the most of what a search is asked for; points of accuracy."""

BYTES = (1, 2**40)
"""The least and the most of a limit of memory."""

TOKENS = 3000
"""Tokens of the uncompressed model in a large batch: as many as fill the caches of a core."""


@dataclass(frozen=True)
class SearchRequest:
    """What is searched for.

    Attributes
    ----------
    dataset, scaling, gaps : str
        As `tsc_lib.data.resolve` takes them.
    model : str
        Name of the architecture that is compressed.
    seeds : tuple of int
        Seeds of its training; trials use the first, and the finalists are made and judged on all of them.
    epochs : int, optional
        Epochs of its training; by default it is trained as it always is.
    objective : {"energy", "time", "latency", "size"}
        What is to become small.
    batch_size : int, optional
        Series per call, for which energy and time are measured; by default a large one, by the series' length.
    max_drop : float
        Points of accuracy that may be lost.
    folds : int
        Folds of the training series for the promise; see `tsc_lib.search.promise`. 0 promises nothing.
    runtime : str, optional
        What is to execute the model; by default whatever is cheapest.
    max_ram, max_flash : int, optional
        Bytes that a program in C may take at most: of workspace and stack, and of code, weights and constants.
    """

    dataset: str
    scaling: str = "channel"
    gaps: str = "refuse"
    model: str = "T1"
    seeds: tuple[int, ...] = (0,)
    epochs: int | None = None
    objective: str = "energy"
    batch_size: int | None = None
    max_drop: float = 1.0
    folds: int = 3
    runtime: str | None = None
    max_ram: int | None = None
    max_flash: int | None = None

    def __post_init__(self) -> None:
        check_fields(self, "search setting", LIMITS)
        zoo.find_architecture(self.model)
        if self.objective not in OBJECTIVES:
            known = f"{', '.join(OBJECTIVES[:-1])} or {OBJECTIVES[-1]}"
            raise UserError(f"unknown objective {self.objective!r}; use {known}")
        if self.epochs is not None:
            check_whole(self.epochs, "search setting 'epochs'", *EPOCHS)
        if self.batch_size is not None:
            check_whole(self.batch_size, "--batch-size", *BATCH_SIZES)
        if self.runtime is not None:
            runtimes.check(self.runtime)
        for option, limit in (("--max-ram", self.max_ram), ("--max-flash", self.max_flash)):
            if limit is not None and self.runtime != "c":
                raise UserError(f"{option} is a limit of programs in C; add --runtime c, or leave it out")
            if limit is not None:
                check_whole(limit, option, *BYTES)

    def resolve(self) -> SearchSpec:
        """The specification of the search, with the data set's files and the batch size."""
        found = data.resolve(self.dataset, scaling=self.scaling, gaps=self.gaps)
        # After a refit no series would be left that the model has not seen.
        changes: dict[str, object] = {"refit": False} | ({} if self.epochs is None else {"epochs": self.epochs})
        spec = find_train_spec(self.model).change(changes)
        runs = tuple(TrainingRun(found, self.model, spec, seed) for seed in self.seeds)
        size = self.batch_size or large_batch(data.load(found))
        tried = [self.runtime] if self.runtime else quick_benchmark.list_tried(self.objective)
        versions, machine = version("search", *tried), describe_machine()
        asked = (self.runtime, self.max_ram, self.max_flash)
        return SearchSpec(runs, self.objective, size, self.max_drop, self.folds, versions, machine, *asked)


@dataclass(frozen=True)
class SearchSpec(Spec):
    """All that the result of a search depends on: the trained models, what is asked, the code and the machine."""

    runs: tuple[TrainingRun, ...]
    objective: str
    batch_size: int
    max_drop: float
    folds: int
    version: tuple[int, ...]
    machine: Machine
    runtime: str | None = field(default=None, metadata=ADDED)
    max_ram: int | None = field(default=None, metadata=ADDED)
    max_flash: int | None = field(default=None, metadata=ADDED)

    @property
    def runtimes(self) -> tuple[str, ...]:
        """What may execute the model."""
        return (self.runtime,) if self.runtime else quick_benchmark.list_tried(self.objective)

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """Those of the finalists' session: one series, and the large batch."""
        return tuple(sorted({1, self.batch_size}))

    @property
    def label(self) -> str:
        """Readable name of the search's folder."""
        return f"{self.runs[0].data.name}-{self.runs[0].model}-{self.objective}-{self.key()}"


def large_batch(dataset: data.Dataset) -> int:
    """The power of two nearest to `TOKENS` tokens of eight steps, from 1 to 256, for series of the median length."""
    tokens = max(1.0, float(np.median(dataset.train.lengths)) / zoo.T1().patch)
    return int(2 ** np.clip(round(np.log2(TOKENS / tokens)), 0, 8))
