"""The study's claims as data, and the verdict on each by rules that are written down here.

Every variant is compared with the uncompressed model *on its own runtime*, of the same data set, model and seed, at the
large batch: so static int8 that is compiled is compared with compiled fp32, and what the compiler saves is not credited
to the number format. Pruning is judged at the ratio nearest to the study's own 0.2, as pruned, without fine-tuning.
Each claim gets one number for each data set, the mean over its models and seeds, which share its series; ours is the
mean over the data sets, with Student's 95 % interval over them. With one data set the interval is over its seeds; with
one seed it is that run's own.

The verdicts:

========= ======================================================================================================
rule      verdict
========= ======================================================================================================
gain      *reproduced* if the interval holds the published value and lies wholly above half of it; else *same
          direction* if it lies wholly above 0; else *not reproduced*.
limit     for accuracy lost, with the published value as the most that may be lost: *reproduced* if the whole
          interval is within it; else *same direction* if the mean is; else *not reproduced*.
direction where only a direction is claimed: *reproduced* if the whole interval is above 0; *same direction* if
          the mean is and has no interval; else *not reproduced*.
========= ======================================================================================================

Claims on energy can be tested by energy counters only. Estimated energy is CPU time times a constant: it cannot tell
whether int8 arithmetic draws less power, so it reproduces nothing about joules, and refutes nothing. CPU time is
therefore judged as a claim of its own that can reach *same direction* at most. So can a gain whose size was published
about other data than ours; between T1 and T2 only the direction is judged. A claim for which nothing was run, or every
run failed, cannot be tested.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tsc_lib.analysis import quantities
from tsc_lib.analysis.references import STUDY_DATASETS
from tsc_lib.analysis.strategies import COMBINED, DYNAMIC, MASKS, REMOVAL, STATIC, annotate
from tsc_lib.core.stats import Interval

REPRODUCED, SAME, NOT = "reproduced", "same direction", "not reproduced"
UNTESTED = "cannot be tested on this machine"

ABSTRACT = "arXiv:2502.16627, abstract"
SECONDARY = "arXiv:2502.16627, as summarised elsewhere"
EARLIER = "the authors' earlier report, UniMiB SHAR"


@dataclass(frozen=True)
class Claim:
    """One published claim.

    Attributes
    ----------
    claim, source : str
        What is claimed, in our words, and where.
    published : float
        The published value.
    unit : str
        TrainingRun of the published value and ours.
    quantity : callable
        What is computed from the results, from `tsc_lib.analysis.quantities`.
    rule : {"gain", "limit", "direction"}
        How the verdict is found; see the module's documentation.
    families : tuple of str
        Families of strategies that the claim is about.
    norm : str or None
        The pruning norm.
    caveat : str
        Why even agreement would not reproduce the claim; empty if it would.
    """

    claim: str
    source: str
    published: float
    unit: str
    quantity: Callable[[pd.DataFrame, tuple[str, ...], str | None], quantities.Samples]
    rule: str
    families: tuple[str, ...] = ()
    norm: str | None = None
    caveat: str = ""


ENERGY, TIME, FASTER, LOST = "% of energy", "% of CPU time", "% more series per CPU second", "points lost"

STAND_IN = "CPU time stands in for energy here, which says nothing about joules."
OTHER_DATA = "The value was published for another data set."
SMALL_LOSS = 1.8
"""Points: the largest loss by 8-bit quantization that the study reports and calls small."""

CLAIMS = (
    Claim("Static int8 saves energy", ABSTRACT, 29.14, ENERGY, quantities.energy_saved, "gain", (STATIC,)),
    Claim("Static int8 saves CPU time", ABSTRACT, 29.14, TIME, quantities.time_saved, "gain", (STATIC,),
          caveat=STAND_IN),
    Claim("Static int8 keeps the accuracy", ABSTRACT, SMALL_LOSS, LOST, quantities.points_lost, "limit", (STATIC,)),
    Claim("8-bit quantization, static or dynamic, loses at most 1.8 points", SECONDARY, SMALL_LOSS, LOST,
          quantities.points_lost, "limit", (STATIC, DYNAMIC)),
    Claim("Dynamic int8 saves time", EARLIER, 38.8, TIME, quantities.time_saved, "gain", (DYNAMIC,),
          caveat=OTHER_DATA),
    Claim("L1 pruning, as masks, makes inference faster", ABSTRACT, 63, FASTER, quantities.speed_up, "gain",
          (MASKS,), "l1"),
    Claim("L1 pruning, as removal, makes inference faster", ABSTRACT, 63, FASTER, quantities.speed_up, "gain",
          (REMOVAL,), "l1"),
    Claim("L1 pruning, as masks, hardly loses accuracy", ABSTRACT, SMALL_LOSS, LOST, quantities.points_lost, "limit",
          (MASKS,), "l1"),
    Claim("L1 pruning, as removal, hardly loses accuracy", ABSTRACT, SMALL_LOSS, LOST, quantities.points_lost, "limit",
          (REMOVAL,), "l1"),
    Claim("L1 pruning saves energy", SECONDARY, 37.08, ENERGY, quantities.energy_saved, "gain", (REMOVAL,), "l1"),
    Claim("Pruning and quantization together save energy", SECONDARY, 45.7, ENERGY, quantities.energy_saved, "gain",
          (COMBINED,)),
    Claim("Pruning and quantization together save CPU time", SECONDARY, 45.7, TIME, quantities.time_saved, "gain",
          (COMBINED,), caveat=STAND_IN),
    Claim("T2 is more accurate than T1", EARLIER, 5.2, "points gained", quantities.accuracy_between_models,
          "direction"),
    Claim("T2 is more expensive than T1", EARLIER, 18.2, "% more CPU time", quantities.time_between_models,
          "direction"),
)  # fmt: skip
"""What is judged. "Minimal" loss has no published number: the largest that the study calls small stands for it."""


def judge(results: pd.DataFrame, claims: Iterable[Claim] = CLAIMS) -> pd.DataFrame:
    """The verdict on each claim.

    Parameters
    ----------
    results : DataFrame
        The results table; failed rows, missing recipes and single seeds are allowed.
    claims : iterable of Claim
        What to judge.

    Returns
    -------
    DataFrame
        Columns `claim`, `source`, `published`, `ours`, `ours_low`, `ours_high`, `unit`, `verdict` and `why`.
    """
    return pd.DataFrame([_judged(claim, results) for claim in claims])


def _judged(claim: Claim, results: pd.DataFrame) -> dict[str, object]:
    samples, remarks = claim.quantity(results, claim.families, claim.norm)
    if samples.empty:
        ours, verdict, reasons = Interval(np.nan, np.nan, np.nan), UNTESTED, [_absence(claim, results)]
    else:
        ours, repeats = quantities.pooled(samples)
        verdict, why = _RULES[claim.rule](claim.published, ours)
        caveats = [claim.caveat] if claim.caveat else []
        if not set(results.dataset) <= set(STUDY_DATASETS):
            caveats.append("These are not the study's data sets.")
        if caveats and verdict == REPRODUCED:
            verdict = SAME
        reasons = [why, *caveats, repeats]
    return {
        "claim": claim.claim,
        "source": claim.source,
        "published": claim.published,
        "ours": ours.estimate,
        "ours_low": ours.low,
        "ours_high": ours.high,
        "unit": claim.unit,
        "verdict": verdict,
        "why": " ".join(filter(None, [*reasons, remarks])),
    }


def _gain(published: float, ours: Interval) -> tuple[str, str]:
    if ours.low > published / 2 and ours.low <= published <= ours.high:
        return REPRODUCED, "The interval holds the published value."
    if ours.low > published:
        return SAME, "There is a gain, larger than published."
    if ours.low > 0:
        size = "smaller than published" if ours.high < published else "too uncertain to tell its size"
        return SAME, f"There is a gain, {size}."
    if np.isnan(ours.low):
        found, verdict = ("a gain", SAME) if ours.estimate > 0 else ("no gain", NOT)
        return verdict, f"There is {found}, of unknown certainty."
    if ours.high < 0:
        return NOT, "There is a loss instead of a gain."
    return NOT, "The interval does not exclude that nothing is gained."


def _limit(published: float, ours: Interval) -> tuple[str, str]:
    if ours.high <= published:
        return REPRODUCED, f"The whole interval is within {published:g} points."
    if ours.estimate <= published:
        return SAME, f"The mean is within {published:g} points, but not the whole interval."
    return NOT, f"The mean is beyond {published:g} points."


def _direction(published: float, ours: Interval) -> tuple[str, str]:
    text = "The value was published for other data, so only its direction is judged:"
    if ours.low > 0:
        return REPRODUCED, f"{text} the whole interval is above 0."
    if np.isnan(ours.low):
        found, verdict = ("above 0", SAME) if ours.estimate > 0 else ("not above 0", NOT)
        return verdict, f"{text} the mean is {found}, with unknown certainty."
    if ours.high < 0:
        return NOT, f"{text} the whole interval is below 0."
    return NOT, f"{text} the interval does not exclude that there is no difference."


_RULES = {"gain": _gain, "limit": _limit, "direction": _direction}


def _absence(claim: Claim, results: pd.DataFrame) -> str:
    """Why there is nothing to judge a claim by."""
    if not claim.families:
        return "This profile does not run both T1 and T2."
    kind = " or ".join(claim.families)
    rows = annotate(results)
    rows = rows[rows.family.isin(claim.families) & ((rows.norm == claim.norm) | (claim.norm is None))]
    if rows.empty:
        return f"This profile runs no {kind}."
    done = rows[rows.status == "ok"]
    if done.empty:
        return f"Every run of {kind} failed ({rows.status.iloc[0].removeprefix('failed: ')})."
    if claim.unit == ENERGY and "measured" not in set(done.energy_source):
        return "No energy was measured: it is estimated here as CPU time times watts, which says nothing about joules."
    return f"The runs of {kind} have no uncompressed model on their own runtime to be compared with, or all collapsed."
