"""What a recipe amounts to, for figures, tables and claims: its family, and a name that a reader understands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import pandas as pd

BASELINE, RUNTIME = "baseline", "runtime only"
DYNAMIC, STATIC, QUANTIZED = "dynamic int8", "static int8", "other quantization"
MASKS, REMOVAL, COMBINED, OTHER = "masks", "removal", "combined", "other"
SMALLER, STUDENT = "smaller shape", "student"
FEWER, EARLY = "fewer tokens", "early exit"

FAMILIES = (
    BASELINE,
    RUNTIME,
    DYNAMIC,
    STATIC,
    QUANTIZED,
    MASKS,
    REMOVAL,
    COMBINED,
    SMALLER,
    STUDENT,
    FEWER,
    EARLY,
    OTHER,
)
"""Every family of strategies, in the order of legends and tables.

Masks, removal and both with int8 are the study's: one share of heads and neurons from every layer, at most fine-tuned.
Whatever else removes structure is a smaller shape: whole layers, channels, ranks, longer patches, in rounds, by other
shares in every layer, or distilled. Fewer tokens and early exits save work by input, whatever else a recipe does. Other
quantization is int4, and int8 by another observer, with layers left in fp32, of weights alone, or after a training for
it.
"""

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
    if recipe == "baseline":
        family = BASELINE if runtime == REFERENCE_RUNTIME else RUNTIME
        return Strategy(family, "fp32" if family == BASELINE else f"fp32, {runtime}", None, None, False)
    steps = [split_step(step.strip()) for step in recipe.split(">")]
    labels = [_label(name, arguments) for name, arguments in steps]
    family = _family(steps)
    norm, ratio = None, None
    if family in (MASKS, REMOVAL, COMBINED):
        norm, ratio = next(arguments[:2] for name, arguments in steps if name in ("mask", "prune"))
    if runtime != REFERENCE_RUNTIME:
        labels.append(runtime)
    label = ", ".join(labels)
    label = label[0].upper() + label[1:]
    tuned = any(name in ("finetune", "distill", "qat") for name, _ in steps)
    return Strategy(family, label, norm, None if ratio is None else float(ratio), tuned)


def step_label(step: str) -> str:
    """A short name of one step, e.g. "remove L1 50 %" of "prune(l1, 0.5)"."""
    return _label(*split_step(step))


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


def split_step(step: str) -> tuple[str, list[str]]:
    """The name of a step and its arguments, e.g. ("prune", ["l1", "0.5"])."""
    match = _STEP.match(step)
    name, arguments = (match[1], match[2]) if match else (step, None)
    return name, [argument.strip() for argument in arguments.split(",")] if arguments else []


def _family(steps: list[tuple[str, list[str]]]) -> str:
    names = [name for name, _ in steps]
    if "exits" in names:
        return EARLY
    modes = [arguments[0] for name, arguments in steps if name == "int8"]
    study = all(len(arguments) <= 2 and "weights" not in arguments for name, arguments in steps if name == "int8")
    if "student" in names:
        return STUDENT
    shares = [len(arguments) for name, arguments in steps if name in ("mask", "prune")]
    if shares == [2] and study and set(names) <= {"mask", "prune", "finetune", "int8"}:
        return COMBINED if modes else MASKS if "mask" in names else REMOVAL
    if {"merge", "drop"} & set(names):
        return FEWER
    if {"prune", "gradual", "layers", "width", "lowrank", "patch"} & set(names):
        return SMALLER
    if modes and study and set(names) <= {"int8", "finetune"}:
        return DYNAMIC if modes[0] == "dynamic" else STATIC
    return QUANTIZED if {"int8", "int4", "qat"} & set(names) else OTHER


def _label(name: str, arguments: list[str]) -> str:
    match name, arguments:
        case "mask", [norm, ratio]:
            return f"mask {_criterion(norm)} {_percent(ratio)}"
        case "prune", [criterion, ratio, *options]:
            return " ".join([f"remove {_criterion(criterion)} {_percent(ratio)}", *_brackets(options)])
        case "gradual", [criterion, ratio, *options]:
            return " ".join([f"remove {_criterion(criterion)} {_percent(ratio)} in rounds", *_brackets(options)])
        case "layers", [count, *options]:
            return " ".join([f"{count} layer{'s' * (count != '1')}", *_brackets(options)])
        case "width", [criterion, channels]:
            return f"width {channels} {_criterion(criterion)}"
        case "patch", [size]:
            return f"patches of {size}"
        case "lowrank", [energy]:
            return f"low rank {_percent(energy)}"
        case "merge" | "drop", [share, *options]:
            return f"{name} tokens to {_percent(share)}" + "".join(f" (layer {layer})" for layer in options)
        case "exits", [layer, *options]:
            return f"exit after {layer}" + "".join(f" ({points} points)" for points in options)
        case "int8", ["weights"]:
            return "int8 weights"
        case "int8", [mode, _, *options]:
            return " ".join([f"{mode} int8", *_brackets(options)])
        case "int8", [mode]:
            return f"{mode} int8"
        case "int4", options:
            return " ".join(["int4 weights", *_brackets(options)])
        case "qat", [_, *options]:
            return " ".join(["trained for int8", *_brackets(options[1:])])
        case "student", sizes:
            return " ".join(["student", *_brackets(sizes)])
    return {"finetune": "tuned", "distill": "distilled"}.get(name) or " ".join([name, *_brackets(arguments)])


def _criterion(name: str) -> str:
    return name.upper() if name in ("l1", "l2") else "Taylor" if name == "taylor" else name


def _percent(share: str) -> str:
    return f"{float(share):.0%}".replace("%", " %")


def _brackets(options: list[str]) -> list[str]:
    return [f"({', '.join(options)})"] if options else []
