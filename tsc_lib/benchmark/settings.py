"""What a session is asked to measure, as plain values that travel to the child as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tsc_lib.core.errors import UserError
from tsc_lib.core.files import Json
from tsc_lib.core.limits import BATCH_SIZES, SEEDS, THREADS, check_fields
from tsc_lib.core.spec import ADDED, Spec

CONTROL = "control"
"""Name of the reference's second copy in a session."""

PEAK = "peak in fp32"
"""Name of `tsc_lib.benchmark.peak`'s product in fp32 in a session of models."""

FEWEST_BLOCKS = 3
"""Fewer paired repeats give no interval worth the name."""

ATTEMPTS = 3
"""Measurements of a session whose control's interval is too wide, at most."""

LIMITS = {
    "batch_sizes": BATCH_SIZES,
    "series": (1, 1_000_000),
    "blocks": (FEWEST_BLOCKS, 10_000),
    "min_window_s": (0, 60),
    "warmup_s": (0, 600),
    "max_seconds": (0, 86_400),
    "threads": THREADS,
    "seed": SEEDS,
    "widest": (0, 10),
}
"""The least and the most of a benchmark's settings."""


@dataclass(frozen=True)
class BenchmarkSettings(Spec):
    """How a session measures.

    Attributes
    ----------
    batch_sizes : tuple of int
        Series per call; each batch size is measured by itself.
    series : int
        Size of the sample of test series that is measured.
    blocks : int
        Paired repeats.
    min_window_s : float
        CPU seconds that one window lasts at least.
    warmup_s : float
        CPU seconds for which each variant runs unmeasured, at each batch size.
    max_seconds : float
        Wall time after which no further block is begun at a batch size, unless fewer than 5 were measured.
    threads : int
        Threads, and CPUs, that the child may use.
    allocator : {"system", "kept"}
        Whether freed memory goes back to the system, as its C library decides and as users of a model have it, or is
        kept. Handing it back and forth may be a third of the time of a large batch, and less of a smaller model's.
    seed : int
        Seed of the order within blocks.
    widest : float
        Half of the control's interval, as a share of 1, beyond which a session is measured again, `ATTEMPTS` times in
        all at most; the one with the narrowest control is kept. 0 for one measurement, however wide.
    """

    batch_sizes: tuple[int, ...] = (1, 64)
    series: int = 64
    blocks: int = 50
    min_window_s: float = 0.02
    warmup_s: float = 0.2
    max_seconds: float = 60.0
    threads: int = 1
    allocator: str = "system"
    seed: int = 0
    widest: float = field(default=0.0, metadata=ADDED)

    def __post_init__(self) -> None:
        if self.allocator not in ("system", "kept"):
            raise UserError(f"benchmark setting 'allocator' must be system or kept, not {self.allocator!r}")
        check_fields(self, "benchmark setting", LIMITS)
        object.__setattr__(self, "batch_sizes", tuple(self.batch_sizes))  # JSON gives a list back


@dataclass(frozen=True)
class Candidate(Spec):
    """A variant to measure.

    Attributes
    ----------
    name : str
        Unique within the session; names its results.
    loader : str
        ``"module:function"``; the child calls ``function(**options)`` and gets a predictor:
        ``predictor(x, lengths=None) -> logits``.
    options : dict
        JSON-able keyword arguments of the loader.
    """

    name: str
    loader: str
    options: dict[str, object] = field(default_factory=dict)

    @classmethod
    def of_model(cls, name: str, folder: Path, runtime: str, threads: int) -> Self:
        """A model in a folder, as `tsc_lib.runtimes.load` loads it."""
        return cls(name, "tsc_lib.runtimes:load", {"folder": str(folder), "runtime": runtime, "threads": threads})


@dataclass(frozen=True)
class Job(Spec):
    """What the child of a session is to do.

    Attributes
    ----------
    reference : Candidate
        What the others are compared with.
    candidates : tuple of Candidate
        The others.
    inputs : str
        File with the sample that is measured.
    settings : BenchmarkSettings
        How.
    """

    reference: Candidate
    candidates: tuple[Candidate, ...]
    inputs: str
    settings: BenchmarkSettings

    @classmethod
    def from_json(cls, content: Json) -> Self:
        """The job that `to_json` described."""
        return cls(
            reference=Candidate.from_json(content["reference"]),
            candidates=tuple(Candidate.from_json(each) for each in content["candidates"]),
            inputs=content["inputs"],
            settings=BenchmarkSettings.from_json(content["settings"]),
        )
