"""The profiles: YAML files that name whole studies."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from tsc_lib.benchmark import BenchmarkSettings
from tsc_lib.core.errors import UserError
from tsc_lib.core.files import shipped
from tsc_lib.core.limits import SEEDS, check_different, check_list, quote
from tsc_lib.core.spec import ADDED, Spec, digest
from tsc_lib.data import find_datasets, is_pattern, list_datasets
from tsc_lib.models.classic import CLASSICS
from tsc_lib.models.zoo import ARCHITECTURES, find_architecture
from tsc_lib.study.profile_file import read_yaml
from tsc_lib.study.sections import (
    Ablation,
    DataChoice,
    Exclusion,
    Microcontrollers,
    RuntimeGrid,
    Shapes,
    SideBySide,
    parse_variants,
)
from tsc_lib.training import TrainSpec, find_train_spec

PROFILES = shipped("profiles")
"""Folder of the named profiles."""

S = TypeVar("S", bound=Spec)


@dataclass(frozen=True)
class Profile(Spec):
    """A whole study: every data set × model × seed × variant that it holds, but for what it excludes.

    Attributes
    ----------
    name : str
        The profile's name, which outputs have that show what it found.
    datasets : tuple of DataChoice
        Data sets and their scaling.
    models : tuple of str
        Names from `tsc_lib.models.zoo`, at least one, and from `tsc_lib.models.classic`.
    seeds : tuple of int
        One training per seed, on the data sets that say nothing else.
    variants : dict of str to tuple of str
        Recipe to the runtimes that execute it.
    train : dict
        Settings of every training that differ from the model's own (`tsc_lib.training.find_train_spec`), and under
        ``models``, by the name of a model, those of that model alone.
    benchmark : BenchmarkSettings
        Settings of every benchmark session.
    runtimes : RuntimeGrid
        The comparison of runtimes.
    side_by_side : SideBySide
        The session across models.
    shapes : Shapes
        The sweep over sizes of a model.
    microcontrollers : Microcontrollers
        What is tried on imitated microcontrollers.
    ablation : Ablation
        The combination of strategies of which every step is left out in turn.
    exclude : tuple of Exclusion
        What is left out; the uncompressed model in eager PyTorch never is, where the model is trained.
    notebooks : tuple of str
        Those that its report has, without their ending; all if there are none.
    """

    name: str
    datasets: tuple[DataChoice, ...]
    models: tuple[str, ...]
    seeds: tuple[int, ...]
    variants: dict[str, tuple[str, ...]]
    train: dict[str, object] = field(default_factory=dict)
    benchmark: BenchmarkSettings = field(default_factory=BenchmarkSettings)
    runtimes: RuntimeGrid = field(default_factory=RuntimeGrid)
    side_by_side: SideBySide = field(default_factory=SideBySide)
    shapes: Shapes = field(default_factory=Shapes)
    microcontrollers: Microcontrollers = field(default_factory=Microcontrollers)
    ablation: Ablation = field(default_factory=Ablation)
    exclude: tuple[Exclusion, ...] = ()
    notebooks: tuple[str, ...] = field(default=(), metadata=ADDED)

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
        for model in self.models:
            if model.partition("(")[0].strip() not in (*ARCHITECTURES, *CLASSICS):
                known = ", ".join([*ARCHITECTURES, *CLASSICS])
                raise UserError(f"unknown model {quote(model)}; the models are {known}")
            if model not in CLASSICS:
                find_architecture(model)
        check_different(self.models, "'models'")
        called = [model if model in CLASSICS else repr(find_architecture(model)) for model in self.models]
        check_different(called, "'models'")  # a model may have several names
        if not self.networks:
            raise UserError(
                f"'models' has only classics, which networks are compared with; add {' or '.join(ARCHITECTURES)}"
            )
        check_list(self.seeds, "'seeds'", *SEEDS)
        parse_variants(self.variants)
        parse_variants({self.ablation.recipe: (self.ablation.runtime,)})
        if all(self.excludes(dataset=name, model=model) for name in names for model in self.networks):
            raise UserError("'exclude' leaves no model to train on any data set; take an entry out of it")
        for choice in self.datasets:
            for model in self.models:
                self.train_of(choice, model)
            check_list(self.seeds_of(choice), f"'seeds' of {choice.name}", *SEEDS)
            if self.seeds[0] not in self.seeds_of(choice):
                raise UserError(f"'seeds' of {choice.name} lack {self.seeds[0]}, the profile's first")
            self.benchmark_of(choice)

    @property
    def networks(self) -> tuple[str, ...]:
        """The models that are trained, compressed and moved to other runtimes."""
        return tuple(model for model in self.models if model not in CLASSICS)

    def excludes(self, **names: str) -> bool:
        """Whether the study leaves out what has these names: ``dataset``, ``model``, ``recipe`` and ``runtime``."""
        return any(exclusion.holds(**names) for exclusion in self.exclude)

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """The seeds of any of the data sets, the profile's own first."""
        return tuple(dict.fromkeys([*self.seeds, *(seed for choice in self.datasets for seed in choice.seeds)]))

    def seeds_of(self, choice: DataChoice) -> tuple[int, ...]:
        """One training per seed on one of the data sets."""
        return choice.seeds or self.seeds

    def describe_seeds(self) -> str:
        """The seeds as text, with the data sets that have seeds of their own: ``0, 1 of PLAID; 0 of the others``."""
        names: dict[tuple[int, ...], list[str]] = {}
        for choice in self.datasets:
            names.setdefault(self.seeds_of(choice), []).append(Path(choice.name).name)
        common, seeds = names.pop(self.seeds, None), ", ".join(map(str, self.seeds))
        own = [f"{', '.join(map(str, each))} of {', '.join(those)}" for each, those in names.items()]
        return "; ".join([*own, f"{seeds} of the others" if own else seeds] if common else own)

    def train_of(self, choice: DataChoice, model: str) -> TrainSpec:
        """The training settings of a model on one of the data sets; what is said of the model alone comes last."""
        spec, places = find_train_spec(model), {"train": self.train, f"train of {choice.name}": choice.train}
        for key in ("", *dict.fromkeys((model.partition("(")[0].strip(), model))):
            for where, settings in places.items():
                given = _of_model(settings, key, where)
                _validate(TrainSpec, given, where)
                spec = spec.change(given)
        return spec

    def benchmark_of(self, choice: DataChoice) -> BenchmarkSettings:
        """The benchmark settings for one of the data sets."""
        return _validate(BenchmarkSettings, asdict(self.benchmark) | choice.benchmark, f"benchmark of {choice.name}")


