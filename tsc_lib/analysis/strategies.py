"""What a recipe amounts to, for figures, tables and claims: its family, and a name that a reader understands."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import pandas as pd

from tsc_lib.compress import REFERENCE, Family, Variant
from tsc_lib.compress.pruning import Mask, Prune

BASELINE, RUNTIME = Family.BASELINE, Family.RUNTIME
DYNAMIC, STATIC, QUANTIZED = Family.DYNAMIC, Family.STATIC, Family.QUANTIZED
MASKS, REMOVAL, COMBINED, OTHER = Family.MASKS, Family.REMOVAL, Family.COMBINED, Family.OTHER
SMALLER, STUDENT = Family.SMALLER, Family.STUDENT
FEWER, EARLY = Family.FEWER, Family.EARLY

FAMILIES = tuple(Family)
"""Every family of strategies, in the order of legends and tables."""

TITLES: dict[str, str] = {
    BASELINE: "fp32",
    RUNTIME: "fp32, other runtime",
    COMBINED: "removal and int8",
}
"""What legends call a family where that says more than its name."""

REFERENCE_RUNTIME = REFERENCE.runtime
"""The runtime of the reference: the uncompressed model as PyTorch runs it unasked."""


@dataclass(frozen=True)
class Strategy:
    """What a recipe on a runtime amounts to.

    Attributes
    ----------
    family : str
        One of `FAMILIES`.
    label : str
        A short name, e.g. "Remove L1 50 %, tuned".
    norm : str or None
        The criterion, such as "l1", if the family is of pruning at one share.
    ratio : float or None
        Share of what was pruned, in the same case.
    tuned : bool
        Whether the model was trained further after pruning.
    """

    family: str
    label: str
    norm: str | None
    ratio: float | None
    tuned: bool


@lru_cache
def strategy_of(recipe: str, runtime: str) -> Strategy:
    """The strategy that a recipe on a runtime amounts to, e.g. "prune(l1, 0.5) > finetune(4)" in "eager"."""
    variant = Variant.parse(recipe, runtime)
    pruning = next((step for step in variant.recipe if isinstance(step, Mask | Prune)), None)
    if pruning is None or variant.family not in (MASKS, REMOVAL, COMBINED):
        return Strategy(variant.family, variant.label, None, None, variant.recipe.is_tuned)
    norm = pruning.norm if isinstance(pruning, Mask) else pruning.criterion
    return Strategy(variant.family, variant.label, norm, pruning.ratio, variant.recipe.is_tuned)


def annotate(results: pd.DataFrame) -> pd.DataFrame:
    """The results with columns `family`, `label`, `norm`, `ratio` and `tuned` added, in a stable order.

    Parameters
    ----------
    results : DataFrame
        With columns `recipe` and `runtime`.

    Returns
    -------
    DataFrame
        A copy, ordered by family, norm, ratio and fine-tuning and then as it came.
    """
    found = [strategy_of(recipe, runtime) for recipe, runtime in zip(results.recipe, results.runtime, strict=True)]
    added = results.assign(
        family=pd.Categorical([s.family for s in found], FAMILIES, ordered=True),
        label=[s.label for s in found],
        norm=[s.norm for s in found],
        ratio=[s.ratio for s in found],
        tuned=[s.tuned for s in found],
    )
    added = added.astype({"ratio": float})
    return added.sort_values(["family", "ratio", "norm", "tuned"], kind="stable", ignore_index=True)


def nearest_ratio(results: pd.DataFrame, wanted: float) -> float | None:
    """The pruning ratio in annotated results that lies nearest to `wanted`; the smaller of two; None without any."""
    ratios = sorted(results.ratio.dropna().unique())
    return min(ratios, key=lambda ratio: (abs(ratio - wanted), ratio)) if ratios else None


def rows_of(results: pd.DataFrame, variant: Variant) -> pd.DataFrame:
    """The rows of a results table that are about a variant."""
    return results[(results.recipe == str(variant.recipe)) & (results.runtime == variant.runtime)]
