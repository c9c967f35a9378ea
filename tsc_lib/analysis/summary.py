"""The project's question answered in words, with every number computed from the results table."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from tsc_lib.analysis.strategies import BASELINE, FAMILIES, REFERENCE_RUNTIME, annotate, nearest_ratio
from tsc_lib.analysis.tables import CELL, PERMITTED_LOSS, at_batch, collapsed, learned
from tsc_lib.core.stats import geometric_mean_interval
from tsc_lib.energy import MEANING, same_source


def answer(results: pd.DataFrame, claims: pd.DataFrame | None = None, *, points: float = PERMITTED_LOSS) -> str:
    """What classifying a time series costs, and what of that can be saved at what loss of accuracy, in Markdown.

    Parameters
    ----------
    results : DataFrame
        The results table; it may be empty, have failed rows, or one seed only.
    claims : DataFrame, optional
        The claims with a column `verdict`.
    points : float
        Percentage points of accuracy, mean over seeds, that may be lost.

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
    done = results[results.status == "ok"] if len(results) else results
    if not len(done):
        return f"There are no results yet to answer with.{_failures(results)}"
    done = at_batch(done)
    table = summarise(learned(done))
    texts = [_cost(done), _savings(table, points), _table(table, points), _caveats(results, done)]
    if claims is not None and len(claims):
        counts = ", ".join(f"{verdict}: {n}" for verdict, n in claims.verdict.value_counts().items())
        texts.append(
            f"Of the reproduced study's {len(claims)} claims as checked here ([each of them](claims.md)): {counts}."
        )
    return "\n\n".join(text for text in texts if text)


def summarise(results: pd.DataFrame) -> pd.DataFrame:
    """One row per data set, model, recipe and runtime, over the seeds, at the one batch size that is given.

    Returns
    -------
    DataFrame
        Columns dataset, model, recipe, runtime, family, label, ratio, seeds, accuracy, drop (points), saving with its
        interval saving_low and saving_high (fractions; over seeds, or within the session if there is one seed), and
        energy_mj, energy_low, energy_high per sample.
    """
    rows = []
    annotated = annotate(results).astype({"family": str})
    for _, same in annotated.groupby([*CELL, "recipe", "runtime"], sort=False):
        ratio, low, high = geometric_mean_interval(same.energy_ratio)
        if len(same) == 1:
            low, high = same.energy_ratio_low.iloc[0], same.energy_ratio_high.iloc[0]
        rows.append(
            {
                **same.iloc[0][[*CELL, "recipe", "runtime", "family", "label", "ratio"]],
                "seeds": len(same),
                "accuracy": same.accuracy.mean(),
                "drop": same.accuracy_drop.mean(),
                "saving": 1 - ratio,
                "saving_low": 1 - high,
                "saving_high": 1 - low,
                "energy_mj": same.energy_mj_per_sample.mean(),
                "energy_low": same.energy_low_mj_per_sample.mean(),
                "energy_high": same.energy_high_mj_per_sample.mean(),
            }
        )
    return pd.DataFrame(rows)


def _cost(done: pd.DataFrame) -> str:
    reference = done[(done.recipe == BASELINE) & (done.runtime == REFERENCE_RUNTIME)]
    if not len(reference):
        return "The uncompressed models were not measured, so there is nothing to compare with."
    source = str(same_source(done.energy_source))
    costs = summarise(reference).sort_values("energy_mj")
    least, most = costs.iloc[0], costs.iloc[-1]
    span = f"**{_mj(least.energy_mj)}** ({_place(least)})"
    if len(costs) > 1:
        span += f" to **{_mj(most.energy_mj)}** ({_place(most)})"
    return (
        f"Classifying one time series with an uncompressed transformer costs {span} of energy, in batches of "
        f"{_range(reference.batch_size)} with PyTorch in fp32. This energy is *{source}*: {MEANING[source].origin}; "
        f"its band reaches from {_mj(least.energy_low)} to {_mj(most.energy_high)}."
    )


