"""What strategies save together, and which of them saves it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from tsc_lib.analysis.ablation import way_to, without_each
from tsc_lib.analysis.quantities import PERMITTED_LOSS, TARGETS, add_times_less, average, average_ratio
from tsc_lib.analysis.rows import (
    CASE_KEYS,
    RUN_KEYS,
    batch_kinds,
    drop_failures,
    name_batches,
    select_batch,
    select_variant,
)
from tsc_lib.analysis.tables import strategy_table
from tsc_lib.analysis.wording import bullet_list, format_estimate, format_number, format_range, markdown_table
from tsc_lib.compress import BASELINE, REFERENCE, Variant

UNRUN = "This profile names no recipe to take apart, or it failed."


def ablated_variant(variant: Variant) -> str:
    """Which variant the other functions are about."""
    if variant.recipe == BASELINE:
        return UNRUN
    return f"The recipe that is taken apart below is `{variant.recipe}` in {variant.runtime}."


def combined_savings(results: pd.DataFrame, lost: pd.DataFrame, variant: Variant) -> str:
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
    rows = []
    for which in batch_kinds(results) if variant.recipe != BASELINE else ():
        sized = select_batch(results, which)
        table = strategy_table(results, which)
        table = table.drop(columns=[name for name in lost if name not in CASE_KEYS]).merge(lost, on=CASE_KEYS)
        for row in add_times_less(select_variant(table, variant), "cpu_ratio").itertuples():
            size, aim = name_batches(sized[sized.dataset == row.dataset]), TARGETS[which]
            found = [format_estimate(row, "times"), format_estimate(row, "points_lost")]
            wanted = f"{aim}, at most {PERMITTED_LOSS:g}"
            rows.append([row.dataset, row.model, size, *found, wanted, _verdict(row, aim)])
    head = "data set | model | batch | times less CPU time [95 %]: | points lost [95 %]: | aim: | verdict"
    return markdown_table(head, rows) if rows else UNRUN


def _verdict(row: Any, aim: int) -> str:
    fast, kept = row.times >= aim, row.points_lost <= PERMITTED_LOSS
    if fast and kept:
        sure = {"saving": row.times_low >= aim, "accuracy": row.points_lost_high <= PERMITTED_LOSS}
        doubts = [name for name, holds in sure.items() if not holds]
        return f"reached on average, though not beyond doubt in {' and '.join(doubts)}" if doubts else "**reached**"
    held = {f"less than {aim} times": fast, f"more than {PERMITTED_LOSS:g} point": kept}
    return f"**not reached** ({' and '.join(text for text, holds in held.items() if not holds)})"


def product_of_savings(results: pd.DataFrame, variant: Variant) -> str:
    """Whether the savings of the runtime and of the recipe, each by itself, multiply to what both save together."""
    rows = drop_failures(select_batch(results)).set_index(RUN_KEYS)
    recipe, runtime = variant.recipe, variant.runtime
    alone = {"runtime": Variant(BASELINE, runtime), "recipe": Variant(recipe, REFERENCE.runtime)}
    ratios = {name: select_variant(rows, each).cpu_ratio for name, each in {**alone, "both": variant}.items()}
    together = pd.DataFrame(ratios).dropna()
    if together.empty or recipe == BASELINE:
        return UNRUN
    together["share"] = together.both / (together.runtime * together.recipe)
    share = average_ratio(together.reset_index(), "share")
    return (
        f"{runtime} alone leaves {format_range(together.runtime, 2)} of the CPU time, the recipe alone in eager "
        f"{format_range(together.recipe, 3)}, both {format_range(together.both, 3)}: {format_number(share, 2)} of the "
        f"product of the two in the geometric mean ({format_range(together.share, 2)}), "
        f"{'less than' if share < 1 else 'more than'} independent savings would leave."
    )


def savings_by_step(results: pd.DataFrame, variant: Variant) -> str:
    """By which factor each step divides CPU time at the large batch: geometric means over data sets and models."""
    table = way_to(results, variant)
    if table.empty:
        return UNRUN
    return bullet_list(
        f"**{step}**: {format_number(1 / average_ratio(part, 'factor'))} times less ({format_range(1 / part.factor)})."
        for step, part in table[table.position > 0].groupby("step", sort=False)
    )


def ablation(results: pd.DataFrame, variant: Variant) -> str:
    """What is lost without each step: the mean of points, the geometric mean of CPU time, over data sets and models."""
    table = without_each(results, variant)
    if table.empty:
        return UNRUN
    both = table.merge(table[table.left_out == "nothing"], on=CASE_KEYS, suffixes=("", "_whole"))
    both = both.assign(points=both.points_lost - both.points_lost_whole, factor=both.cpu_ratio / both.cpu_ratio_whole)
    lines = [
        f"**Without {name}**: {format_number(average(part, 'points'))} points more lost ({format_range(part.points)}) "
        f"and {format_number(average_ratio(part, 'factor'))} times the CPU time."
        for name, part in both[both.left_out != "nothing"].groupby("left_out", sort=False)
    ]
    return bullet_list(lines) or "Nothing of the recipe was left out in this profile."


def criteria(table: pd.DataFrame) -> str:
    """How much less accuracy each criterion costs than removal at random, mean over data sets and models."""
    if table.empty:
        return "This profile does not compare criteria of importance."
    keys = [*CASE_KEYS, "training"]
    both = table.merge(table[table.criterion == "random"], on=keys, suffixes=("", "_random"))
    both = both[both.criterion != "random"].assign(gain=lambda rows: rows.points_lost_random - rows.points_lost)
    return bullet_list(
        f"**{criterion}, {training}**: {format_number(average(part, 'gain'))} points better than random "
        f"({format_range(part.gain)})."
        for (training, criterion), part in both.dropna(subset="gain").groupby(["training", "criterion"], sort=False)
    )
