"""What a run depends on: frozen dataclasses with a stable key."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Self

from tsc_lib.core.errors import UserError

FEWEST_BLOCKS = 3
"""Fewer paired repeats give no interval worth the name."""


class Spec:
    """Base of every specification: a JSON round trip and a key made from the content."""

    def to_json(self) -> dict[str, Any]:
        """The content as plain values, without fields that only say where something is stored."""
        return {f.name: _plain(getattr(self, f.name)) for f in _fields(self) if f.metadata.get("keyed", True)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """The specification that `to_json` described."""
        return cls(**content)

    def key(self) -> str:
        """A short hash of the content: equal specifications, and only they, share it."""
        return digest(self.to_json())


@dataclass(frozen=True)
class DataSpec(Spec):
    """A data set's files and what is done to them.

    Attributes
    ----------
    name : str
        Name of the problem, as in ``<name>_TRAIN.ts``.
    sha256 : str
        Hash of both files, so that edited data is other data.
    scaling : {"channel", "series", "none"}
        Standardised per channel by train's mean and deviation, each series by its own, or left alone.
    gaps : {"refuse", "interpolate"}
        Whether missing values are an error, or lie on a straight line between their neighbours in the series.
    valid_fraction : float
        Share of train that is held out for validation.
    split_seed : int
        Seed of that cut.
    folder : str, optional
        Where the files are; not part of the key.
    """

    name: str
    sha256: str
    scaling: str = "channel"
    gaps: str = "refuse"
    valid_fraction: float = 0.2
    split_seed: int = 0
    folder: str | None = field(default=None, compare=False, metadata={"keyed": False})


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
        if self.epochs < 1 or self.batch_size < 1 or not self.learning_rate > 0 or self.warmup_steps < 0:
            raise UserError(
                "a training needs at least 1 epoch, a batch of 1, a positive learning rate and no fewer than 0 steps "
                f"of warm-up, not {self}"
            )


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

    def __post_init__(self) -> None:
        if self.allocator not in ("system", "kept"):
            raise UserError(f"benchmark setting 'allocator' must be system or kept, not {self.allocator!r}")
        object.__setattr__(self, "batch_sizes", tuple(self.batch_sizes))  # JSON gives a list back
        sizes = {"series": self.series, "threads": self.threads, "batch_sizes": min(self.batch_sizes, default=0)}
        for name, value in sizes.items():
            if value < 1:
                raise UserError(f"benchmark setting {name!r} must be at least 1, not {getattr(self, name)}")
        if self.blocks < FEWEST_BLOCKS:
            raise UserError(f"benchmark setting 'blocks' must be at least {FEWEST_BLOCKS}, not {self.blocks}")
        if min(self.min_window_s, self.warmup_s, self.max_seconds) < 0:
            raise UserError("benchmark settings in seconds must not be negative")


def digest(content: Any) -> str:
    """Twelve hexadecimal digits that identify JSON-able content, whatever the order of its keys."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def _fields(spec: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(spec)


def _plain(value: Any) -> Any:
    if hasattr(value, "to_json"):
        return value.to_json()
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value
