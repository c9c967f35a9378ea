"""What the published run over an archive found, in words."""

from __future__ import annotations

import textwrap

import pandas as pd

from tsc_lib.analysis import archive, findings
from tsc_lib.analysis.wording import format_gain, format_number, pluralize
from tsc_lib.compress import Family
from tsc_lib.report.published import Published, signed

FOLDER = "archive"
"""Its folder among the published ones."""

COMPARED = "MiniROCKET"
"""The classic that the first page sets beside our model."""


def render_archive(published: Published) -> str:
    """What students save over the data sets, and our model beside each classic, from the tables of notebook 10."""
    savings, standings = (published.read(FOLDER, name) for name in ("savings", "standings"))
    pairs = archive.beside_classics(standings, archive.choose_ours(standings))
    beside = findings.beside_classics(pairs, archive.rank_standings(standings))
    head = (
        f"Over {pluralize(standings.dataset.nunique(), 'data set')} of the archive, {tell_seeds(published)} each, in a "
        "large batch. CPU time is set against the same model as trained in eager PyTorch, or against the classic, in "
        "one session:"
    )
    where = (
        "`outputs/published/archive` has the tables. Notebook `10_archive` shows each data set as a point, the other "
        "strategies, ranks with their test, and where a transformer is the wrong choice."
    )
    saved = signed(findings.savings_over_datasets(savings[savings.family == Family.STUDENT]))
    return f"{textwrap.fill(head, 120)}\n\n{saved}\n{beside}\n\n{textwrap.fill(where, 120)}"


def summarize_archive(published: Published) -> str:
    """Our model beside `COMPARED` over the data sets, in half a sentence."""
    standings = published.read(FOLDER, "standings")
    pairs = archive.beside_classics(standings, ours := archive.choose_ours(standings))
    pairs = pairs[pairs.classic == COMPARED]
    return (
        f"over {pluralize(len(pairs), 'data set')} of the archive, {tell_seeds(published)} each, {ours} needs "
        f"{format_number(1 / pairs.cpu_ratio.median(), 0)} times less CPU time than {COMPARED} in the median, and is "
        f"{format_gain(pd.Series([pairs.points.mean()]), 1)} on average"
    )


def tell_seeds(published: Published) -> str:
    """Over how many seeds the accuracies of a data set are means: "one seed", or "1 to 3 seeds" where that differs."""
    counts = published.read(FOLDER).groupby("dataset").seed.nunique()
    least, most = counts.min(), counts.max()
    return f"{least} to {most} seeds" if least < most else "one seed" if most == 1 else pluralize(most, "seed")
