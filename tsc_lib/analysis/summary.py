"""The project's question answered in words, with every number computed from the results table."""

from __future__ import annotations

import pandas as pd

from tsc_lib.analysis.findings.energy import best_table
from tsc_lib.analysis.quantities import PERMITTED_LOSS, average_ratio, best_within, control_deviations, percent_saved
from tsc_lib.analysis.rows import CASE_KEYS, drop_collapsed, drop_failures, find_collapsed, name_batches, nearest_ratio
from tsc_lib.analysis.tables import strategy_table
from tsc_lib.analysis.wording import join_items, name_runs
from tsc_lib.compress import Family
from tsc_lib.energy import MEANING, require_same_source


def summarise(results: pd.DataFrame, claims: pd.DataFrame | None = None) -> str:
    """What classifying a time series costs, and what of that can be saved at what loss of accuracy, in Markdown.

    Parameters
    ----------
    results : DataFrame
        The results table; it may be empty, have failed rows, or one seed only.
    claims : DataFrame, optional
        The claims with a column `verdict`.

    Returns
    -------
    str
        Two or three paragraphs and a table. Models that give every test series the same class are
        named and left out of the savings.

    Raises
    ------
    tsc_lib.energy.SourceMismatchError
        If the energies come from more than one source.
    """
    done = drop_failures(results) if len(results) else results
    if not len(done):
        return f"There are no results yet to answer with.{_failures(results)}"
    table = strategy_table(drop_collapsed(done))
    texts = [_cost(done), _savings(table), best_table(table), _caveats(results, done)]
    if claims is not None and len(claims):
        counts = ", ".join(f"{verdict}: {n}" for verdict, n in claims.verdict.value_counts().items())
        texts.append(
            f"The reproduced study makes {claims.claim.nunique()} claims; one on a cost is judged in each runtime by "
            f"itself. [The verdicts](claims.md) are: {counts}."
        )
    return "\n\n".join(text for text in texts if text)


def _cost(done: pd.DataFrame) -> str:
    table = strategy_table(done)
    costs = table[table.family == Family.BASELINE].sort_values("energy_mj_per_sample")
    if not len(costs):
        return "The uncompressed models were not measured, so there is nothing to compare with."
    source = str(require_same_source(done.energy_source))
    least, most = costs.iloc[0], costs.iloc[-1]
    places = [f"**{_mj(row.energy_mj_per_sample)}** ({_place(row)})" for row in (least, most)]
    return (
        f"Classifying one time series with an uncompressed transformer costs {' to '.join(dict.fromkeys(places))} of "
        f"energy, in {name_batches(costs)} with PyTorch in fp32. This energy is *{source}*: {MEANING[source].origin}; "
        f"its band reaches from {_mj(least.energy_low_mj_per_sample)} to {_mj(most.energy_high_mj_per_sample)}."
    )


def _savings(table: pd.DataFrame) -> str:
    if not len(table):
        return "No model learned to tell the classes apart, so no saving can be weighed against accuracy."
    best = best_within(table)
    if not len(best):
        text = f"No strategy surely saved energy while losing at most {PERMITTED_LOSS:g} point of accuracy."
    else:
        least, most = best.loc[best.energy_ratio.idxmax()], best.loc[best.energy_ratio.idxmin()]
        text = f"Losing at most {PERMITTED_LOSS:g} point of accuracy, "
        text += f"{_saved(most)} of it can be saved with {_how(most)}"
        if len(best) > 1:
            text += f", and {_saved(least)} with {_how(least)}"
        text += ". The best strategy is named with hindsight, by these very results."
        missing = table[CASE_KEYS].drop_duplicates().merge(best[CASE_KEYS], how="left", indicator=True)
        if len(missing := missing[missing._merge == "left_only"]):
            places = join_items(f"{row.model} on {row.dataset}" for row in missing.itertuples())
            text += f" Nothing within that bound surely saved anything with {places}."
    half = nearest_ratio(table, 0.5)
    alike = table[(table.family != Family.BASELINE) & (table.ratio.isna() | (table.ratio == half))]
    means = {
        str(family): average_ratio(part, "energy_ratio") for family, part in alike.groupby("family", observed=True)
    }
    if means:
        at = f" (pruned by {100 * half:.0f}\u00a0%)" if half is not None else ""
        changes = join_items(f"{family} {_change(ratio)}" for family, ratio in means.items())
        text += f" By kind of strategy{at}, geometric mean over data sets and models, whatever the accuracy: {changes}."
    return text


def _caveats(results: pd.DataFrame, done: pd.DataFrame) -> str:
    text = ""
    constant = find_collapsed(done)
    if len(constant):
        text = (
            f"{name_runs(constant)} gives every test series the same class. There is no accuracy to lose there, so the "
            "savings above leave it out."
        )
    controls = control_deviations(done).percent
    if len(controls):
        text += (
            f" The same model measured against itself differed by at most {controls.max():.1f}\u00a0%; "
            "smaller differences mean nothing."
        )
    return (text + _failures(results)).strip()


def _failures(results: pd.DataFrame) -> str:
    failed = int((results.status != "ok").sum()) if len(results) else 0
    return f" {failed} of {len(results)} rows of the [table](results.md) failed; it says why." if failed else ""


def _place(row: pd.Series) -> str:
    return f"{row.model} on {row.dataset}"


def _saved(row: pd.Series) -> str:
    return f"**{percent_saved(row.energy_ratio):.0f}\u00a0%**"


def _how(row: pd.Series) -> str:
    return f"{_place(row)}, by {row.label} (`{row.recipe}` in {row.runtime})"


def _mj(value: float) -> str:
    return f"{value:.2g}\u00a0mJ" if value < 100 else f"{value:.0f}\u00a0mJ"


def _change(ratio: float) -> str:
    saved = round(percent_saved(ratio))
    return f"{abs(saved)}\u00a0% {'less' if saved > 0 else 'more'}" if saved else "no change"
