"""What pruning costs in accuracy and saves in time."""

from __future__ import annotations

import pandas as pd

from tsc_lib.analysis.findings.wording import bullets, counted, number, span
from tsc_lib.analysis.strategies import MASKS, REFERENCE_RUNTIME, REMOVAL
from tsc_lib.analysis.tables import learned, strategy_table

NOTHING = "This profile prunes nothing."


def _pruned(results: pd.DataFrame, which: str = "large") -> pd.DataFrame:
    table = strategy_table(results, which)
    return table[table.family.isin([MASKS, REMOVAL]) & (table.runtime == REFERENCE_RUNTIME)]


def pruned_accuracy(results: pd.DataFrame) -> str:
    """Points lost at every ratio, as pruned and after fine-tuning."""
    table = _pruned(learned(results))
    if table.empty:
        return NOTHING
    lines = []
    for (family, ratio), part in table.groupby(["family", "ratio"], observed=True):
        text = f"**{family}, {100 * ratio:g} %**: "
        pieces = []
        for tuned, name in ((False, "as pruned"), (True, "after fine-tuning")):
            lost = part.loc[part.tuned == tuned, "points_lost"]
            if len(lost):
                pieces.append(f"{number(lost.mean())} points lost on average {name} ({span(lost)})")
        lines.append(text + "; ".join(pieces) + ".")
    return bullets([*lines, *_norms(table)])


def _norms(table: pd.DataFrame) -> list[str]:
    keys = ["dataset", "model", "family", "ratio", "tuned"]
    both = table[table.norm == "l1"].merge(table[table.norm == "l2"], on=keys, suffixes=("", "_l2"))
    if both.empty:
        return []
    gap = both.points_lost - both.points_lost_l2
    return [
        f"**L1 against L2**: L1 loses {number(gap.mean())} points more on average ({span(gap)}), "
        f"over {counted(len(gap), 'comparison')}."
    ]


def pruned_time(results: pd.DataFrame) -> str:
    """CPU time relative to the unpruned model, masks and removal."""
    table = _pruned(results)
    if table.empty:
        return NOTHING
    lines = []
    for (family, ratio), part in table.groupby(["family", "ratio"], observed=True):
        text = f"**{family}, {100 * ratio:g} %**: {span(part.cpu_ratio, 2)} of the CPU time at the large batch"
        if family == REMOVAL:
            text += f", that is {span(1 / part.cpu_ratio)} times as fast"
        lines.append(f"{text}.")
    return bullets(lines)


def masks_and_removal(evidence: pd.DataFrame) -> str:
    """What the two strategies changed, from the evidence that every step leaves."""
    lines = []
    for name, family in (("mask", MASKS), ("prune", REMOVAL)):
        steps = evidence[evidence.step.str.startswith(f"{name}(")]
        if steps.empty:
            continue
        zeros = 100 * (1 - steps.nonzero_after / steps.nonzero_before)
        params = 100 * (1 - steps.params_after / steps.params_before)
        macs = 100 * (1 - steps.macs_after / steps.macs_before)
        lines.append(
            f"**{family}**: {span(zeros)} % fewer non-zero parameters, {span(params)} % fewer parameters, "
            f"{span(macs)} % fewer multiply-adds."
        )
    return bullets(lines) or NOTHING


def removal(removed: pd.DataFrame, recipe: str) -> str:
    """How much a removal took out of every layer."""
    part = removed[removed.recipe == recipe] if len(removed) else removed
    if part.empty:
        return f"This profile does not run `{recipe}`."
    kept = part.groupby(["dataset", "model", "seed", "part", "layer"]).kept.mean()
    shares = kept.groupby("part").agg(["min", "max"])
    text = "; ".join(
        f"{span(pd.Series([100 * row['min'], 100 * row['max']]), 0)} % of the {name} of every layer are kept"
        for name, row in shares.iterrows()
    )
    return f"{text[0].upper()}{text[1:]}: each layer is pruned by itself, so that none disappears."