def load_profile(name: str) -> Profile:
    """Read ``profiles/<name>.yaml``, or the YAML file that `name` is the path of.

    Raises
    ------
    UserError
        If there is no such profile, or it holds something that a profile does not.
    """
    if not isinstance(name, str):
        raise UserError(f"a profile is named by text, not by {quote(name)}")
    path = Path(name) if name.endswith((".yaml", ".yml")) else PROFILES / f"{name}.yaml"
    if not os.path.isfile(path):  # where the name is none that a file could have, too
        known = ", ".join(sorted(p.stem for p in PROFILES.glob("*.yaml")))
        raise UserError(f"there is no profile {quote(name)}; the profiles are {known}, or give the path of a YAML file")
    content = read_yaml(path)
    if not isinstance(content, dict) or "name" in content:
        raise UserError(f"{path} must hold a mapping with the keys of a profile, such as datasets and models; no name")
    if isinstance(choices := content.get("datasets"), list):
        content["datasets"] = _find([{"name": each} if isinstance(each, str) else each for each in choices])
    profile = _validate(Profile, {"name": path.stem, **content}, str(path))
    _check_named(profile, path)
    if path.resolve().parent != PROFILES.resolve():  # files of one name in two folders are two profiles
        profile = replace(profile, name=f"{profile.name}-{digest(str(path.resolve()))[:6]}")
    return replace(profile, datasets=tuple(_beside(path, choice) for choice in profile.datasets))


def _find(choices: list[object]) -> list[object]:
    """The choices of a profile's file, with those that a pattern or a group finds in its place.

    A data set that stands there by its name is as it says there, and one that two patterns find as the first says. An
    optional one that is not on this machine is left out.
    """
    there = list_datasets()
    written = [each.get("name") if isinstance(each, dict) else None for each in choices]
    taken = {name for name in written if isinstance(name, str) and not is_pattern(name)}
    found: list[object] = []
    for choice, name in zip(choices, written, strict=True):
        if isinstance(choice, dict) and isinstance(name, str) and is_pattern(name):
            names = [each for each in find_datasets(name) if each not in taken]
            found += [{**choice, "name": each, "optional": True} for each in names]
            taken |= set(names)
        elif not (isinstance(choice, dict) and choice.get("optional") is True) or name in there or "/" in str(name):
            found.append(choice)
    return found


