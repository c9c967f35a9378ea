"""The study's claims as data, and the verdict on each by rules that are written down here.

Every variant is compared with the uncompressed model *in its own runtime*, of the same data set, model and seed, at the
large batch: so static int8 that is compiled is compared with compiled fp32, and what the compiler saves is not credited
to the number format. A saving is judged in every runtime by itself, because an average over two would describe neither.
Pruning is judged at the ratio nearest to the study's own 0.2, as pruned, without fine-tuning. Each number is the mean
over the data sets, of the mean over their models and seeds, with Student's 95 % interval over the data sets: geometric
means of ratios of cost, arithmetic ones of points of accuracy. With one data set the interval is over its seeds; with
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
about other data than ours; between T1 and T2 only the direction is judged. A claim whose strategy a profile leaves out
is *not run by this profile*; one for which every run failed, or whose source of energy is missing, *cannot be tested on
this machine*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tsc_lib.analysis import quantities
from tsc_lib.analysis.references import STUDY_DATASETS
from tsc_lib.analysis.rows import RUN_KEYS, annotate, drop_collapsed, drop_failures, find_collapsed, name_batches
from tsc_lib.analysis.wording import name_runs
from tsc_lib.compress import REFERENCE, Family
from tsc_lib.core.stats import Interval

REPRODUCED, SAME, NOT = "reproduced", "same direction", "not reproduced"
UNTESTED = "cannot be tested on this machine"
UNRUN = "not run by this profile"

ABSTRACT = "arXiv:2502.16627, abstract"
SECONDARY = "arXiv:2502.16627, as summarised elsewhere"
EARLIER = "the authors' earlier report, UniMiB SHAR"


@dataclass(frozen=True)
class Quantity:
    """What a claim is about.

    Attributes
    ----------
    unit : str
        Of the published value and ours.
    value : str
        The column that is averaged: a ratio of costs or points of accuracy.
    percent : callable or None
        How a ratio of costs, averaged geometrically, is shown; None of points, averaged arithmetically.
    """

    unit: str
    value: str
    percent: Callable[[float], float] | None = None

    def pool(self, rows: pd.DataFrame) -> quantities.Pooled:
        """The mean of some rows in the claim's unit; see `tsc_lib.analysis.quantities.pool`."""
        found = quantities.pool(rows, self.value, geometric=self.percent is not None)
        if self.percent is None:
            return found
        ends = sorted(map(self.percent, found.interval[1:]))
        interval = Interval(self.percent(found.interval.estimate), *ends)
        return quantities.Pooled(interval, found.cases.map(self.percent), found.repeats)


ENERGY = Quantity("% of energy", "energy_ratio_to_fp32", quantities.percent_saved)
TIME = Quantity("% of CPU time", "cpu_ratio_to_fp32", quantities.percent_saved)
FASTER = Quantity("% more series per CPU second", "cpu_ratio_to_fp32", lambda ratio: 100 * (1 / ratio - 1))
LOST = Quantity("points lost", "accuracy_drop")
GAINED = Quantity("points gained", "points_gained")
DEARER = Quantity("% more CPU time", "cpu_ms_per_sample", lambda ratio: 100 * (ratio - 1))


@dataclass(frozen=True)
class Claim:
    """One published claim.

    Attributes
    ----------
    claim, source : str
        What is claimed, in our words, and where.
    published : float
        The published value.
    quantity : Quantity
        What is computed from the results.
    rule : {"gain", "limit", "direction"}
        How the verdict is found; see the module's documentation.
    families : tuple of Family
        Families of strategies that the claim is about; none if it is about T1 and T2.
    norm : str or None
        The pruning norm.
    caveat : str
        Why even agreement would not reproduce the claim; empty if it would.
    """

    claim: str
    source: str
    published: float
    quantity: Quantity
    rule: str
    families: tuple[Family, ...] = ()
    norm: str | None = None
    caveat: str = ""


