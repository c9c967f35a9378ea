"""What became of the reproduced study: its tables beside ours, its claims, and what may be wrong with all of that."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tsc_lib.analysis.claims import NOT, REPRODUCED, SAME, UNTESTED
from tsc_lib.analysis.quantities import control_deviations
from tsc_lib.analysis.references import STUDY_COPIES, STUDY_DATASETS
from tsc_lib.analysis.reproduction import spread_over_seeds
from tsc_lib.analysis.rows import batch_kinds, name_batches, select_batch, select_reference
from tsc_lib.analysis.tables import strategy_table
from tsc_lib.analysis.wording import (
    bullet_list,
    format_estimate,
    format_number,
    format_range,
    join_items,
    markdown_table,
    pluralize,
)
from tsc_lib.energy import MEANING

NO_STUDY = "The published study comes with a checkout of the repository; here there is none."
NOTHING = "Nothing of this profile is stored on this machine: `make report PROFILE=…` runs it."

AGE = (
    "They were made with an earlier version of the code on an Intel processor, with validation series drawn at random, "
    "which now are blocks of neighbours in the training file. In that version inductor's int8 had coarser exponentials "
    "and matrix products that fp32 did not get. Both are gone, so the rows of inductor do not describe today's code"
)
"""What is to be known of the published tables' age."""

MEANINGLESS = "The profile *smoke* hardly trains its models; it shows that everything runs on this machine."
DEMONSTRATION = (
    "The profile *quick* has small data sets that come with aeon, and one seed: its numbers "
    "show how the study works, not what it finds."
)
OTHER_DATA = "These are not the study's data sets, so nothing here confirms or refutes what it found."
WORTH = {
    "smoke": ("danger", "These numbers mean nothing", MEANINGLESS),
    "quick": ("warning", "This is a demonstration", DEMONSTRATION),
}


def find_worth(profile: str, results: pd.DataFrame) -> tuple[str, str, str] | None:
    """What a run's numbers are worth: how grave that is, a title and a sentence; None if there is nothing to say."""
    if profile in WORTH:
        return WORTH[profile]
    if len(results) and not set(results.dataset) <= set(STUDY_DATASETS):
        return "note", "Other data", OTHER_DATA
    return None


def run_beside_study(profile: str, results: pd.DataFrame, judged: pd.DataFrame) -> str:
    """What a run's numbers are worth, and what it makes of each of the study's claims."""
    if not len(results):
        return NOTHING
    worth = find_worth(profile, results)
    said = [f"**{worth[1]}.** {worth[2]}"] if worth else []
    return "\n\n".join([*said, claims(judged), claims_explained(judged)])


def strategies_beside_study(table: pd.DataFrame) -> str:
    """Which of the study's strategies save time here too, and how much they lose, from `compare_strategies`."""
    if table.empty:
        return NO_STUDY
    lines = []
    for form, part in table.groupby("form", sort=False):
        ours = join_items(f"{format_estimate(row, 'saved')} % ({row.model})" for row in part.itertuples())
        lines.append(
            f"**{form}**: {format_range(part.their_saved, 0)} % of the time saved there, {ours} here; "
            f"{format_range(part.their_lost)} points lost there, {format_range(part.lost)} here."
        )
    return bullet_list(lines)


def claims(judged: pd.DataFrame) -> str:
    """How many claims got which verdict."""
    found = join_items(f"{n} {verdict}" for verdict, n in judged.verdict.value_counts().items())
    return f"{pluralize(judged.claim.nunique(), 'claim')}, those on costs judged in every runtime by itself: {found}."


def claims_table(judged: pd.DataFrame) -> str:
    """The claims, the published values and ours, the verdicts and why, as a Markdown table."""
    rows = [(f"{name_claim(row)} ({row.source})", *_verdict(row), row.why) for row in judged.itertuples()]
    return markdown_table("claim | published: | ours [95 %]: | verdict | why", rows)


def claims_explained(judged: pd.DataFrame) -> str:
    """Each claim with the published value, ours, the verdict, what it rests on and why, as a Markdown table.

    Parameters
    ----------
    judged : DataFrame
        From `tsc_lib.analysis.reproduction.explain_claims`.
    """
    if judged.empty:
        return NO_STUDY
    rows = [(name_claim(row), *_verdict(row), row.rests_on, row.because) for row in judged.itertuples()]
    return markdown_table("claim | the study: | ours [95 %]: | verdict | rests on | because", rows)


def name_claim(row: Any) -> str:
    """The claim of a row of verdicts, with the runtime where it is judged in each."""
    return f"{row.claim}, in {row.runtime}" if row.runtime else row.claim