def _of_model(train: dict[str, object], model: str, where: str) -> dict[str, object]:
    """What training settings say of a model alone, or of all if `model` is empty."""
    by_model = train.get("models", {})
    found = by_model.get(model, {}) if model and isinstance(by_model, dict) else {}
    if not isinstance(by_model, dict) or not isinstance(found, dict):
        raise UserError(f"{where}: 'models' must be a mapping of models to settings, not {quote(by_model)}")
    return found if model else {name: value for name, value in train.items() if name != "models"}


def _beside(path: Path, choice: DataChoice) -> DataChoice:
    """A data set's folder, which a profile names as seen from itself: jobs run elsewhere."""
    return replace(choice, name=str((path.parent / choice.name).resolve())) if "/" in choice.name else choice


def _check_named(profile: Profile, path: Path) -> None:
    """Refuse an exclusion or a comparison of runtimes that names what the profile does not have."""
    known: dict[str, Sequence[str]] = {
        "dataset": [Path(choice.name).name for choice in profile.datasets],
        "model": profile.models,
        "recipe": list(profile.variants),
        "runtime": [runtime for runtimes in profile.variants.values() for runtime in runtimes],
    }
    named = [("exclude", key, name) for entry in profile.exclude for key, name in asdict(entry).items() if name]
    named += [("runtimes", "dataset", name) for name in profile.runtimes.datasets]
    named += [("runtimes", "model", name) for name in profile.runtimes.models]
    named += [("shapes", "dataset", name) for name in profile.shapes.datasets]
    named += [("microcontrollers", "dataset", name) for name in profile.microcontrollers.datasets]
    for train in (profile.train, *(choice.train for choice in profile.datasets)):
        own, bases = train.get("models", {}), [name.partition("(")[0].strip() for name in profile.models]
        named += [("train", "model", name) for name in (own if isinstance(own, dict) else ()) if name not in bases]
    for where, key, name in named:
        if name not in known[key]:
            raise UserError(f"{path}, {where}: the profile has no {key} {quote(name)}; name one that it has")
    entries = [{key: name for key, name in asdict(entry).items() if name} for entry in profile.exclude]
    check_different(entries, f"{path}, exclude")


def _validate(cls: type[S], content: dict[str, object], where: str) -> S:
    """The specification with some content, every value of which must have the type of its field."""
    try:
        # As JSON, whose lists may be tuples where nothing else is taken for anything else.
        adapter: TypeAdapter[S] = _adapt(cls)  # type: ignore[arg-type]  # every class is hashable
        return adapter.validate_json(json.dumps(content, default=str), strict=True)
    except ValueError as error:
        if not isinstance(error, ValidationError):  # JSON writes no number of thousands of digits
            raise UserError(f"{where}: a number is too long; give a shorter one") from None
        raise UserError(f"{where}{_sentence(error)}") from None
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


@cache
def _adapt(cls: Any) -> TypeAdapter[Any]:
    return TypeAdapter(cls)  # which takes much longer to make than to use


def _sentence(error: ValidationError) -> str:
    """The first thing that pydantic found, with its place."""
    first = error.errors()[0]
    *parents, key = first["loc"]
    place = "".join(f", entry {part + 1}" if isinstance(part, int) else f", {part}" for part in parents)
    if first["type"] == "unexpected_keyword_argument":
        return f"{place}: unknown key {key!r}"
    name = f"entry {key + 1}" if isinstance(key, int) else repr(key)
    if first["type"] == "missing":
        return f"{place}: {name} is missing"
    what = {"tuple_type": "must be a list", "dataclass_type": "must be a mapping", "dict_type": "must be a mapping"}
    said = what.get(first["type"]) or first["msg"].replace("Input should be", "must be")
    # YAML 1.1 reads 1e-3 as a string.
    hint = " (write 0.001, not 1e-3)" if first["type"] == "float_type" and isinstance(first["input"], str) else ""
    return f"{place}: {name} {said}, not {quote(first['input'])}{hint}"