STAND_IN = "CPU time stands in for energy here, which says nothing about joules."
OTHER_DATA = "The value was published for another data set."
SMALL_LOSS = 1.8
"""Points: the largest loss by 8-bit quantization that the study reports and calls small."""

STATIC, DYNAMIC, MASKS, REMOVAL = Family.STATIC, Family.DYNAMIC, Family.MASKS, Family.REMOVAL

CLAIMS = (
    Claim("Static int8 saves energy", ABSTRACT, 29.14, ENERGY, "gain", (STATIC,)),
    Claim("Static int8 saves CPU time", ABSTRACT, 29.14, TIME, "gain", (STATIC,), caveat=STAND_IN),
    Claim("Static int8 keeps the accuracy", ABSTRACT, SMALL_LOSS, LOST, "limit", (STATIC,)),
    Claim("8-bit quantization, static or dynamic, loses at most 1.8 points", SECONDARY, SMALL_LOSS, LOST, "limit",
          (STATIC, DYNAMIC)),
    Claim("Dynamic int8 saves time", EARLIER, 38.8, TIME, "gain", (DYNAMIC,), caveat=OTHER_DATA),
    Claim("L1 pruning, as masks, makes inference faster", ABSTRACT, 63, FASTER, "gain", (MASKS,), "l1"),
    Claim("L1 pruning, as removal, makes inference faster", ABSTRACT, 63, FASTER, "gain", (REMOVAL,), "l1"),
    Claim("L1 pruning, as masks, hardly loses accuracy", ABSTRACT, SMALL_LOSS, LOST, "limit", (MASKS,), "l1"),
    Claim("L1 pruning, as removal, hardly loses accuracy", ABSTRACT, SMALL_LOSS, LOST, "limit", (REMOVAL,), "l1"),
    Claim("L1 pruning saves energy", SECONDARY, 37.08, ENERGY, "gain", (REMOVAL,), "l1"),
    Claim("Pruning and quantization together save energy", SECONDARY, 45.7, ENERGY, "gain", (Family.COMBINED,)),
    Claim("Pruning and quantization together save CPU time", SECONDARY, 45.7, TIME, "gain", (Family.COMBINED,),
          caveat=STAND_IN),
    Claim("T2 is more accurate than T1", EARLIER, 5.2, GAINED, "direction"),
    Claim("T2 is more expensive than T1", EARLIER, 18.2, DEARER, "direction")
)  # fmt: skip
"""What is judged. "Minimal" loss has no published number: the largest that the study calls small stands for it."""


