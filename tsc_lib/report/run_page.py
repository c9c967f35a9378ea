"""The first page's part on the run that the site was built from."""

from __future__ import annotations

import pandas as pd

from tsc_lib.analysis.claims import UNRUN, UNTESTED
from tsc_lib.analysis.findings.study import find_worth
from tsc_lib.analysis.summary import summarise
from tsc_lib.analysis.wording import bullet_list, join_items


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
    if worth := find_worth(profile, results):
        parts.append(_banner(*worth))
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
