"""The sections of a profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from tsc_lib import runtimes
from tsc_lib.benchmark.settings import LIMITS
from tsc_lib.compress import BASELINE, CLASSIC, Variant
from tsc_lib.core.errors import UserError
from tsc_lib.core.limits import check_different, check_fields
from tsc_lib.core.spec import ADDED, Spec
from tsc_lib.microcontroller import PROCESSORS, find_processor
from tsc_lib.models.zoo import find_architecture
from tsc_lib.runtimes import convert

IN_C = "c"
"""The runtime whose models are compiled for microcontrollers."""


@dataclass(frozen=True)
class DataChoice(Spec):
    """A data set in a profile.

    Attributes
    ----------
    name : str
        Name of the problem, or path of its folder; in a profile's file also a group or a pattern, which stands for all
        that `tsc_lib.data.find_datasets` finds.
    scaling : {"channel", "series", "none"}
        See `DataSpec`.
    gaps : {"refuse", "interpolate"}
        See `DataSpec`.
    validation : {"blocks", "random"}
        See `DataSpec`.
    optional : bool
        Whether what the data set cannot have is a row with its reason, and no error, and it is left out where it is not
        on this machine; always so of one that a pattern found.
    seeds : tuple of int
        One training per seed, the profile's first seed among them; the profile's seeds if none are given.
    train, benchmark : dict
        Settings that differ from the profile's: a handful of series takes other batches and epochs than thousands, and
        what is a large batch in a benchmark depends on how long the series are.
    """

    name: str
    scaling: str = "channel"
    gaps: str = "refuse"
    validation: str = "blocks"
    optional: bool = field(default=False, metadata=ADDED)
    seeds: tuple[int, ...] = field(default=(), metadata=ADDED)
    train: dict[str, object] = field(default_factory=dict)
    benchmark: dict[str, object] = field(default_factory=dict)


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

    def __post_init__(self) -> None:
        if not any(asdict(self).values()):
            raise UserError("each entry of 'exclude' names at least one of dataset, model, recipe and runtime")

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
        check_fields(self, "runtimes setting", LIMITS)
        check_different(self.datasets, "'datasets' of runtimes")
        check_different(self.models, "'models' of runtimes")
        parse_variants(self.variants)


@dataclass(frozen=True)
class SideBySide(Spec):
    """How all models are measured in one session: the networks as trained, some of their variants, and the classics.

    Attributes
    ----------
    variants : dict of str to tuple of str
        Recipe to the runtimes that execute it, of networks, which are always there as trained, too.
    blocks : int
        Paired repeats.
    max_seconds : float
        Wall time after which no further block is begun at a batch size, unless fewer than 5 were measured.
    """

    variants: dict[str, tuple[str, ...]] = field(default_factory=dict)
    blocks: int = 20
    max_seconds: float = 5.0

    def __post_init__(self) -> None:
        check_fields(self, "side_by_side setting", LIMITS)
        parse_variants(self.variants)


@dataclass(frozen=True)
class Shapes(Spec):
    """Which shape a transformer should have, and which training: sizes by accuracy and cost, and options one by one.

    Attributes
    ----------
    models : tuple of str
        Names from `tsc_lib.models.zoo`, with sizes.
    datasets : tuple of str
        Names of those of the profile's data sets that they are trained on; all if there are none.
    runtime : str
        What executes them.
    training_of : str
        The model whose options of training are switched one by one; none if it is empty.
    """

    models: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    runtime: str = "onnxruntime"
    training_of: str = ""

    def __post_init__(self) -> None:
        check_different(self.models, "'models' of shapes")
        check_different(self.datasets, "'datasets' of shapes")
        for model in filter(None, (*self.models, self.training_of)):
            find_architecture(model)
        parse_variants({str(BASELINE): (self.runtime,)})


@dataclass(frozen=True)
class Microcontrollers(Spec):
    """What is compiled for microcontrollers and executed on imitated ones.

    Attributes
    ----------
    variants : dict of str to tuple of str
        Names from `tsc_lib.models.zoo`, with sizes, to the recipes that are applied to them.
    datasets : tuple of str
        Names of those of the profile's data sets that they are trained on; all if there are none.
    processors : tuple of str
        From `tsc_lib.microcontroller.PROCESSORS`.
    series : int
        The first so many test series are executed.
    """

    variants: dict[str, tuple[str, ...]] = field(default_factory=dict)
    datasets: tuple[str, ...] = ()
    processors: tuple[str, ...] = tuple(PROCESSORS)
    series: int = 10

    def __post_init__(self) -> None:
        check_fields(self, "microcontrollers setting", {"series": (1, 1000)})
        check_different(self.datasets, "'datasets' of microcontrollers")
        check_different(self.processors, "'processors' of microcontrollers")
        for model, recipes in self.variants.items():
            find_architecture(model)
            check_different(recipes, f"recipes of {model} in microcontrollers")
            parse_variants(dict.fromkeys(recipes, (IN_C,)))
        for name in self.processors:
            find_processor(name)


@dataclass(frozen=True)
class Ablation(Spec):
    """One of a profile's variants, of which every step is left out in turn; all that it takes are among the variants.

    Attributes
    ----------
    recipe, runtime : str
        What is done to a model, and where it is executed; by default nothing, in eager.
    """

    recipe: str = "baseline"
    runtime: str = "eager"


def parse_variants(written: Mapping[str, Sequence[str]]) -> list[Variant]:
    """The variants that a profile names: for each recipe, the runtimes that execute it.

    Raises
    ------
    UserError
        If a recipe is not well formed, a runtime does not execute it, or a variant is named twice.
    """
    variants = [Variant.parse(recipe, runtime) for recipe, named in written.items() for runtime in named]
    for variant in variants:
        if variant.runtime == runtimes.CLASSIC:
            if variant != CLASSIC:
                raise UserError(
                    f"{variant}: classics are executed as they are; name {runtimes.CLASSIC} for {BASELINE} alone"
                )
            continue
        convert.check(variant.runtime, variant.recipe.number_format, variant.recipe.observer)
    check_different([str(variant) for variant in variants], "'variants'")
    return variants