def _verdict(row: Any) -> tuple[str, str, str]:
    """The published value of a claim, ours, and the verdict."""
    ours = "-" if np.isnan(row.ours) else format_estimate(row, "ours")
    return f"{row.published:g} {row.unit}", ours, f"**{row.verdict}**"


def answer_of_study(judged: pd.DataFrame) -> str:
    """How many of the values that could be tested came out as published."""
    if judged.empty:
        return NO_STUDY
    tested = judged[judged.ours.notna()]
    counts = {verdict: int((tested.verdict == verdict).sum()) for verdict in (REPRODUCED, SAME, NOT)}
    untested = pluralize(int((judged.verdict == UNTESTED).sum()), "claim")
    return (
        f"Of {pluralize(len(tested), 'tested value')}, {counts[REPRODUCED]} are reproduced, {counts[SAME]} go the same "
        f"direction at another size or on other data, and {counts[NOT]} do neither; {untested} could not be tested."
    )


def age_of_published(results: pd.DataFrame) -> str:
    """With what code the published tables were made."""
    return f"The published tables are not of today's code. {AGE}." if len(results) else NO_STUDY


def threats(results: pd.DataFrame) -> str:
    """What may be wrong with the results, each threat with how large it is, as far as the results tell."""
    if not len(results):
        return NO_STUDY
    rows = select_reference(select_batch(results))
    datasets, seeds = rows.dataset.nunique(), rows.seed.nunique()
    doubt = 50 * (rows.accuracy_high - rows.accuracy_low).groupby(rows.dataset).max()
    tried = strategy_table(results).groupby(["dataset", "model"]).size()
    scatter = spread_over_seeds(rows)
    trainings = "" if np.isnan(scatter) else f", and trainings of one model differ by up to {scatter:.1f} points"
    lines = [
        _energy_threat(results),
        _machine_threat(results),
        f"**Few data sets.** The intervals are over {pluralize(datasets, 'data set')} and {pluralize(seeds, 'seed')}"
        f"{trainings}. They do not tell of data from another field; a profile over an archive would.",
        "**Default splits.** Each test set is the archive's own, one draw of many that could be: its size alone leaves "
        f"up to ±{format_range(doubt)} points of doubt, by data set. The test series of ElectricDevices and "
        "RefrigerationDevices come from other households than those of training; random resamples "
        "give higher accuracies, not comparable with these.",
        _copies_threat(results),
        f"**Choices that were tuned.** {format_range(tried, 0)} variants of each model on each data set were measured, "
        "and whichever is called best is named with hindsight. The student's shape and training were found by searches "
        "on validation series of the study's data sets; shares that are pruned, epochs of further training and the "
        "large batch were set by hand.",
    ]
    return bullet_list(lines)


def _energy_threat(results: pd.DataFrame) -> str:
    sources = sorted(set(results.energy_source.dropna()))
    meanings = " ".join(f"*{name.capitalize()}* is {MEANING[name].origin}. {MEANING[name].limits}" for name in sources)
    return f"**Energy.** {meanings}"


def _machine_threat(results: pd.DataFrame) -> str:
    controls = []
    for which in batch_kinds(results):
        off = control_deviations(results, which)
        if len(off):
            controls.append(f"{format_number(off.percent.max())} % in {name_batches(off)}")
    threads = join_items(sorted(set(results.threads.dropna().astype(int))))
    text = (
        f"**A shared machine.** Sessions had {threads} thread{'' if threads == '1' else 's'}, beside whatever else ran"
    )
    if not controls:
        return f"{text}; no model was measured against itself."
    return (
        f"{text}. All variants take turns in random order, so that what disturbs one disturbs all; what is left shows "
        f"in the model that was measured against itself, which was off by at most {join_items(controls)}."
    )


def _copies_threat(results: pd.DataFrame) -> str:
    known = dict(STUDY_COPIES)
    if "test_in_train" in results:
        rows = select_reference(results).dropna(subset="test_in_train")
        counts = rows.groupby("dataset").test_in_train.max()
        known |= {str(name): (int(count), known.get(str(name), (0, 0))[1]) for name, count in counts.items()}
    found = {name: known[name] for name in dict.fromkeys(results.dataset) if name in known and known[name][0]}
    if not found:
        return "**Copies.** No test series is a copy of a training series, as far as that was counted."
    named = join_items(
        f"{count}{f' of {size}' if size else ''} test series of {name}" for name, (count, size) in found.items()
    )
    return (
        f"**Copies.** {named} {'are' if len(found) > 1 else 'is'} also in the training file, which flatters accuracy, "
        "though of all variants alike."
    )
