"""What pruning costs in accuracy and saves in time."""

from __future__ import annotations

import pandas as pd

from tsc_lib.analysis.quantities import average
from tsc_lib.analysis.rows import drop_collapsed
from tsc_lib.analysis.tables import keep_pruned, strategy_table
from tsc_lib.analysis.wording import bullet_list, format_number, format_range, pluralize
from tsc_lib.compress import Family

NOTHING = "This profile prunes nothing."


def pruning_accuracy(results: pd.DataFrame) -> str:
    """Points lost at every ratio, as pruned and after fine-tuning: means over data sets and models."""
    table = keep_pruned(strategy_table(drop_collapsed(results)))
    if table.empty:
        return NOTHING
    lines = []
    for (family, ratio), part in table.groupby(["family", "ratio"], observed=True):
        pieces = []
        for tuned, name in ((False, "as pruned"), (True, "after fine-tuning")):
            rows = part[part.tuned == tuned]
            if len(rows):
                lost = format_number(average(rows, "points_lost"))
                pieces.append(f"{lost} points lost on average {name} ({format_range(rows.points_lost)})")
        lines.append(f"**{family}, {100 * ratio:g} %**: {'; '.join(pieces)}.")
    keys = ["dataset", "model", "family", "ratio", "tuned"]
    both = table[table.norm == "l1"].merge(table[table.norm == "l2"], on=keys, suffixes=("", "_l2"))
    if len(both):
        both["gap"] = both.points_lost - both.points_lost_l2
        lines.append(
            f"**L1 against L2**: L1 loses {format_number(average(both, 'gap'))} points more on average "
            f"({format_range(both.gap)}), over {pluralize(len(both), 'comparison')}."
        )
    return bullet_list(lines)


def pruning_time(results: pd.DataFrame) -> str:
    """CPU time relative to the unpruned model, masks and removal."""
    table = keep_pruned(strategy_table(results))
    if table.empty:
        return NOTHING
    lines = []
    for (family, ratio), part in table.groupby(["family", "ratio"], observed=True):
        left = format_range(part.cpu_ratio, 2)
        fast = f", that is {format_range(1 / part.cpu_ratio)} times as fast" if family == Family.REMOVAL else ""
        lines.append(f"**{family}, {100 * ratio:g} %**: {left} of the CPU time at the large batch{fast}.")
    return bullet_list(lines)


def masks_and_removal(evidence: pd.DataFrame) -> str:
    """What the two strategies changed, from the evidence that every step leaves."""
    lines = []
    for name, family in (("mask", Family.MASKS), ("prune", Family.REMOVAL)):
        steps = evidence[evidence.step.str.startswith(f"{name}(")]
        if len(steps):
            fewer = {
                what: format_range(100 * (1 - steps[f"{what}_after"] / steps[f"{what}_before"]))
                for what in ("nonzero", "params", "macs")
            }
            lines.append(
                f"**{family}**: {fewer['nonzero']} % fewer non-zero parameters, {fewer['params']} % fewer parameters, "
                f"{fewer['macs']} % fewer multiply-adds."
            )
    return bullet_list(lines) or NOTHING


def removal(removed: pd.DataFrame, recipe: str) -> str:
    """How much a removal took out of every layer."""
    part = removed[removed.recipe == recipe] if len(removed) else removed
    if part.empty:
        return f"This profile does not run `{recipe}`."
    kept = 100 * part.groupby(["dataset", "model", "seed", "part", "layer"]).kept.mean()
    text = "; ".join(
        f"{format_range(shares, 0)} % of the {name} of every layer are kept" for name, shares in kept.groupby("part")
    )
    return f"{text[0].upper()}{text[1:]}: each layer is pruned by itself, so that none disappears."
