"""The reproduced study's tables beside ours, and in a sentence why each of its claims holds here or does not."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tsc_lib.analysis.claims import (
    CLAIMS,
    DEARER,
    ENERGY,
    GAINED,
    LOST,
    UNRUN,
    UNTESTED,
    VERDICT,
    Claim,
    judge,
    select_rows,
)
from tsc_lib.analysis.quantities import (
    average,
    average_ratio,
    int8_share,
    pair_models,
    percent_saved,
    pool,
    select_for_claim,
)
from tsc_lib.analysis.references import STUDY_PARAMETERS, STUDY_SERIES, earlier_report
from tsc_lib.analysis.rows import CASE_KEYS, name_batches, select_batch, select_reference
from tsc_lib.analysis.wording import format_number, format_range, format_saving
from tsc_lib.compress import Family
from tsc_lib.models import zoo

FORMS: tuple[tuple[str, Family, str | None], ...] = (
    ("static int8", Family.STATIC, None),
    ("dynamic int8", Family.DYNAMIC, None),
    ("L1 pruning", Family.MASKS, "l1"),
    ("L1 pruning", Family.REMOVAL, "l1"),
    ("L2 pruning", Family.MASKS, "l2"),
    ("L2 pruning", Family.REMOVAL, "l2"),
)
"""The study's strategies, and what each is here: pruning is masks, which set weights to zero, or removal."""

COMPARED = [
    *("model", "strategy", "family", "form", "their_saved", "their_lost"),
    *("saved", "saved_low", "saved_high", "lost", "lost_low", "lost_high", "datasets"),
]


def count_parameters() -> pd.DataFrame:
    """The sizes of the study's models, and their parameters as it states them and as they are built here."""
    rows = []
    for model, stated in STUDY_PARAMETERS.items():
        size = zoo.find_architecture(model)
        network = zoo.build(model, *STUDY_SERIES)
        sizes = [size.layers, size.heads, size.d_model, size.d_ff, size.patch]
        rows.append([model, *sizes, stated, sum(weights.numel() for weights in network.parameters())])
    columns = ["model", "layers", "heads", "width", "feed-forward neurons", "patch", "parameters, the study"]
    return pd.DataFrame(rows, columns=[*columns, "parameters, here"])


def compare_strategies(results: pd.DataFrame) -> pd.DataFrame:
    """The study's strategies as its authors reported them on UniMiB SHAR, and as they came out here.

    Parameters
    ----------
    results : DataFrame
        The results table; it may be empty.

    Returns
    -------
    DataFrame
        One row for each model, strategy and form of it; `their_saved` (% of the time) and `their_lost` (points); ours,
        against fp32 in the same runtime at the large batch, `saved` (% of CPU time, from geometric means) and `lost`
        (points) with 95 % intervals over the data sets, and how many these are.
    """
    theirs = earlier_report().set_index(["model", "strategy"])
    rows = []
    for strategy, family, norm in FORMS if len(results) else ():
        chosen = select_for_claim(results, [family], norm)
        for (runtime, model), part in chosen.groupby(["runtime", "model"], sort=False):
            if (model, strategy) not in theirs.index:
                continue
            time, lost = (
                pool(part, name, geometric=name != "accuracy_drop").interval
                for name in ("cpu_ratio_to_fp32", "accuracy_drop")
            )
            saved = [percent_saved(time.estimate), percent_saved(time.high), percent_saved(time.low)]
            form = f"{strategy}, in {runtime}" if norm is None else f"{strategy}, as {family}"
            stated = theirs.loc[(model, strategy), ["saved", "points_lost"]]
            rows.append([model, strategy, family, form, *stated, *saved, *lost, part.dataset.nunique()])
    return pd.DataFrame(rows, columns=COMPARED)


def explain_claims(results: pd.DataFrame) -> pd.DataFrame:
    """The verdicts of `tsc_lib.analysis.claims.judge`, with what each rests on and why it is so.

    Returns
    -------
    DataFrame
        Its columns, `rests_on` (such as "CPU time, measured") and `because`, one sentence with numbers of the results.
        Empty if there are no results.
    """
    if not len(results):
        return pd.DataFrame(columns=[*VERDICT, "rests_on", "because"])
    judged = judge(results)
    known = {claim.claim: claim for claim in CLAIMS}
    sources = " and ".join(sorted(set(results.energy_source.dropna())))
    rests, because = [], []
    for row in judged.itertuples():
        claim = known[row.claim]
        rests.append(_name_evidence(claim, sources))
        told = row.verdict in (UNRUN, UNTESTED)
        because.append(row.why if told else _explain(claim, str(row.runtime), results))
    return judged.assign(rests_on=rests, because=because)


