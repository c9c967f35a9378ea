"""What a run depends on: frozen dataclasses with a stable key, and the profiles that name whole studies."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml

from tsc_lib.errors import UserError

PROFILES = Path(__file__).resolve().parents[1] / "profiles"
"""Folder of the named profiles."""

FEWEST_BLOCKS = 3
"""Fewer paired repeats give no interval worth the name."""

S = TypeVar("S", bound="Spec")


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
        Seed of the order within blocks and of the bootstrap.
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


@dataclass(frozen=True)
class DataChoice(Spec):
    """A data set in a profile.

    Attributes
    ----------
    name : str
        Name of the problem, or path of its folder.
    scaling : {"channel", "series", "none"}
        See `DataSpec`.
    train, benchmark : dict
        Settings that differ from the profile's: a handful of series takes other batches and epochs than thousands, and
        what is a large batch in a benchmark depends on how long the series are.
    """

    name: str
    scaling: str = "channel"
    train: dict[str, Any] = field(default_factory=dict)
    benchmark: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Exclusion(Spec):
    """A part of the study that is left out: all that agrees with what is named here.

    Attributes
    ----------
    dataset, model, recipe, runtime : str, optional
        At least one of them.
    """

    dataset: str | None = None
    model: str | None = None
    recipe: str | None = None
    runtime: str | None = None

    def holds(self, **names: str) -> bool:
        """Whether it leaves out what has these names; without a runtime, say, in every runtime."""
        return all(names.get(key) == value for key, value in asdict(self).items() if value is not None)


@dataclass(frozen=True)
class RuntimeGrid(Spec):
    """Which runtimes are compared on the same weights, those of the profile's first seed.

    Attributes
    ----------
    variants : dict of str to tuple of str
        Recipe to the runtimes that execute it.
    datasets, models : tuple of str
        Names of those that are compared; all of the profile if there are none.
    batch_sizes, threads : tuple of int
        Every batch size is measured on every number of threads.
    blocks : int
        Paired repeats.
    max_seconds : float
        Wall time after which no further block is begun at a batch size, unless fewer than 5 were measured.
    """

    variants: dict[str, tuple[str, ...]] = field(default_factory=dict)
    datasets: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    batch_sizes: tuple[int, ...] = (1, 8, 64, 256)
    threads: tuple[int, ...] = (1, 2)
    blocks: int = 30
    max_seconds: float = 10.0

    def __post_init__(self) -> None:
        for name in ("datasets", "models", "batch_sizes", "threads"):  # JSON and YAML give lists
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "variants", {str(recipe): tuple(names) for recipe, names in self.variants.items()})


@dataclass(frozen=True)
class Headline(Spec):
    """One of a profile's variants, to be taken apart step by step; it and its parts are among the profile's variants.

    Attributes
    ----------
    recipe, runtime : str
        What is done to a model, and where it is executed; by default nothing, in eager.
    """

    recipe: str = "baseline"
    runtime: str = "eager"


@dataclass(frozen=True)
class Profile(Spec):
    """A whole study: every data set × model × seed × variant that it holds, but for what it excludes.

    Attributes
    ----------
    name : str
        The profile's name.
    datasets : tuple of DataChoice
        Data sets and their scaling.
    models : tuple of str
        Names from `tsc_lib.models.zoo`.
    seeds : tuple of int
        One training per seed.
    train : TrainSpec
        Settings of every training.
    variants : dict of str to tuple of str
        Recipe to the runtimes that execute it.
    benchmark : BenchmarkSettings
        Settings of every benchmark session.
    runtimes : RuntimeGrid
        The comparison of runtimes.
    headline : Headline
        The combination of strategies that is taken apart.
    exclude : tuple of Exclusion
        What is left out; the uncompressed model in eager PyTorch never is, where the model is trained.
    """

    name: str
    datasets: tuple[DataChoice, ...]
    models: tuple[str, ...]
    seeds: tuple[int, ...]
    train: TrainSpec
    variants: dict[str, tuple[str, ...]]
    benchmark: BenchmarkSettings
    runtimes: RuntimeGrid = field(default_factory=RuntimeGrid)
    headline: Headline = field(default_factory=Headline)
    exclude: tuple[Exclusion, ...] = ()

    def __post_init__(self) -> None:
        for name in ("datasets", "models", "seeds", "variants"):
            if not getattr(self, name):
                raise UserError(f"profile {self.name!r} has no {name}; give at least one")
        for choice in self.datasets:
            self.train_of(choice)
            self.benchmark_of(choice)

    def excludes(self, **names: str) -> bool:
        """Whether the study leaves out what has these names: ``dataset``, ``model``, ``recipe`` and ``runtime``."""
        return any(exclusion.holds(**names) for exclusion in self.exclude)

    def train_of(self, choice: DataChoice) -> TrainSpec:
        """The training settings for one of the data sets."""
        return _make(TrainSpec, asdict(self.train) | choice.train, f"train of {choice.name}")

    def benchmark_of(self, choice: DataChoice) -> BenchmarkSettings:
        """The benchmark settings for one of the data sets."""
        return _make(BenchmarkSettings, asdict(self.benchmark) | choice.benchmark, f"benchmark of {choice.name}")


def load_profile(name: str) -> Profile:
    """Read ``profiles/<name>.yaml``, or the YAML file that `name` is the path of.

    Raises
    ------
    UserError
        If there is no such profile, or it holds something that a profile does not.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else PROFILES / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in PROFILES.glob("*.yaml")))
        raise UserError(f"there is no profile {name!r}; the profiles are {known}, or give the path of a YAML file")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML ({' '.join(str(error).split())}); mend it") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold a mapping with the keys of a profile, such as datasets and models")
    return _profile(path, content)


