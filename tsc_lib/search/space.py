"""What a search may try: families of recipes, each with sizes to choose from and points to begin with.

A new step joins the search as another `SearchFamily` in `FAMILIES`, or as a line in the function of one that is there.
Number formats are no part of the space: they need no training, so they are tried on what has proved good.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from optuna import Trial

from tsc_lib.compress import Recipe
from tsc_lib.models.convolution_embedding import ConvolutionEmbeddingConfig
from tsc_lib.models.embedding import MAX_TOKENS
from tsc_lib.models.transformer import TransformerConfig

PATCHES = (4, 8, 16, 32)

TIMES = (1, 2, 4)
"""How many times the epochs of the uncompressed model's training a candidate is trained for."""

FORMATS = ("int8(dynamic)", "int8(static)", "bf16")
"""Steps that may follow a trained recipe."""

NARROW = Recipe.parse("int8(static)")
"""What follows a recipe whose program is too large in fp32."""

Parameters = dict[str, str | int | float]
"""What Optuna chose for a trial, by name."""


@dataclass(frozen=True)
class Bounds:
    """What bounds the choices: the uncompressed model, the data and the settings of its training.

    Attributes
    ----------
    config : TransformerConfig
        Of the uncompressed model.
    shortest, longest : int
        Length of the training and validation series, in time steps.
    epochs : int
        Epochs that the uncompressed model was trained for.
    """

    config: TransformerConfig
    shortest: int
    longest: int
    epochs: int

    @property
    def patches(self) -> list[int]:
        """Patches that leave the shortest series at least two tokens and the longest no more than the model places."""
        fit = [p for p in PATCHES if 2 * p <= self.shortest and self.longest < p * (MAX_TOKENS + 1)]
        return fit or [self.config.embedding.patch]

    @property
    def channel_shares(self) -> list[float]:
        """Shares of the series' channels that leave different numbers of them, the first all."""
        counts = {max(1, round(share * self.config.channels)): share for share in (0.25, 0.5, 1.0)}
        return sorted(counts.values(), reverse=True)


class Proposal(NamedTuple):
    """A recipe in two parts, neither empty: what decides on the cost, and the distillation after it."""

    structure: Recipe
    training: Recipe
    epochs: int

    @property
    def recipe(self) -> Recipe:
        """The whole recipe."""
        return self.structure + self.training


@dataclass(frozen=True)
class SearchFamily:
    """Recipes that are alike.

    Attributes
    ----------
    suggest : callable
        Takes a trial and the bounds, asks the trial for sizes, and returns steps that need no training.
    learning_rates : tuple of float
        For the distillation after them.
    starts : callable
        Takes the bounds and returns the parameters to try before the sampler decides.
    """

    suggest: Callable[[Trial, Bounds], str]
    learning_rates: tuple[float, ...]
    starts: Callable[[Bounds], list[Parameters]]


def suggest(trial: Trial, bounds: Bounds) -> Proposal:
    """The recipe that a trial chooses."""
    name = trial.suggest_categorical("family", list(FAMILIES))
    structure = FAMILIES[name].suggest(trial, bounds)
    if len(bounds.channel_shares) > 1:
        share = trial.suggest_categorical("channels", bounds.channel_shares)
        structure = structure if share == 1 else f"channels({share}) > {structure}"
    epochs = bounds.epochs * trial.suggest_categorical("epochs", TIMES)
    temperature = trial.suggest_categorical("temperature", [2, 4])
    weight = trial.suggest_categorical("weight", [0.5, 0.9])
    rate = trial.suggest_categorical(f"{name}.learning_rate", FAMILIES[name].learning_rates)
    training = f"distill({epochs}, {temperature}, {weight}, {rate})"
    return Proposal(Recipe.parse(structure), Recipe.parse(training), epochs)


def get_longest_training(epochs: int) -> Recipe:
    """The longest training of a candidate of a model that was trained for so many epochs; the reference gets it too."""
    return Recipe.parse(f"distill({max(TIMES) * epochs}, 2, 0.5, 0.001)")


def list_starts(bounds: Bounds) -> list[Parameters]:
    """Points to begin with, the most promising first; what one leaves open the sampler fills in."""
    lists = [[{"family": name, **point} for point in family.starts(bounds)] for name, family in FAMILIES.items()]
    longest = max(len(points) for points in lists)
    return [points[i] for i in range(longest) for points in lists if i < len(points)]


def _suggest_student(trial: Trial, bounds: Bounds) -> str:
    layers = trial.suggest_int("student.layers", 1, 4)
    heads = trial.suggest_categorical("student.heads", [1, 2, 4, 8])
    d_ff = trial.suggest_categorical("student.d_ff", [32, 64, 128, 256])
    d_model = trial.suggest_categorical("student.d_model", [16, 24, 32, 48])
    patch = trial.suggest_categorical("student.patch", bounds.patches)
    filters = ""
    if isinstance(bounds.config.embedding, ConvolutionEmbeddingConfig):
        filters = f", {trial.suggest_categorical('student.filters', [8, 16, 32])}"
    return f"student({layers}, {heads}, {d_ff}, {d_model}, {patch}{filters})"


def _student_starts(bounds: Bounds) -> list[Parameters]:
    near = min(bounds.patches, key=lambda patch: abs(patch - bounds.config.embedding.patch))
    longer = min((p for p in bounds.patches if p > near), default=near)
    sizes = [(2, 2, 64, 32, near), (2, 4, 64, 32, longer), (1, 8, 128, 32, near), (2, 4, 64, 32, near)]
    sizes += [(1, 4, 64, 32, near), (2, 4, 64, 24, longer)]
    names = [f"student.{name}" for name in ("layers", "heads", "d_ff", "d_model", "patch")]
    trained: Parameters = {"epochs": max(TIMES), "temperature": 2, "weight": 0.5, "student.learning_rate": 0.001}
    return [dict(zip(names, size, strict=True)) | trained for size in dict.fromkeys(sizes)]


def _suggest_cut(trial: Trial, bounds: Bounds) -> str:
    config = bounds.config
    steps = []
    if len(config.layers) > 1:
        steps.append(f"layers({trial.suggest_int('cut.layers', 1, min(4, len(config.layers) - 1))})")
    steps.append(f"prune(taylor, {trial.suggest_categorical('cut.ratio', [0.25, 0.5, 0.75])})")
    width = trial.suggest_categorical("cut.width", [1.0, 0.75, 0.5])
    if width < 1:
        steps.append(f"width(activation, {round(width * config.d_model)})")
    return " > ".join(steps)


def _cut_starts(bounds: Bounds) -> list[Parameters]:
    trained: Parameters = {"epochs": 1, "temperature": 2, "weight": 0.5, "cut.learning_rate": 0.001}
    return [
        {"cut.layers": layers, "cut.ratio": 0.5, "cut.width": 1.0, **trained}
        for layers in (2, 1)
        if layers < len(bounds.config.layers)
    ]


FAMILIES = {
    "student": SearchFamily(_suggest_student, (0.001, 0.002), _student_starts),
    "cut": SearchFamily(_suggest_cut, (0.0005, 0.001), _cut_starts),
}
"""Small networks trained anew, and what is left of the model when layers, heads, neurons and channels are removed."""
