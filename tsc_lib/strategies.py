"""What a recipe amounts to, for figures, tables and claims: its family, and a name that a reader understands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import pandas as pd

BASELINE, RUNTIME = "baseline", "runtime only"
DYNAMIC, STATIC = "dynamic int8", "static int8"
MASKS, REMOVAL, COMBINED, OTHER = "masks", "removal", "combined", "other"

FAMILIES = (BASELINE, RUNTIME, DYNAMIC, STATIC, MASKS, REMOVAL, COMBINED, OTHER)
"""Every family of strategies, in the order of legends and tables."""

TITLES = {
    BASELINE: "fp32",
    RUNTIME: "fp32, other runtime",
    COMBINED: "removal and int8",
}
"""What legends call a family where that says more than its name."""

REFERENCE_RUNTIME = "eager"
"""The runtime of the reference: the uncompressed model as PyTorch runs it unasked."""

_STEP = re.compile(r"(\w+)(?:\((.*)\))?$")


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
        "l1" or "l2" if the recipe prunes.
    ratio : float or None
        Share of what was pruned.
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
    if recipe == "baseline":
        family = BASELINE if runtime == REFERENCE_RUNTIME else RUNTIME
        return Strategy(family, "fp32" if family == BASELINE else f"fp32, {runtime}", None, None, False)
    names, labels = [], []
    norm, ratio = None, None
    for step in recipe.split(">"):
        match = _STEP.match(step.strip())
        name, arguments = (match[1], match[2] or "") if match else (step.strip(), "")
        names.append(f"int8({arguments})" if name == "int8" else name)
        if name in ("mask", "prune"):
            norm, ratio = (a.strip() for a in arguments.split(","))
        labels.append(_label(name, arguments))
    pruned, quantized = {"mask", "prune"} & set(names), {"int8(dynamic)", "int8(static)"} & set(names)
    if pruned and quantized:
        family = COMBINED
    elif pruned:
        family = MASKS if "mask" in names else REMOVAL
    elif quantized:
        family = DYNAMIC if "int8(dynamic)" in names else STATIC
    else:
        family = OTHER
    if runtime != REFERENCE_RUNTIME:
        labels.append(runtime)
    label = ", ".join(labels)
    label = label[0].upper() + label[1:]
    return Strategy(family, label, norm, None if ratio is None else float(ratio), "finetune" in names)


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


def _label(name: str, arguments: str) -> str:
    if name in ("mask", "prune"):
        norm, ratio = (a.strip() for a in arguments.split(","))
        return f"{'Mask' if name == 'mask' else 'Remove'} {norm.upper()} {float(ratio):.0%}".replace("%", " %")
    if name == "int8":
        return f"{arguments} int8"
    return "tuned" if name == "finetune" else f"{name}({arguments})" if arguments else name
