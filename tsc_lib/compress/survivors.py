"""Which heads and neurons of a model are left after the steps of a recipe, in the numbers of the uncompressed model."""

from __future__ import annotations

from collections.abc import Sequence

from tsc_lib.compress.depth_width import Layers
from tsc_lib.compress.distillation import Student
from tsc_lib.compress.gradual import Gradual
from tsc_lib.compress.pruning import Prune
from tsc_lib.compress.recipe import Recipe
from tsc_lib.models.compressed import Evidence


def find_survivors(evidence: Sequence[Evidence], layers: int, heads: int, neurons: int) -> dict[str, list[list[int]]]:
    """Which heads and neurons of a model's first shape are left after all steps of a recipe.

    Parameters
    ----------
    evidence : sequence of Evidence
        What every step changed.
    layers, heads, neurons : int
        Layers of the uncompressed model, and heads and neurons in each.

    Returns
    -------
    dict
        For "heads" and "neurons" the indices kept in each of the first layers, none for a layer that is gone; empty if
        no step removed any, or a new network has taken the model's place.
    """
    left = list(range(layers))
    kept = {part: [list(range(n))] * layers for part, n in (("heads", heads), ("neurons", neurons))}
    removed = False
    for found in evidence:
        [step] = Recipe.parse(found.step)
        if isinstance(step, Student):
            return {}
        if isinstance(step, Layers):
            left = [left[i] for i in found.details["layers"]]
        elif isinstance(step, Prune | Gradual):
            for part, before in kept.items():
                for layer, indices in zip(left, found.details[part], strict=True):
                    before[layer] = [before[layer][i] for i in indices]
        removed = removed or isinstance(step, Layers | Prune | Gradual)
    if not removed:
        return {}
    return {part: [own if i in left else [] for i, own in enumerate(each)] for part, each in kept.items()}