def _savings(table: pd.DataFrame, points: float) -> str:
    if not len(table):
        return "No model learned to tell the classes apart, so no saving can be weighed against accuracy."
    best = _best(table, points)
    if not len(best):
        text = f"No strategy saved energy while losing at most {points:g} point of accuracy."
    else:
        least, most = best.loc[best.saving.idxmin()], best.loc[best.saving.idxmax()]
        text = f"Losing at most {points:g} point of accuracy, **{_percent(most.saving)}** of it can be saved with "
        text += f"{_place(most)}, by {_variant(most)}"
        if len(best) > 1:
            text += f", and **{_percent(least.saving)}** with {_place(least)}, by {_variant(least)}"
        text += ". The best strategy is named with hindsight, by these very results."
        missing = table[CELL].drop_duplicates().merge(best[CELL], how="left", indicator=True)
        if len(missing := missing[missing._merge == "left_only"]):
            places = _listed(_place(row) for row in missing.itertuples())
            text += f" Nothing within that bound saved anything with {places}."
    half = nearest_ratio(table, 0.5)
    alike = table[(table.family != BASELINE) & (table.ratio.isna() | (table.ratio == half))]
    means = alike.groupby("family").saving.agg(lambda s: 1 - np.exp(np.log1p(-s).mean()))
    means = means.reindex([family for family in FAMILIES if family in means.index])
    if len(means):
        at = f" (pruned by {_percent(half)})" if half is not None else ""
        changes = _listed(f"{family} {_change(saving)}" for family, saving in means.items())
        text += f" By kind of strategy{at}, averaged over data sets and models, whatever the accuracy: {changes}."
    return text


def _table(table: pd.DataFrame, points: float) -> str:
    best = _best(table, points)
    if not len(best):
        return ""
    lines = [
        f"| data set | model | seeds | accuracy | mJ per series | best within {points:g} point "
        "| saves (95\u00a0% interval) | points lost |",
        "| --- | --- | ---: | ---: | ---: | --- | ---: | ---: |",
    ]
    for row in best.itertuples():
        same = (table.dataset == row.dataset) & (table.model == row.model)
        base = table[same & (table.recipe == BASELINE) & (table.runtime == REFERENCE_RUNTIME)].iloc[0]
        interval = f"{100 * row.saving_low:.0f}\u00a0to\u00a0{100 * row.saving_high:.0f}"
        lines.append(
            f"| {row.dataset} | {row.model} | {row.seeds} | {base.accuracy:.3f} | {base.energy_mj:.3g} "
            f"| {row.label} | {_percent(row.saving)} ({interval}) | {row.drop:.1f} |"
        )
    return "\n".join(lines)


def _caveats(results: pd.DataFrame, done: pd.DataFrame) -> str:
    text = ""
    constant = collapsed(done)
    if len(constant):
        names = _listed(f"{row.model} on {row.dataset} (seed {row.seed})" for row in constant.itertuples())
        text = (
            f"{names} gives every test series the same class. There is no accuracy to lose there, so the savings above "
            "leave it out."
        )
    if controls := [abs(ratio - 1) for ratio in done.aa_ratio.dropna()]:
        text += (
            f" The same model measured against itself differed by at most {100 * max(controls):.1f}\u00a0%; "
            "smaller differences mean nothing."
        )
    return (text + _failures(results)).strip()


def _failures(results: pd.DataFrame) -> str:
    failed = int((results.status != "ok").sum()) if len(results) else 0
    return f" {failed} of {len(results)} rows of the [table](results.md) failed; it says why." if failed else ""


def _best(table: pd.DataFrame, points: float) -> pd.DataFrame:
    """For each data set and model that has a reference, what saves most within the bound, if anything surely saves."""
    if not len(table):
        return table
    reference = (table.recipe == BASELINE) & (table.runtime == REFERENCE_RUNTIME)
    kept = table[~reference & (table["drop"] <= points) & ~(table.saving_low <= 0) & (table.saving > 0)]
    best = kept.loc[kept.groupby(CELL, sort=False).saving.idxmax()]
    return best.merge(table.loc[reference, CELL])


def _range(values: pd.Series) -> str:
    least, most = int(values.min()), int(values.max())
    return f"{least}" if least == most else f"{least} to {most}"


def _place(row) -> str:
    return f"{row.model} on {row.dataset}"


def _variant(row) -> str:
    return f"{row.label} (`{row.recipe}` in {row.runtime})"


def _mj(value: float) -> str:
    return f"{value:.2g}\u00a0mJ" if value < 100 else f"{value:.0f}\u00a0mJ"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.0f}\u00a0%"


def _change(saving: float) -> str:
    if not round(100 * saving):
        return "no change"
    return f"{_percent(saving)} less" if saving > 0 else f"{_percent(-saving)} more"


def _listed(items: Iterable[str]) -> str:
    """Items as prose: "a", "a and b", "a, b and c"."""
    *first, last = items
    return f"{', '.join(first)} and {last}" if first else last
