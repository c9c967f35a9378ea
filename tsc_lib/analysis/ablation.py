"""What each step of a recipe contributes: the way to it step by step, and what it is without each of them.

Both read variants that a profile names; nothing is computed that was not run.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from tsc_lib.analysis.quantities import POINTS_LOST, over_seeds
from tsc_lib.analysis.rows import CASE_KEYS, RUN_KEYS, batch_kinds, drop_failures, select_batch, select_variant
from tsc_lib.compress import BASELINE, REFERENCE, Family, Recipe, Step, Variant
from tsc_lib.compress.distillation import Distill
from tsc_lib.compress.finetuning import FineTune
from tsc_lib.compress.pruning import Prune

CRITERIA = ("random", "l1", "l2", "taylor", "activation")
"""Criteria of importance, the control first."""

AS_PRUNED = "as pruned"
TRAINED: dict[type[Step], str] = {FineTune: "fine-tuned", Distill: "distilled"}
TRAININGS = (AS_PRUNED, *TRAINED.values())


def way_to(results: pd.DataFrame, variant: Variant, which: str = "large") -> pd.DataFrame:
    """The way from the uncompressed model in eager to a recipe on a runtime, as far as it was measured.

    Parameters
    ----------
    results : DataFrame
        The results table.
    variant : Variant
        Where the way ends.
    which : {"large", "small"}
        At which batch size.

    Returns
    -------
    DataFrame
        One row per data set, model and place: columns `position`, `step` (what it has beyond the place before),
        `recipe`, `runtime`, `cpu_ratio` (÷ eager fp32) and `factor` (÷ the place before, paired within a session), both
        with intervals (`..._low`, `..._high`) over the seeds, `points_lost` with its interval, `macs`, `seeds` and
        `batch_size`. Empty if no step of the recipe was run.
    """
    # In the reference runtime the way begins where it would otherwise come second.
    recipe = variant.recipe
    places = dict.fromkeys([REFERENCE, *(Variant(recipe[:n], variant.runtime) for n in range(len(recipe) + 1))])
    rows = drop_failures(select_batch(results, which))
    parts: list[pd.DataFrame] = []
    named = 0  # steps of the recipe that an earlier place has
    for position, place in enumerate(places):
        part = select_variant(rows, place)
        if part.empty:
            continue
        step = ", ".join(each.label for each in place.recipe[named:]) or f"fp32, {place.runtime}"
        named = len(place.recipe)
        part = part.assign(position=position, step=step, factor=1.0)
        if parts:
            earlier = part[RUN_KEYS].merge(parts[-1][[*RUN_KEYS, "cpu_ratio"]], how="left", on=RUN_KEYS).cpu_ratio
            part["factor"] = part.cpu_ratio / earlier.to_numpy()
        parts.append(part)
    if not named:
        return pd.DataFrame()
    by = [*CASE_KEYS, "position", "step", "recipe", "runtime", "batch_size"]
    return _over_seeds(pd.concat(parts, ignore_index=True), by, "cpu_ratio", "factor")


def ways_to(results: pd.DataFrame, variant: Variant) -> pd.DataFrame:
    """`way_to` at every kind of batch size, one below the other."""
    return pd.concat([way_to(results, variant, which) for which in batch_kinds(results)], ignore_index=True)


def without_each(results: pd.DataFrame, variant: Variant) -> pd.DataFrame:
    """A recipe beside itself without one of its steps, wherever that was run, at the large batch.

    A distillation is also left out by fine-tuning for as many epochs, and the runtime by executing in eager.

    Returns
    -------
    DataFrame
        Columns `dataset`, `model`, `left_out` ("nothing" for the recipe itself), `recipe`, `runtime`, `cpu_ratio` and
        `points_lost` with intervals over the seeds, `macs` and `seeds`.
    """
    recipe, runtime = variant.recipe, variant.runtime
    wanted = {variant: "nothing"}
    for index, step in enumerate(recipe):
        before, after = recipe[:index], recipe[index + 1 :]
        wanted[Variant(before + after, runtime)] = step.label
        if isinstance(step, Distill):
            tuned = Recipe((FineTune(step.epochs, step.learning_rate),))
            wanted[Variant(before + tuned + after, runtime)] = "the teacher"
    wanted.setdefault(Variant(recipe, REFERENCE.runtime), f"{runtime}, in eager")
    rows = drop_failures(select_batch(results))
    names = [wanted.get(Variant.parse(*each)) for each in zip(rows.recipe, rows.runtime, strict=True)]
    rows = rows.assign(left_out=names).dropna(subset="left_out")
    if rows.empty or recipe == BASELINE:
        return pd.DataFrame()
    table = _over_seeds(rows, [*CASE_KEYS, "left_out", "recipe", "runtime"], "cpu_ratio")
    order = list(wanted.values())
    return table.sort_values("left_out", key=lambda names: names.map(order.index), kind="stable", ignore_index=True)


def _over_seeds(rows: pd.DataFrame, by: list[str], *ratios: str) -> pd.DataFrame:
    """Means over the seeds of points lost, of some ratios and of the multiply-accumulates."""
    return over_seeds(rows, by, means=["accuracy_drop"], ratios=ratios, plain=["macs"]).rename(columns=POINTS_LOST)


def criteria(results: pd.DataFrame) -> pd.DataFrame:
    """Accuracy after removal by each criterion of importance, at equal multiply-adds, beside removal at random.

    Returns
    -------
    DataFrame
        Columns `dataset`, `model`, `ratio`, `criterion`, `training` (one of `TRAININGS`), `points_lost` with its
        interval over the seeds, `macs` and `seeds`; of the ratio at which random removal was run.
    """
    rows = drop_failures(select_batch(results))
    rows = rows[rows.runtime == REFERENCE.runtime]
    found = [_removal(recipe) for recipe in rows.recipe]
    names = pd.DataFrame(found, rows.index, ["criterion", "ratio", "training"])
    rows = rows.join(names).dropna(subset="criterion")
    rows = rows[rows.ratio.isin(rows.loc[rows.criterion == "random", "ratio"])]
    if rows.empty:
        return pd.DataFrame()
    return _over_seeds(rows, [*CASE_KEYS, "ratio", "criterion", "training"])


def _removal(text: str) -> tuple[str | None, float, str]:
    """Criterion, ratio and training of a recipe that removes one share and at most trains after it; None of others."""
    recipe = Recipe.parse(text)
    removal, trainings = next(iter(recipe), None), [TRAINED.get(type(step)) for step in recipe[1:]] or [AS_PRUNED]
    if not isinstance(removal, Prune) or removal.family is not Family.REMOVAL or trainings[1:] or not trainings[0]:
        return None, np.nan, ""
    return removal.criterion, removal.ratio, trainings[0]
