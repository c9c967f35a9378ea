"""The first page's part on the run that the site was built from."""

from __future__ import annotations

import pandas as pd

from tsc_lib.analysis.claims import UNRUN, UNTESTED
from tsc_lib.analysis.references import STUDY_DATASETS
from tsc_lib.analysis.summary import summarise
from tsc_lib.analysis.wording import bullet_list, join_items

MEANINGLESS = "The profile *smoke* hardly trains its models; it shows that everything runs on this machine."
DEMONSTRATION = (
    "The profile *quick* has small data sets that come with aeon, and one seed: its numbers "
    "show how the study works, not what it finds."
)
OTHER_DATA = "These are not the study's data sets, so nothing here confirms or refutes what it found."
BANNERS = {
    "smoke": ("danger", "These numbers mean nothing", MEANINGLESS),
    "quick": ("warning", "This is a demonstration", DEMONSTRATION),
}


def describe_run(profile: str, results: pd.DataFrame, claims: pd.DataFrame) -> str:
    """What a run found, under a banner that says what its numbers are worth, and which claims it leaves untested.

    Parameters
    ----------
    profile : str
        Name of the profile.
    results, claims : DataFrame
        The results table and the claims with their verdicts; either may be empty.
    """
    parts = [f"This part shows the profile *{profile}*."]
    if profile in BANNERS:
        parts.append(_banner(*BANNERS[profile]))
    elif len(results) and not set(results.dataset) <= set(STUDY_DATASETS):
        parts.append(_banner("note", "Other data", OTHER_DATA))
    parts.append(summarise(results, claims))
    if len(claims):
        why = {UNTESTED: "this machine cannot test", UNRUN: "this profile does not run"}
        lines = [
            f"What {reason}: {join_items(f'“{claim}”' for claim in part.claim.unique())}."
            for verdict, reason in why.items()
            if len(part := claims[claims.verdict == verdict])
        ]
        parts.append(bullet_list(lines))
    return "\n\n".join(parts)


def _banner(kind: str, title: str, text: str) -> str:
    return f":::{{admonition}} {title}\n:class: {kind}\n\n{text}\n:::"
