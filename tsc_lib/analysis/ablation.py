"""What each step of a recipe contributes: the way to it step by step, and what it is without each of them.

Both read variants that a profile names; nothing is computed that was not run.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from tsc_lib.analysis.quantities import UNIT
from tsc_lib.analysis.strategies import BASELINE, REFERENCE_RUNTIME, split_step, step_label
from tsc_lib.analysis.tables import CELL, at_batch, batches, over_seeds, succeeded

CRITERIA = ("random", "l1", "l2", "taylor", "activation")
"""Criteria of importance, the control first."""

TRAINED = {"finetune": "fine-tuned", "distill": "distilled"}
TRAININGS = ("as pruned", *TRAINED.values())


def steps_of(recipe: str) -> list[str]:
    """The steps of a recipe in its canonical spelling; none of the uncompressed model's."""
    return [] if recipe == BASELINE else recipe.split(" > ")


def beginnings(recipe: str) -> list[str]:
    """A recipe after none of its steps, after the first, after the first two, and so on to the whole."""
    steps = steps_of(recipe)
    return [BASELINE, *(" > ".join(steps[:count]) for count in range(1, len(steps) + 1))]


def way_to(results: pd.DataFrame, recipe: str, runtime: str, which: str = "large") -> pd.DataFrame:
    """The way from the uncompressed model in eager to a recipe on a runtime, as far as it was measured.

    Parameters
    ----------
    results : DataFrame
        The results table.
    recipe, runtime : str
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
    places = list(dict.fromkeys([(BASELINE, REFERENCE_RUNTIME), *((begun, runtime) for begun in beginnings(recipe))]))
    rows = succeeded(at_batch(results, which))
    parts: list[pd.DataFrame] = []
    named = 0  # steps of the recipe that an earlier place has
    for position, (begun, executed_in) in enumerate(places):
        part = rows[(rows.recipe == begun) & (rows.runtime == executed_in)]
        if part.empty:
            continue
        steps = steps_of(begun)
        step = ", ".join(map(step_label, steps[named:])) or f"fp32, {executed_in}"
        named = len(steps)
        part = part.assign(position=position, step=step, factor=1.0)
        if parts:
            earlier = part[UNIT].merge(parts[-1][[*UNIT, "cpu_ratio"]], how="left", on=UNIT).cpu_ratio
            part["factor"] = part.cpu_ratio / earlier.to_numpy()
        parts.append(part)
    if not named:
        return pd.DataFrame()
    return _summary(pd.concat(parts, ignore_index=True), [*CELL, "position", "step", "recipe", "runtime", "batch_size"])


def ways_to(results: pd.DataFrame, recipe: str, runtime: str) -> pd.DataFrame:
    """`way_to` at every kind of batch size, one below the other."""
    return pd.concat([way_to(results, recipe, runtime, which) for which in batches(results)], ignore_index=True)


def without_each(results: pd.DataFrame, recipe: str, runtime: str, which: str = "large") -> pd.DataFrame:
    """A recipe beside itself without one of its steps, wherever that was run.

    A distillation is also left out by fine-tuning for as many epochs, and the runtime by executing in eager.

    Returns
    -------
    DataFrame
        Columns `dataset`, `model`, `left_out` ("nothing" for the recipe itself), `recipe`, `runtime`, `cpu_ratio` and
        `points_lost` with intervals over the seeds, `macs` and `seeds`.
    """
    steps = steps_of(recipe)
    wanted = {(recipe, runtime): "nothing"}
    for index, step in enumerate(steps):
        rest = " > ".join([*steps[:index], *steps[index + 1 :]]) or BASELINE
        wanted[rest, runtime] = step_label(step)
        if step.startswith("distill("):
            wanted[" > ".join([*steps[:index], _fine_tuned(step), *steps[index + 1 :]]), runtime] = "the teacher"
    wanted.setdefault((recipe, REFERENCE_RUNTIME), f"{runtime}, in eager")
    rows = succeeded(at_batch(results, which))
    names = [wanted.get(variant) for variant in zip(rows.recipe, rows.runtime, strict=True)]
    rows = rows.assign(left_out=names, factor=1.0).dropna(subset="left_out")
    if rows.empty or recipe == BASELINE:
        return pd.DataFrame()
    table = _summary(rows, [*CELL, "left_out", "recipe", "runtime"]).drop(
        columns=["factor", "factor_low", "factor_high"]
    )
    order = list(wanted.values())
    return table.sort_values("left_out", key=lambda names: names.map(order.index), kind="stable", ignore_index=True)


def _fine_tuned(step: str) -> str:
    """The fine-tuning of a distillation's epochs and learning rate."""
    _, arguments = split_step(step)
    return f"finetune({', '.join([arguments[0], *arguments[3:4]])})"


def _summary(rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    table = over_seeds(rows, "cpu_ratio", by, geometric=True)
    table = table.rename(columns={"low": "cpu_ratio_low", "high": "cpu_ratio_high"})
    for name, value, geometric in (("factor", "factor", True), ("points_lost", "accuracy_drop", False)):
        part = over_seeds(rows, value, by, geometric=geometric).drop(columns="seeds")
        ends = {value: name, "low": f"{name}_low", "high": f"{name}_high"}
        table = table.merge(part.rename(columns=ends), on=by, how="left")
    return table.merge(rows.groupby(by, sort=False, as_index=False).macs.mean(), on=by)


def criteria(results: pd.DataFrame) -> pd.DataFrame:
    """Accuracy after removal by each criterion of importance, at equal multiply-adds, beside removal at random.

    Returns
    -------
    DataFrame
        Columns `dataset`, `model`, `ratio`, `criterion`, `training` (one of `TRAININGS`), `points_lost` with its
        interval over the seeds, `macs` and `seeds`; of the ratio at which random removal was run.
    """
    rows = succeeded(at_batch(results))
    rows = rows[rows.runtime == REFERENCE_RUNTIME]
    found = [_removal(recipe) for recipe in rows.recipe]
    rows = rows.assign(
        criterion=[f[0] for f in found], ratio=[f[1] for f in found], training=[f[2] for f in found], factor=1.0
    ).dropna(subset="criterion")
    rows = rows[rows.ratio.isin(rows.loc[rows.criterion == "random", "ratio"])]
    if rows.empty:
        return pd.DataFrame()
    table = _summary(rows, [*CELL, "ratio", "criterion", "training"])
    return table.drop(columns=[name for name in table if str(name).startswith(("factor", "cpu_ratio"))])


def _removal(recipe: str) -> tuple[str | None, float, str]:
    """Criterion, ratio and training of a recipe that removes one share and at most trains after it; None of others."""
    (name, arguments), *after = [split_step(step) for step in steps_of(recipe)] or [("", [])]
    trained = [TRAINED.get(method) for method, _ in after] or ["as pruned"]
    if name != "prune" or len(arguments) != 2 or len(trained) > 1 or trained[0] is None:
        return None, np.nan, ""
    return arguments[0], float(arguments[1]), trained[0]
