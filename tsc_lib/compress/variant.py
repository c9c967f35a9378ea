"""A variant: a recipe, and the runtime that executes the model that it makes."""

from __future__ import annotations

from dataclasses import dataclass

from tsc_lib import runtimes
from tsc_lib.compress.recipe import BASELINE, Recipe
from tsc_lib.compress.step import Family


@dataclass(frozen=True)
class Variant:
    """A way to execute a trained model.

    Attributes
    ----------
    recipe : Recipe
        What is done to the model.
    runtime : str
        What executes it, one of `tsc_lib.runtimes.RUNTIMES`; of a classic `tsc_lib.runtimes.CLASSIC`.

    Examples
    --------
    >>> variant = Variant.parse("prune(l1, 0.5) > int8(static)", "onnxruntime")
    >>> variant.family.value, variant.label
    ('combined', 'Remove L1 50 %, static int8, onnxruntime')
    """

    recipe: Recipe
    runtime: str

    @classmethod
    def parse(cls, recipe: str, runtime: str) -> Variant:
        """The variant of a recipe that is written down.

        Raises
        ------
        UserError
            If the recipe is not well formed.
        """
        return cls(Recipe.parse(recipe), runtime)

    @property
    def family(self) -> Family:
        """The kind of strategy that the variant is."""
        if self.recipe == BASELINE and self.runtime != REFERENCE.runtime:
            return Family.RUNTIME
        return self.recipe.family

    @property
    def label(self) -> str:
        """A short name for figures; the reference's runtime goes without saying."""
        return self.recipe.label if self.runtime == REFERENCE.runtime else f"{self.recipe.label}, {self.runtime}"

    @property
    def names(self) -> dict[str, str]:
        """What tables call it: columns `recipe` and `runtime`."""
        return {"recipe": str(self.recipe), "runtime": self.runtime}

    def to_json(self) -> list[str]:
        """The variant as plain values."""
        return [str(self.recipe), self.runtime]

    def __str__(self) -> str:
        return f"{self.recipe} in {self.runtime}"


REFERENCE = Variant(BASELINE, "eager")
"""The uncompressed model as PyTorch runs it unasked: what every cost and accuracy is compared with."""

CLASSIC = Variant(BASELINE, runtimes.CLASSIC)
"""The only variant of a classic classifier."""
