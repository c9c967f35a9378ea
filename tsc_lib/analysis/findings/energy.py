"""What inference costs and what strategies save."""

from __future__ import annotations

import pandas as pd

from tsc_lib.analysis.quantities import (
    PERMITTED_LOSS,
    average,
    average_ratio,
    best_within,
    control_deviations,
    find_fronts,
    percent_saved,
)
from tsc_lib.analysis.rows import CASE_KEYS, batch_kinds, drop_collapsed, drop_failures, name_batches, select_batch
from tsc_lib.analysis.tables import main_table, representatives, strategy_table
from tsc_lib.analysis.wording import (
    bullet_list,
    format_estimate,
    format_interval,
    format_number,
    format_range,
    format_saving,
    join_items,
    markdown_table,
    pluralize,
)
from tsc_lib.compress import REFERENCE, Family
from tsc_lib.energy import MEANING, require_same_source


def energy(results: pd.DataFrame) -> str:
    """Energy of an inference uncompressed, and what the representatives of every family save, in geometric means.

    The savings are of eager fp32; beside those in other runtimes stands what is saved of fp32 there.
    """
    table = representatives(results)
    base = table[table.family == Family.BASELINE]
    lines = [
        f"Uncompressed, one inference takes {format_range(base.energy_mj_per_sample, 2)} mJ "
        f"({require_same_source(table.energy_source)}), by data set and model."
    ]
    for label, part in table[table.family != Family.BASELINE].groupby("label", sort=False):
        saved = percent_saved(average_ratio(part, "energy_ratio"))
        each = format_range(percent_saved(part.energy_ratio))
        text = f"**{label}**: {format_saving(saved)} in the geometric mean (saved: {each} %)"
        inside = part.dropna(subset="energy_ratio_to_fp32")
        inside = inside[(inside.recipe != "baseline") & (inside.runtime != REFERENCE.runtime)]
        if len(inside):
            saved = percent_saved(average_ratio(inside, "energy_ratio_to_fp32"))
            text += f"; against fp32 in {inside.runtime.iloc[0]} it {format_saving(saved)}"
        lines.append(f"{text}.")
    net = base.energy_net_mj_per_sample.dropna()
    if len(net):
        lines.append(f"Net of the idle machine's power, one uncompressed inference takes {format_range(net, 2)} mJ.")
    doubts = drop_failures(select_batch(results)).energy_warning.fillna("")
    counts = doubts[doubts != ""].value_counts()
    return bullet_list([*lines, *(f"{pluralize(int(n), 'row')}: {warning}." for warning, n in counts.items())])


def energy_and_model(results: pd.DataFrame) -> str:
    """What the source's energy and the modelled one can and cannot show, and how far apart their verdicts are."""
    table = representatives(results)
    source = str(require_same_source(table.energy_source))
    lines = [
        f"**{name.capitalize()}** energy is {MEANING[name].origin}. {MEANING[name].limits}"
        for name in (source, "modelled")
    ]
    lines.append("The savings below are geometric means over data sets, models and seeds.")
    for label, part in table[table.family != Family.BASELINE].groupby("label", sort=False):
        ours, theirs = (percent_saved(average_ratio(part, name)) for name in ("energy_ratio", "modelled_ratio"))
        lines.append(f"**{label}**: {format_saving(ours)} {source}, {format_saving(theirs)} modelled.")
    return bullet_list(lines)


def best_within_a_point(results: pd.DataFrame) -> str:
    """For every data set and model that learned, the variant that saves most while losing hardly any accuracy."""
    table = strategy_table(drop_collapsed(results))
    found = best_table(table) or f"Nothing surely saves energy within {PERMITTED_LOSS:g} point of accuracy."
    return f"{found}\n\nThe best is picked with hindsight among many, so expect a little less of it elsewhere."


def best_table(table: pd.DataFrame) -> str:
    """What `best_within` finds in a `strategy_table`, in Markdown; empty if that is nothing."""
    base = table[table.family == Family.BASELINE].set_index(CASE_KEYS)
    rows = []
    for row in best_within(table).itertuples():
        plain = base.loc[(row.dataset, row.model)]
        low, high = percent_saved(row.energy_ratio_high), percent_saved(row.energy_ratio_low)
        saved = format_interval(percent_saved(row.energy_ratio), low, high)
        lost = format_estimate(row, "points_lost")
        sizes = [row.seeds, f"{plain.accuracy:.1f}", f"{plain.energy_mj_per_sample:.3g}"]
        rows.append([row.dataset, row.model, *sizes, row.label, saved, lost])
    head = f"data set | model | seeds: | accuracy, %: | mJ per series: | best within {PERMITTED_LOSS:g} point | "
    head += "% of energy saved, geometric mean [95 %]: | points lost, mean [95 %]:"
    return markdown_table(head, rows) if rows else ""


def control(results: pd.DataFrame) -> str:
    """How far the A/A control is from 1."""
    lines = []
    for which in batch_kinds(results):
        off = control_deviations(results, which)
        lines.append(
            f"**{name_batches(off).capitalize()}**: the model measured against itself is off by at most "
            f"{off.percent.max():.1f} % (median {off.percent.median():.1f} %) over {pluralize(len(off), 'session')}, "
            f"and {100 * off.holds.mean():.0f} % of the intervals hold 1; "
            f"{pluralize(int((off.percent > 3).sum()), 'session')} beyond 3 %."
        )
    return bullet_list(lines)


def pareto_members(results: pd.DataFrame) -> str:
    """Which strategies make up the fronts."""
    table = strategy_table(results)
    members = find_fronts(table, ["dataset"], "cpu_ms_per_sample")
    counts = members.family.value_counts()
    names = join_items(f"{family} {n}" for family, n in counts[counts > 0].items())
    plain = members[members.family == Family.BASELINE]
    sets = pluralize(table.dataset.nunique(), "data set")
    text = f"{pluralize(len(members), 'variant')} on the fronts of {sets}: {names}."
    if plain.empty:
        return f"{text} Uncompressed eager fp32 is on none: something is always both cheaper and at least as accurate."
    return f"{text} Uncompressed eager fp32 is on the front of {join_items(plain.dataset.unique())}."


def study_table(results: pd.DataFrame) -> str:
    """The main table in words: average loss and saving of each of the study's strategies."""
    table = main_table(results)
    return bullet_list(
        f"**{label}**: {format_number(average(part, 'points_lost'))} points lost (mean), "
        f"{format_saving(percent_saved(average_ratio(part, 'cpu_ratio')))} in CPU time (geometric mean), "
        f"over {pluralize(len(part), 'pair')} of data set and model."
        for label, part in table[table.family != Family.BASELINE].groupby("label", sort=False)
    )
