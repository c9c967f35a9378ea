"""What strategies save together, and which of them saves it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tsc_lib.analysis.ablation import way_to, without_each
from tsc_lib.analysis.findings.wording import bullets, interval, number, span
from tsc_lib.analysis.quantities import UNIT
from tsc_lib.analysis.strategies import rows_of
from tsc_lib.analysis.tables import CELL, PERMITTED_LOSS, at_batch, batch_name, batches, strategy_table, succeeded
from tsc_lib.compress import BASELINE, REFERENCE, Variant

TARGETS = {"large": 20, "small": 12}
"""How many times less CPU time than eager fp32 is aimed at, by kind of batch."""

UNRUN = "This profile names no recipe to take apart, or it failed."


def taken_apart(variant: Variant) -> str:
    """Which recipe the other functions are about."""
    if variant.recipe == BASELINE:
        return UNRUN
    return f"The recipe that is taken apart below is `{variant.recipe}` in {variant.runtime}."


def headline(results: pd.DataFrame, lost: pd.DataFrame, variant: Variant) -> str:
    """How far the recipe comes on every data set and model, and whether that is the aim, as a Markdown table.

    Parameters
    ----------
    results : DataFrame
        The results table.
    lost : DataFrame
        From `tsc_lib.study.Study.points_lost`: other test series are doubted as well as other seeds.
    variant : Variant
        Which.
    """
    lines = []
    for which in batches(results) if variant.recipe != BASELINE else ():
        rows = at_batch(results, which)
        table = strategy_table(results, which)
        table = table.drop(columns=[name for name in lost if name not in CELL]).merge(lost, on=CELL)
        for row in rows_of(table, variant).itertuples():
            times = interval(1 / row.cpu_ratio, 1 / row.cpu_ratio_high, 1 / row.cpu_ratio_low)
            points = interval(row.points_lost, row.points_lost_low, row.points_lost_high)
            size = batch_name(rows[rows.dataset == row.dataset])
            aim = f"{TARGETS[which]}, at most {PERMITTED_LOSS:g}"
            lines.append(
                f"| {row.dataset} | {row.model} | {size} | {times} | {points} | {aim} | {_verdict(row, which)} |"
            )
    if not lines:
        return UNRUN
    head = "| data set | model | batch | times less CPU time [95 %] | points lost [95 %] | aim | verdict |"
    return "\n".join([head, "| --- | --- | --- | ---: | ---: | ---: | --- |", *lines])


def _verdict(row: Any, which: str) -> str:
    times = TARGETS[which]
    fast, sure_fast = row.cpu_ratio <= 1 / times, row.cpu_ratio_high <= 1 / times
    kept, sure_kept = row.points_lost <= PERMITTED_LOSS, row.points_lost_high <= PERMITTED_LOSS
    if fast and kept:
        doubts = [name for name, sure in (("saving", sure_fast), ("accuracy", sure_kept)) if not sure]
        return f"reached on average, though not beyond doubt in {' and '.join(doubts)}" if doubts else "**reached**"
    missed = [
        text
        for text, holds in ((f"less than {times} times", fast), (f"more than {PERMITTED_LOSS:g} point", kept))
        if not holds
    ]
    return f"**not reached** ({' and '.join(missed)})"


def multiplied(results: pd.DataFrame, variant: Variant) -> str:
    """Whether the savings of the runtime and of the recipe, each by itself, multiply to what both save together."""
    rows = succeeded(at_batch(results)).set_index(UNIT)
    recipe, runtime = variant.recipe, variant.runtime
    alone = {"runtime": Variant(BASELINE, runtime), "recipe": Variant(recipe, REFERENCE.runtime)}
    ratios = {name: rows_of(rows, each).cpu_ratio for name, each in {**alone, "both": variant}.items()}
    together = pd.DataFrame(ratios).dropna()
    if together.empty or recipe == BASELINE:
        return UNRUN
    expected = together.runtime * together.recipe
    share = np.exp(np.log(together.both / expected).groupby(CELL).mean())
    return (
        f"{runtime} alone leaves {span(together.runtime, 2)} of the CPU time, the recipe alone in eager "
        f"{span(together.recipe, 3)}, both {span(together.both, 3)}: {span(share, 2)} of the product of the two, "
        f"{'less than' if share.mean() < 1 else 'more than'} independent savings would leave."
    )


def savings_by_step(results: pd.DataFrame, variant: Variant) -> str:
    """By which factor each step divides CPU time at the large batch, over data sets and models."""
    table = way_to(results, variant)
    if table.empty:
        return UNRUN
    lines = []
    for step, part in table[table.position > 0].groupby("step", sort=False):
        factor = 1 / np.exp(np.log(part.factor).mean())
        lines.append(f"**{step}**: {number(factor)} times less ({span(1 / part.factor)}).")
    return bullets(lines)


def ablation(results: pd.DataFrame, variant: Variant) -> str:
    """What is lost without each step, in points and in CPU time, on average over data sets and models."""
    table = without_each(results, variant)
    if table.empty:
        return UNRUN
    whole = table[table.left_out == "nothing"].set_index(CELL)
    lines = []
    for name, part in table[table.left_out != "nothing"].groupby("left_out", sort=False):
        both = part.set_index(CELL).join(whole, rsuffix="_whole", how="inner")
        points, factor = both.points_lost - both.points_lost_whole, both.cpu_ratio / both.cpu_ratio_whole
        lines.append(
            f"**Without {name}**: {number(points.mean())} points more lost ({span(points)}) and "
            f"{number(np.exp(np.log(factor).mean()))} times the CPU time."
        )
    return bullets(lines) or "Nothing of the recipe was left out in this profile."


def criteria(table: pd.DataFrame) -> str:
    """How much less accuracy each criterion costs than removal at random, on average over data sets and models."""
    if table.empty:
        return "This profile does not compare criteria of importance."
    keys = [*CELL, "training"]
    random = table[table.criterion == "random"].set_index(keys).points_lost
    lines = []
    for (training, criterion), part in table[table.criterion != "random"].groupby(
        ["training", "criterion"], sort=False
    ):
        gain = random.reindex(part.set_index(keys).index) - part.set_index(keys).points_lost
        if gain.notna().any():
            lines.append(
                f"**{criterion}, {training}**: {number(gain.mean())} points better than random ({span(gain)})."
            )
    return bullets(lines)
