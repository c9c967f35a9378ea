"""What a search picked, what that costs and what it loses."""

from __future__ import annotations

import pandas as pd

from tsc_lib.analysis.quantities import add_times_less
from tsc_lib.analysis.wording import bullet_list, format_estimate, format_number, pluralize

LEAST = (
    "**This was the least search**: one recipe, a short training, any loss permitted. It shows how a search goes, not "
    "what it can find; give `minutes` for that. In a report it runs beside other notebooks, which disturb its session."
)


def picked(pick: pd.Series, scores: pd.DataFrame, *, least: bool) -> str:
    """Which recipe was picked and what it lost, on the series that chose it and on the test series.

    Parameters
    ----------
    pick : Series
        The best of the measured finalists.
    scores : DataFrame
        Of `tsc_lib.search.results.read_test_scores`.
    least : bool
        Whether the search was the least that there is.
    """
    score, seeds = scores.mean(), pluralize(len(scores), "seed")
    lines = [
        f"Picked is `{pick.recipe}` in {pick.runtime}.",
        f"On the validation series, which chose it, it loses {format_number(pick['drop'])} ± "
        f"{format_number(pick.error)} points against the uncompressed model with as much further training.",
        f"On the test series, which chose nothing, it is right for {100 * score.accuracy:.1f} %; uncompressed it is "
        f"{100 * score.reference_accuracy:.1f} % ({seeds}).",
    ]
    return bullet_list([*([LEAST] if least else []), *lines])


def costs_of_pick(costs: pd.DataFrame) -> str:
    """How many times less the pick takes of each kind, from `tsc_lib.analysis.picks.list_costs`."""
    return bullet_list(
        f"**{row.cost}**: {format_estimate(row, 'times')} times less ({row.source})."
        for row in add_times_less(costs, "share").itertuples()
    )


def promised(text: str) -> str:
    """What a search promises of its pick, in its own words, as a sentence."""
    text = " ".join(text.split())
    return f"{text[0].upper()}{text[1:]}."


def files_of_model(files: pd.DataFrame, accuracy: float) -> str:
    """How large an exported folder is, and how accurate its predictions for the test file are."""
    return (
        f"{pluralize(len(files), 'file')} with {files.bytes.sum() / 1000:.0f} kB in all, and they need no PyTorch and "
        f"no training data. Read back from there, the model is right for {100 * accuracy:.1f} % of the test file."
    )
