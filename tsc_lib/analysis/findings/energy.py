"""What inference costs, what strategies save, and what became of the claims."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tsc_lib.analysis.findings.wording import bullets, counted, interval, listed, number, saving, span
from tsc_lib.analysis.strategies import BASELINE
from tsc_lib.analysis.tables import (
    CELL,
    PERMITTED_LOSS,
    at_batch,
    batch_name,
    batches,
    energy_table,
    learned,
    main_table,
    representatives,
    strategy_table,
    succeeded,
)
from tsc_lib.core.stats import pareto_front
from tsc_lib.energy import MEANING, same_source


def energy(results: pd.DataFrame) -> str:
    """Energy of an inference uncompressed, and its change by the representatives of every family."""
    table = energy_table(results)
    source = same_source(table.energy_source)
    base = table[table.family == BASELINE]
    lines = [
        f"Uncompressed, one inference takes {span(base.energy_mj_per_sample, 2)} mJ ({source}), by data set and model."
    ]
    for label, part in table[table.family != BASELINE].groupby("label", sort=False):
        saved = 100 * (1 - part.energy_ratio)
        lines.append(f"**{label}**: {saving(saved.mean())} on average (saved: {span(saved)} %).")
    net = base.net.dropna()
    if len(net):
        lines.append(f"Net of the idle machine's power, one uncompressed inference takes {span(net, 2)} mJ.")
    return bullets([*lines, *_warnings(representatives(results))])


def _warnings(rows: pd.DataFrame) -> list[str]:
    """What is to be doubted about the energies of some sessions."""
    said = rows.energy_warning.fillna("")
    return [f"{counted(int(n), 'variant')}: {warning}." for warning, n in said[said != ""].value_counts().items()]


def views(results: pd.DataFrame) -> str:
    """What the source's energy and the modelled one can and cannot show, and how far apart their verdicts are."""
    rows = representatives(results)
    source = str(same_source(rows.energy_source))
    lines = [
        f"**{name.capitalize()}** energy is {MEANING[name].origin}. {MEANING[name].limits}"
        for name in (source, "modelled")
    ]
    fp32 = rows[rows.family == BASELINE].groupby([*CELL, "seed"]).energy_modelled_mj_per_sample.mean().rename("fp32")
    joined = rows.join(fp32, on=[*CELL, "seed"])
    for label, part in joined[joined.family != BASELINE].groupby("label", sort=False):
        ours = 100 * (1 - np.exp(np.log(part.energy_ratio).mean()))
        theirs = 100 * (1 - np.exp(np.log(part.energy_modelled_mj_per_sample / part.fp32).mean()))
        lines.append(f"**{label}**: {saving(ours)} {source}, {saving(theirs)} modelled.")
    return bullets(lines)


def trade(results: pd.DataFrame) -> str:
    """For every data set and model that learned, the variant that saves most while losing hardly any accuracy."""
    table = strategy_table(learned(results))
    lines = []
    for (dataset, model), part in table.groupby(CELL, sort=False):
        kept = part[(part.points_lost <= PERMITTED_LOSS) & (part.family != BASELINE) & (part.cpu_ratio < 1)]
        if kept.empty:
            lines.append(f"**{dataset}, {model}**: nothing saves time within {PERMITTED_LOSS:g} point of accuracy.")
            continue
        best = kept.loc[kept.cpu_ratio.idxmin()]
        low, high = (100 * (1 - best[end]) for end in ("cpu_ratio_high", "cpu_ratio_low"))
        saved = interval(100 * (1 - best.cpu_ratio), low, high)
        lost = interval(best.points_lost, best.points_lost_low, best.points_lost_high)
        lines.append(f"**{dataset}, {model}**: {best.label} saves {saved} % of the CPU time and loses {lost} points.")
    return bullets(lines) + "\n\nThe best is picked with hindsight among many, so expect a little less of it elsewhere."


def control(results: pd.DataFrame) -> str:
    """How far the A/A control is from 1."""
    lines = []
    for which in batches(results):
        part = succeeded(at_batch(results, which)).drop_duplicates([*CELL, "seed"])
        off = 100 * (part.aa_ratio - 1).abs()
        holds = ((part.aa_ratio_low <= 1) & (part.aa_ratio_high >= 1)).mean()
        lines.append(
            f"**{batch_name(part).capitalize()}**: the model measured against itself is off by at most "
            f"{off.max():.1f} % (median {off.median():.1f} %) over {counted(len(part), 'session')}, and "
            f"{100 * holds:.0f} % of the intervals hold 1; {counted(int((off > 3).sum()), 'session')} beyond 3 %."
        )
    return bullets(lines)


def front(results: pd.DataFrame) -> str:
    """Which strategies make up the fronts."""
    table = strategy_table(results)
    on = np.concatenate(
        [pareto_front(part.cpu_ms_per_sample, part.accuracy) for _, part in table.groupby("dataset", sort=False)]
    )
    members = table[on]
    counts = members.family.value_counts()
    names = listed(f"{family} {n}" for family, n in counts[counts > 0].items())
    plain = members[members.family == BASELINE]
    text = (
        f"{counted(len(members), 'variant')} on the fronts of {counted(table.dataset.nunique(), 'data set')}: {names}."
    )
    if plain.empty:
        return f"{text} Uncompressed eager fp32 is on none: something is always both cheaper and at least as accurate."
    return f"{text} Uncompressed eager fp32 is on the front of {listed(plain.dataset.unique())}."


def study_table(results: pd.DataFrame) -> str:
    """The main table in words: average loss and saving of each of the study's strategies."""
    table = main_table(results)
    table = table[table.family != BASELINE]
    return bullets(
        f"**{label}**: {number(part.points_lost.mean())} points lost, "
        f"{saving(100 * (1 - part.cpu_ratio.mean()))} in CPU time, "
        f"on average over {counted(len(part), 'pair')} of data set and model."
        for label, part in table.groupby("label", sort=False)
    )


def claims(judged: pd.DataFrame) -> str:
    """How many claims got which verdict."""
    counts = judged.verdict.value_counts()
    tested = listed(f"{n} {verdict}" for verdict, n in counts.items())
    return f"Of {counted(len(judged), 'claim')}: {tested}."


def claims_table(judged: pd.DataFrame) -> str:
    """The claims, the published values and ours, the verdicts and why, as a Markdown table."""
    lines = ["| claim | published | ours [95 %] | verdict | why |", "| --- | ---: | ---: | --- | --- |"]
    for row in judged.itertuples():
        ours = "-" if np.isnan(row.ours) else interval(row.ours, row.ours_low, row.ours_high)
        published = f"{row.published:g} {row.unit}"
        lines.append(f"| {row.claim} ({row.source}) | {published} | {ours} | **{row.verdict}** | {row.why} |")
    return "\n".join(lines)
