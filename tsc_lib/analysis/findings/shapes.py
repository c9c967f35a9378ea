"""Which size of a transformer, and which option of its training, earns its place."""

from __future__ import annotations

import pandas as pd

from tsc_lib.analysis.wording import bullet_list, format_estimate, join_items, pluralize


def shapes(summary: pd.DataFrame) -> str:
    """What the cheapest and the most accurate shape of each front have, and whether the data tell them apart."""
    lines = []
    for (dataset, size), part in summary[summary.on_front].groupby(["dataset", "batch_size"], sort=False):
        ordered = part.sort_values("cpu_us_per_sample")
        cheapest, best = ordered.iloc[0], ordered.iloc[-1]
        if len(ordered) == 1:
            text = f"`{best.sizes}` is cheapest and most accurate"
        else:
            times = best.cpu_us_per_sample / cheapest.cpu_us_per_sample
            apart = best.accuracy_valid_low > cheapest.accuracy_valid_high
            text = (
                f"`{best.sizes}` is most accurate, {best.accuracy_valid:.1f} %, at {times:.1f} times the CPU time of "
                f"`{cheapest.sizes}`, {cheapest.accuracy_valid:.1f} %; their intervals "
                + ("lie apart" if apart else "overlap, so another seed may turn them round")
            )
        lines.append(f"**{dataset}, batches of {size}**: {text}.")
    return bullet_list(lines) or "No shape was trained and measured."


def training_options(summary: pd.DataFrame) -> str:
    """Which options of a training surely help or harm, and how many cannot be told."""
    if summary.empty:
        return "No option of the training was tried."
    lines = []
    for switched, what in (("off", "switched off"), ("on", "added")):
        part = summary[summary.switched == switched]
        sure = part[(part.points_low > 0) | (part.points_high < 0)]
        each = [f"{row.option} {format_estimate(row, 'points')}" for row in sure.itertuples()]
        told = join_items(each) if each else "none is sure to change it"
        rest = len(part) - len(sure)
        lines.append(
            f"Options that were {what}, in points of validation accuracy: {told}"
            + (f"; {pluralize(rest, 'other')} may be chance." if rest else ".")
        )
    return bullet_list(lines)