def _name_evidence(claim: Claim, sources: str) -> str:
    if claim.quantity is ENERGY:
        return f"energy, {sources}"
    return "accuracy on test" if claim.quantity in (LOST, GAINED) else "CPU time, measured"


def _explain(claim: Claim, runtime: str, results: pd.DataFrame) -> str:
    if not claim.families:
        return _explain_models(claim, results)
    rows = select_rows(claim, results)
    if claim.quantity is LOST:
        return _explain_loss(rows)
    rows = rows[rows.runtime == runtime]
    macs = 100 * average_ratio(_beside_whole(rows, results), "macs_ratio")
    family = claim.families[0]
    if family == Family.MASKS:
        return f"A zeroed weight is multiplied like any other: {macs:.0f} % of the multiply-adds are left."
    if family == Family.REMOVAL:
        most = 100 * (100 / macs - 1)
        return (
            f"{macs:.0f} % of the multiply-adds are left, which alone would be {most:.0f} % more series; a head takes "
            "its softmax with it, which no multiply-add counts."
        )
    share = f"{int8_share(rows).mean():.0f} % of the linear layers run in int8"
    if family == Family.COMBINED:
        alone = select_for_claim(results, [Family.STATIC], None)
        alone = alone[alone.runtime == runtime]
        text = f"{macs:.0f} % of the multiply-adds are left, which the removal saves in any number format"
        if alone.empty:
            return f"{text}."
        saved = percent_saved(average_ratio(alone, "cpu_ratio_to_fp32"))
        return f"{text}; static int8 alone saves {format_number(saved)} % in {runtime}."
    if family == Family.DYNAMIC:
        return (
            f"{share}, but each call first looks for the range of its inputs and rounds them, which for so narrow "
            "layers takes as long as the products save."
        )
    small = select_rows(claim, results, "small")
    small = small[small.runtime == runtime]
    one = format_saving(percent_saved(average_ratio(small, "cpu_ratio_to_fp32")))
    return (
        f"{share}, and attention, normalisation and the rounding itself take what time they take in {runtime}: in "
        f"{name_batches(small)} it {one}."
    )


def _beside_whole(rows: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """Rows with their multiply-adds as a share of the uncompressed model's."""
    whole = select_reference(select_batch(results)).groupby(CASE_KEYS).macs.mean()
    return rows.assign(macs_ratio=rows.macs / whole.reindex(pd.MultiIndex.from_frame(rows[CASE_KEYS])).to_numpy())


def _explain_loss(rows: pd.DataFrame) -> str:
    cases = pool(rows, "accuracy_drop", geometric=False).cases
    if cases.max() < 1:
        return f"No pair of data set and model loses more than {format_number(cases.max())} points."
    datasets = cases.groupby("dataset").mean()
    tuning = "" if rows.tuned.any() else ", and nothing was trained after pruning"
    if len(datasets) == 1:
        return f"The models lose {format_range(cases)} points on {datasets.index[0]}{tuning}."
    return (
        f"The loss depends on the data, from {format_number(datasets.min())} points on {datasets.idxmin()} to "
        f"{format_number(datasets.max())} on {datasets.idxmax()}{tuning}."
    )


def _explain_models(claim: Claim, results: pd.DataFrame) -> str:
    pairs = pair_models(results)
    if claim.quantity is DEARER:
        first, second = (zoo.find_architecture(name) for name in ("T1", "T2"))
        maps = second.layers * second.heads / (first.layers * first.heads)
        return (
            f"T2 does {average_ratio(pairs, 'macs'):.1f} times the multiply-adds of T1, and has {maps:.0f} times the "
            f"attention maps: {second.layers} layers of {second.heads} heads, not {first.layers} of {first.heads}."
        )
    scatter = spread_over_seeds(select_reference(select_batch(results)))
    apart = abs(average(pairs, "points_gained"))
    if np.isnan(scatter):
        return f"They are {format_number(apart)} points apart with one seed, which tells nothing of other seeds."
    return f"They are {format_number(apart)} points apart, and trainings of one model up to {format_number(scatter)}."


def spread_over_seeds(rows: pd.DataFrame) -> float:
    """The most points of accuracy by which two trainings of one model on one data set differ; NaN with one seed."""
    cases = 100 * rows.groupby(CASE_KEYS).accuracy.agg(np.ptp)
    return float(cases.max()) if len(set(rows.seed)) > 1 else np.nan