def _profile(path: Path, content: dict[str, Any]) -> Profile:
    name, where = path.stem, str(path)
    choices = [{"name": c} if isinstance(c, str) else dict(c) for c in _listed(content, "datasets", where)]
    for choice in choices:
        if "/" in str(choice.get("name")):  # a folder, beside the profile: jobs run elsewhere
            choice["name"] = str((path.parent / choice["name"]).resolve())
    variants = content.get("variants") or {}
    if not isinstance(variants, dict):
        raise UserError(f"{where}: 'variants' must map each recipe to a list of runtimes")
    known = {"datasets", "models", "seeds", "train", "variants", "benchmark", "runtimes", "headline", "exclude"}
    if unknown := set(content) - known:
        raise UserError(f"{where}: unknown key {sorted(unknown)[0]!r}; a profile has {', '.join(sorted(known))}")
    profile = Profile(
        name=name,
        datasets=tuple(_make(DataChoice, c, f"{where}, datasets") for c in choices),
        models=tuple(_listed(content, "models", where)),
        seeds=tuple(_listed(content, "seeds", where)),
        train=_make(TrainSpec, content.get("train") or {}, f"{where}, train"),
        variants={str(recipe): tuple(runtimes) for recipe, runtimes in variants.items()},
        benchmark=_make(BenchmarkSettings, content.get("benchmark") or {}, f"{where}, benchmark"),
        runtimes=_make(RuntimeGrid, content.get("runtimes") or {}, f"{where}, runtimes"),
        headline=_make(Headline, content.get("headline") or {}, f"{where}, headline"),
        exclude=tuple(_exclusion(e, f"{where}, exclude") for e in _listed(content, "exclude", where)),
    )
    for exclusion in profile.exclude:
        _check_exclusion(exclusion, profile, f"{where}, exclude")
    return profile


def _exclusion(names: Any, where: str) -> Exclusion:
    if not isinstance(names, dict) or not names:
        raise UserError(f"{where}: each entry names at least one of dataset, model, recipe and runtime, not {names!r}")
    return _make(Exclusion, names, where)


def _check_exclusion(exclusion: Exclusion, profile: Profile, where: str) -> None:
    known = {
        "dataset": [Path(choice.name).name for choice in profile.datasets],
        "model": profile.models,
        "recipe": profile.variants,
        "runtime": [runtime for runtimes in profile.variants.values() for runtime in runtimes],
    }
    for key, name in asdict(exclusion).items():
        if name is not None and name not in known[key]:
            raise UserError(f"{where}: the profile has no {key} {name!r}; name one that it has")


def _listed(content: dict[str, Any], name: str, where: str) -> list[Any]:
    value = content.get(name) or []
    if not isinstance(value, list):
        raise UserError(f"{where}: '{name}' must be a list")
    return value


def _make(cls: type[S], content: dict[str, Any], where: str) -> S:
    types = {f.name: f.type for f in _fields(cls)}
    for name, value in content.items():
        if name not in types:
            raise UserError(f"{where}: unknown key {name!r}; the keys are {', '.join(types)}")
        # YAML 1.1 reads 1e-3 as a string, and nothing else would notice before a training has begun.
        if types[name] in ("int", "float") and not isinstance(value, int | float):
            raise UserError(f"{where}: {name} must be a number, not {value!r} (write 0.001, not 1e-3)")
    return cls(**content)


def digest(content: Any) -> str:
    """Twelve hexadecimal digits that identify JSON-able content, whatever the order of its keys."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def _fields(spec: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(spec)


def _plain(value: Any) -> Any:
    if isinstance(value, Spec):
        return value.to_json()
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value
