"""The profiles: YAML files that name whole studies."""

from __future__ import annotations

import inspect
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from tsc_lib.benchmark import BenchmarkSettings
from tsc_lib.core.errors import UserError
from tsc_lib.core.files import shipped
from tsc_lib.core.spec import Spec
from tsc_lib.training import TrainSpec

PROFILES = shipped("profiles")
"""Folder of the named profiles."""

S = TypeVar("S", bound=Spec)


@dataclass(frozen=True)
class DataChoice(Spec):
    """A data set in a profile.

    Attributes
    ----------
    name : str
        Name of the problem, or path of its folder.
    scaling : {"channel", "series", "none"}
        See `DataSpec`.
    gaps : {"refuse", "interpolate"}
        See `DataSpec`.
    train, benchmark : dict
        Settings that differ from the profile's: a handful of series takes other batches and epochs than thousands, and
        what is a large batch in a benchmark depends on how long the series are.
    """

    name: str
    scaling: str = "channel"
    gaps: str = "refuse"
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
        names = [Path(choice.name).name for choice in self.datasets]
        if twice := {name for name in names if names.count(name) > 1}:
            raise UserError(
                f"profile {self.name!r} has two data sets called {min(twice)}, which its tables could not tell apart; "
                "leave one out, or rename its folder and files"
            )
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
    types = inspect.get_annotations(cls)
    for name, value in content.items():
        if name not in types:
            raise UserError(f"{where}: unknown key {name!r}; the keys are {', '.join(types)}")
        # YAML 1.1 reads 1e-3 as a string, and nothing else would notice before a training has begun.
        if types[name] in ("int", "float") and not isinstance(value, int | float):
            raise UserError(f"{where}: {name} must be a number, not {value!r} (write 0.001, not 1e-3)")
    return cls(**content)