VERDICT = ["claim", "runtime", "source", "published", "ours", "ours_low", "ours_high", "unit", "verdict", "why"]
"""The columns of a table of verdicts."""


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
        Columns `claim`, `runtime`, `source`, `published`, `ours`, `ours_low`, `ours_high`, `unit`, `verdict` and `why`:
        a row for each claim, and of claims on costs one for every runtime in which the strategy was run.
    """
    return pd.DataFrame([row for claim in claims for row in _judge(claim, results)], columns=VERDICT)


def _judge(claim: Claim, results: pd.DataFrame) -> Iterator[tuple[object, ...]]:
    """Rows with the columns `VERDICT`."""
    rows = select_rows(claim, results)
    parts = rows.groupby("runtime", sort=False) if claim.rule == "gain" and len(rows) else [("", rows)]
    for runtime, part in parts:
        if part.empty:
            ours, (verdict, why) = Interval(np.nan, np.nan, np.nan), _absence(claim, results)
            reasons = [why]
        else:
            ours, cases, repeats = claim.quantity.pool(part)
            verdict, why = _RULES[claim.rule](claim.published, ours)
            caveats = [claim.caveat] if claim.caveat else []
            if not set(results.dataset) <= set(STUDY_DATASETS):
                caveats.append("These are not the study's data sets.")
            if caveats and verdict == REPRODUCED:
                verdict = SAME
            if len(cases) > 1:
                repeats += f"; {int((cases > 0).sum())} of {len(cases)} pairs of data set and model are above 0"
            reasons = [why, *caveats, f"{repeats}.", *_remarks(claim, results, part)]
        stated = (claim.claim, runtime, claim.source, claim.published)
        yield *stated, *ours, claim.quantity.unit, verdict, " ".join(reasons)


def select_rows(claim: Claim, results: pd.DataFrame, which: str = "large") -> pd.DataFrame:
    """The rows that a claim is judged by; none of energy unless a counter measured it."""
    if not claim.families:
        return quantities.pair_models(results, which)
    if claim.quantity is LOST:
        results = drop_collapsed(results)
    rows = quantities.select_for_claim(results, claim.families, claim.norm, which)
    if claim.quantity is ENERGY and set(drop_failures(results).energy_source.dropna()) != {"measured"}:
        return rows.iloc[:0]
    return rows


def _remarks(claim: Claim, results: pd.DataFrame, rows: pd.DataFrame) -> Iterator[str]:
    """What else is to be known of the rows of a verdict."""
    collapsed = find_collapsed(results)
    if not claim.families:
        if claim.quantity is GAINED and len(collapsed):
            yield f"Counted, though collapsed to one class: {name_runs(collapsed)}."
        return
    same = results[results.recipe.isin(rows.recipe) & (results.status != "ok")].drop_duplicates([*RUN_KEYS, "recipe"])
    if len(same):
        yield f"{len(same)} failed run{'s' if len(same) > 1 else ''} left out."
    if claim.quantity is LOST:
        if len(collapsed):
            yield f"Left out, having collapsed to one class: {name_runs(collapsed)}."
        return
    runtime = rows.runtime.iloc[0]
    small = select_rows(claim, results, "small")
    small = small[small.runtime == runtime]
    if len(small) and name_batches(small) != name_batches(rows):
        yield f"In {name_batches(small)}: {_percent(claim, small)}."
    if runtime != REFERENCE.runtime:
        value = claim.quantity.value.removesuffix("_to_fp32")
        yield f"Against fp32 in eager: {_percent(claim, rows.assign(**{claim.quantity.value: rows[value]}))}."
    if claim.norm:
        share, theirs = 100 * rows.ratio.iloc[0], 100 * quantities.STUDY_PRUNING
        yield f"Pruned by {share:g} % (the authors pruned by {theirs:g} % earlier)."
        others = quantities.pair_with_fp32(results)
        others = others[others.family.isin(claim.families) & (others.norm == claim.norm) & ~others.tuned]
        for ratio, part in others[others.ratio != rows.ratio.iloc[0]].groupby("ratio"):
            yield f"By {100 * ratio:g} %: {_percent(claim, part)}."


def _percent(claim: Claim, rows: pd.DataFrame) -> str:
    return f"{claim.quantity.pool(rows).interval.estimate:.1f} %"


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


def _absence(claim: Claim, results: pd.DataFrame) -> tuple[str, str]:
    """The verdict where there is nothing to judge a claim by, and why there is nothing."""
    if not claim.families:
        if {"T1", "T2"} <= set(results.model):
            return UNTESTED, "T1, T2 or both failed on every data set."
        return UNRUN, "This profile does not run both T1 and T2."
    kind = f"variant of the kind {' or '.join(claim.families)}"
    rows = annotate(results)
    rows = rows[rows.family.isin(claim.families) & ((rows.norm == claim.norm) | (claim.norm is None))]
    if rows.empty:
        return UNRUN, f"This profile runs no {kind}."
    done = rows[rows.status == "ok"]
    if done.empty:
        return UNTESTED, f"Every {kind} failed ({rows.status.iloc[0].removeprefix('failed: ')})."
    if claim.quantity is ENERGY and "measured" not in set(done.energy_source):
        return UNTESTED, (
            "No energy was measured: it is estimated here as CPU time times watts, which says nothing about joules."
        )
    return UNTESTED, f"No {kind} has an uncompressed model in its own runtime to be compared with, or all collapsed."
