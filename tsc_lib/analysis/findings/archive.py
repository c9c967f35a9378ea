"""What a whole archive tells: savings and losses, wins against classics, and where a transformer is wrong."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from tsc_lib.analysis.archive import FEWEST, TRAITS, summarize_savings
from tsc_lib.analysis.quantities import PERMITTED_LOSS, TARGETS
from tsc_lib.analysis.ranking import LEVEL, Ranking, count_wins, fewest_datasets
from tsc_lib.analysis.wording import bullet_list, format_number, join_items, pluralize

MANY = 12
"""Names that a list has at most; of more their number is told."""


def archive_overview(results: pd.DataFrame, models: pd.DataFrame) -> str:
    """How many data sets there are, and what could not be had, with its reason."""
    statuses = pd.concat([results[["dataset", "status"]], models[["dataset", "status"]]])
    done = statuses[statuses.status == "ok"].dataset.nunique()
    lines = [f"{pluralize(done, 'data set')} of {statuses.dataset.nunique()} have results."]
    failed = statuses[statuses.status != "ok"].drop_duplicates()
    for status, part in failed.groupby("status", sort=False):
        lines.append(f"{_name(part.dataset.unique())}: {status}.")
    return bullet_list(lines)


def archive_processors(processors: Iterable[str]) -> str:
    """On which processors the sessions were measured, and what that means for their ratios."""
    counts = pd.Series(list(processors), dtype=object).value_counts()
    if counts.empty:
        return "No session was measured."
    named = join_items(f"{name} ({pluralize(count, 'session')})" for name, count in counts.items())
    text = f"Measured on {named}."
    if len(counts) > 1:
        text += " The tables join several processors: each ratio is of one session on one of them."
    return text


def savings_over_datasets(savings: pd.DataFrame) -> str:
    """What each strategy saves and loses over the data sets, and where it loses more than a point."""
    lines = []
    for row in summarize_savings(savings).itertuples() if len(savings) else ():
        part = savings[savings.strategy == row.strategy]
        left = [f"{100 * value:.3g}" for value in (row.cpu_ratio, row.cpu_ratio_low, row.cpu_ratio_high)]
        text = f"**{row.strategy}**: {left[0]} % of the CPU time is left (median; quartiles {left[1]} and {left[2]}), "
        text += f"{format_number(row.points_lost)} points are lost; at most {PERMITTED_LOSS:g} on {row.within} of "
        text += pluralize(row.datasets, "data set")
        if len(more := part.dataset[part.points_lost > PERMITTED_LOSS].unique()):
            text += f", more on {_name(more)}"
        if row.small_too:
            text += f"; with at most 1/{TARGETS['large']} of the CPU time left, too, on {row.small_too}"
        lines.append(f"{text}.")
    return bullet_list(lines) or "No strategy was measured."


def beside_classics(pairs: pd.DataFrame, ranking: Ranking | None) -> str:
    """Wins, draws and losses against each classic, with the test over data sets, accuracy and CPU time."""
    lines = []
    for classic, part in pairs.groupby("classic", sort=False):
        won, drawn, lost = count_wins(part.points)
        text = f"**Against {classic}** {part.ours.iloc[0]} wins {won}, draws {drawn} and loses {lost} "
        text += f"of {len(part)}; median accuracy {part.accuracy.median():.1f} against "
        text += f"{part.classic_accuracy.median():.1f} %"
        if len(ratios := part.cpu_ratio.dropna()):
            text += f", median CPU time {100 * ratios.median():.3g} % of the classic's"
        lines.append(f"{text}; {_tell_pair(ranking, part.ours.iloc[0], str(classic))}.")
    return bullet_list(lines) or "There is no classic to set beside a transformer."


def _tell_pair(ranking: Ranking | None, ours: str, classic: str) -> str:
    if ranking is None or ranking.datasets < fewest_datasets(2):
        return "too few data sets for a test"
    pairs = ranking.pairs
    p = pairs.p_holm[pairs["first"].isin([ours, classic]) & pairs.second.isin([ours, classic])].iloc[0]
    return (
        f"p = {p:.2g} by Wilcoxon's test after Holm's correction, so they are {'' if p < LEVEL else 'not '}told apart"
    )


def ranks_and_energy(table: pd.DataFrame) -> str:
    """Which contenders none beats in both accuracy and energy."""
    front = table[table.front].sort_values("energy_ratio")
    if front.empty:
        return "No contender was measured."
    each = [f"{row.name} (rank {row.rank:.2f}, {100 * row.energy_ratio:.3g} %)" for row in front.itertuples(name="Row")]
    others = table.name[~table.front]
    text = f"None is better in both than {join_items(each)}."
    return text + (f" Beaten in both are {join_items(others)}." if len(others) else "")


def where_wrong(table: pd.DataFrame, correlations: pd.DataFrame) -> str:
    """Where a classic is better than our transformer by more than a point, and what of a data set tells it."""
    lines = []
    for classic, part in table.groupby("classic", sort=False):
        wrong = part[part.points < -PERMITTED_LOSS].sort_values("points").dataset
        what = f"better than {part.ours.iloc[0]} by more than {PERMITTED_LOSS:g} point"
        lines.append(f"**{classic}** is {what} on {_name(wrong) if len(wrong) else 'none'}.")
    sure = correlations[correlations.p_holm < LEVEL]
    for row in sure.itertuples():
        more = "more" if row.rho > 0 else "less"
        lines.append(
            f"The more {TRAITS[row.trait]}, the {more} the transformer gains on {row.classic}: Spearman's correlation "
            f"is {row.rho:.2f} over {row.datasets} data sets (p = {row.p_holm:.2g} after Holm)."
        )
    if table.empty:
        return "There is no classic to set beside a transformer."
    if correlations.empty:
        lines.append(f"With fewer than {FEWEST} data sets no trait of them is tested.")
    elif sure.empty:
        lines.append(f"None of {join_items(TRAITS.values())} tells it surely on these data sets.")
    return bullet_list(lines)


def promises_kept(gaps: pd.DataFrame, promises: pd.DataFrame) -> str:
    """How far validation was from test, and how often what a search promised of its pick held."""
    lines = []
    for model, part in gaps.groupby("model", sort=False):
        low, middle, high = part.points.quantile([0.25, 0.5, 0.75])
        lines.append(
            f"**{model}**: validation is {format_number(middle)} points above test in the median over "
            f"{pluralize(len(part), 'trained model')} (quartiles {format_number(low)} and {format_number(high)})."
        )
    known = promises.dropna(subset=["bound", "test_drop"])
    if len(known):
        kept = int((known.test_drop <= known.bound).sum())
        within = int((known.test_drop <= known["drop"] + PERMITTED_LOSS).sum())
        lines.append(
            f"Of {pluralize(len(known), 'search', 'searches')}, {kept} lost no more on test than the bound that was "
            f"promised, and {within} at most {PERMITTED_LOSS:g} point more than what was lost on the series that chose "
            "nothing."
        )
    else:
        lines.append("No search has finished in these outputs; `benchmarks/promises.py` runs them over many data sets.")
    return bullet_list(lines)


def _name(datasets: Iterable[str]) -> str:
    names = list(datasets)
    return join_items(names) if len(names) <= MANY else pluralize(len(names), "data set")
