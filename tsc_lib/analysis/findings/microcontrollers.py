"""What fits into a microcontroller, and whether it answers there as it does here."""

from __future__ import annotations

import pandas as pd

from tsc_lib.analysis.microcontrollers import SMALL_KB
from tsc_lib.analysis.quantities import PERMITTED_LOSS
from tsc_lib.analysis.wording import bullet_list, format_estimate, join_items, pluralize
from tsc_lib.microcontroller import find_missing

NOTHING = "The profile names nothing to execute on microcontrollers."


def agreement(table: pd.DataFrame) -> str:
    """How far logits are from this machine's, and what did not run, with its reason."""
    if table.empty:
        missing = find_missing()
        return f"Nothing is shown, because {missing}." if missing else NOTHING
    ran, lines = table[table.status == "ok"], []
    if not ran.empty:
        lines.append(
            f"{pluralize(len(ran), 'program')} ran on {join_items(ran.processor.unique())}; no logit is further from "
            f"this machine's than {ran.largest_difference.max():.1e}, or "
            f"{ran.largest_relative_difference.max():.1e} relative to 1 + its size."
        )
    for row in table[table.status != "ok"].itertuples():
        where = "" if pd.isna(row.processor) else f" on {row.processor}"
        lines.append(f"{row.model}, `{row.recipe}`, of {row.dataset}, seed {row.seed}{where} {row.status}.")
    return bullet_list(lines)


def fitting(summary: pd.DataFrame) -> str:
    """For each data set what takes least RAM of all that is within a point of the first variant, and fits.

    It is told of the first processor; memory hardly differs on the others.
    """
    if summary.empty:
        return "No model ran on a microcontroller."
    ram, flash = SMALL_KB["ram_kb"], SMALL_KB["flash_kb"]
    lines = []
    processor = summary.processor.iloc[0]
    for dataset, part in summary[summary.processor == processor].groupby("dataset", sort=False):
        first = part.iloc[0]
        kept = part[part.accuracy >= first.accuracy - PERMITTED_LOSS]
        small = kept[(kept.ram_kb <= ram) & (kept.flash_kb <= flash)].sort_values("ram_kb")
        text = f"`{first.variant}` is right for {format_estimate(first, 'accuracy')} %. "
        loss = f"loses at most {PERMITTED_LOSS:g} point of it"
        if small.empty:
            text += f"Nothing that {loss} fits into {flash} kB of flash and {ram} kB of RAM"
        else:
            best = small.iloc[0]
            text += (
                f"Of what {loss}, `{best.variant}` takes least RAM: {best.ram_kb:.1f} kB, with {best.flash_kb:.0f} kB "
                f"of flash, {format_estimate(best, 'accuracy')} % and {best.instructions / 1e6:.2f} million "
                "instructions a series"
            )
            if pd.notna(best.modelled_mj):
                text += f", modelled as {best.modelled_ms:.1f} ms and {best.modelled_mj:.2f} mJ"
        lines.append(f"**{dataset}** on {processor}: {text}.")
    return bullet_list(lines)
