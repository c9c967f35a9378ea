"""A whole archive: what is saved and lost over its data sets, who wins where, and what of a data set tells it.

Costs are ratios to the first network as trained in eager, each formed within one session.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import scipy  # loads `scipy.stats`, which takes a second, when it is used

from tsc_lib.analysis.contenders import TRANSFORMERS, name_contenders
from tsc_lib.analysis.quantities import PERMITTED_LOSS, TARGETS
from tsc_lib.analysis.ranking import Ranking, correct_by_holm, rank
from tsc_lib.analysis.rows import drop_failures, select_batch
from tsc_lib.analysis.tables import strategy_table
from tsc_lib.compress import Family
from tsc_lib.core.stats import geometric_mean_interval, pareto_front

TRAITS = {
    "longest": "time steps of the longest series",
    "classes": "classes",
    "train": "training series",
    "channels": "channels",
}
"""What is known of a data set before anything is trained, and what it is called."""

FEWEST = 6
"""Data sets without which no correlation is looked for."""


def savings_by_dataset(results: pd.DataFrame) -> pd.DataFrame:
    """What each strategy saves and loses on each data set, at the large batch, means over the seeds.

    Returns
    -------
    DataFrame
        Columns `dataset`, `model`, `strategy`, `family`, `cpu_ratio` (to the same model as trained in eager) and
        `points_lost`; without the models as trained.
    """
    table = strategy_table(drop_failures(results))
    table = table[table.family != Family.BASELINE]
    names = [
        f"{row.model}: {row.label}" + ("" if row.runtime in row.label else f" in {row.runtime}")
        for row in table.itertuples()
    ]
    columns = ["dataset", "model", "strategy", "family", "cpu_ratio", "points_lost"]
    return table.assign(strategy=names)[columns].reset_index(drop=True)


def summarize_savings(savings: pd.DataFrame) -> pd.DataFrame:
    """Each strategy over the data sets.

    Returns
    -------
    DataFrame
        Columns `strategy`, `family`, `datasets`, `cpu_ratio` and `points_lost` (medians) with quartiles (`..._low`,
        `..._high`), `within` (how many data sets lose at most `PERMITTED_LOSS` points) and `small_too` (how many of
        these need at most one part in `TARGETS` of the CPU time).
    """
    rows = []
    for strategy, part in savings.groupby("strategy", sort=False):
        row: dict[str, object] = {"strategy": strategy, "family": part.family.iloc[0], "datasets": len(part)}
        for value in ("cpu_ratio", "points_lost"):
            row |= zip((f"{value}_low", value, f"{value}_high"), part[value].quantile([0.25, 0.5, 0.75]), strict=True)
        within = part.points_lost <= PERMITTED_LOSS
        small = part.cpu_ratio <= 1 / TARGETS["large"]
        rows.append(row | {"within": int(within.sum()), "small_too": int((within & small).sum())})
    return pd.DataFrame(rows)


def standings(models: pd.DataFrame) -> pd.DataFrame:
    """Every contender on every data set: accuracy over the seeds, and cost in its cheapest form at the large batch.

    Parameters
    ----------
    models : DataFrame
        Of `tsc_lib.study.model_comparison.ModelComparison.table`.

    Returns
    -------
    DataFrame
        Columns `dataset`, `name`, `kind`, `accuracy` (%), `cpu_ratio` and `energy_ratio`. A model that another runtime
        executes gives the same answers, so it is a form of the model and no contender of its own.
    """
    answered = models.dropna(subset="accuracy")
    columns = ["dataset", "name", "kind", "accuracy", "cpu_ratio", "energy_ratio"]
    if answered.empty:
        return pd.DataFrame(columns=columns)
    named = name_contenders(select_batch(answered))
    named["name"] = named.name.where(named.form == "compressed", named.model)
    own = named[named.form != "exported"].groupby(["dataset", "name", "kind"], sort=False).accuracy.mean()
    costs = named.groupby(["dataset", "name", "kind"], sort=False)[["cpu_ratio", "energy_ratio"]].min()
    return costs.assign(accuracy=100 * own).reset_index()[columns]


def rank_standings(table: pd.DataFrame) -> Ranking | None:
    """The contenders of `standings` ranked over the data sets that all have; None where there is nothing to rank."""
    wide = table.pivot_table(index="dataset", columns="name", values="accuracy", sort=False)
    return rank(table.rename(columns={"name": "model"})) if wide.shape[1] > 1 and len(wide.dropna()) else None


def choose_ours(table: pd.DataFrame) -> str:
    """The contender that is set beside the classics: our model, or else the first transformer."""
    for kinds in (["ours"], list(TRANSFORMERS)):
        if (chosen := table.kind.isin(kinds)).any():
            return str(table.name[chosen].iloc[0])
    return ""


def beside_classics(table: pd.DataFrame, ours: str) -> pd.DataFrame:
    """One contender beside each classic, data set by data set.

    Returns
    -------
    DataFrame
        Columns `dataset`, `classic`, `kind`, `ours`, `accuracy` and `classic_accuracy` (%), `points` (ours minus the
        classic's) and `cpu_ratio` (ours ÷ the classic's).
    """
    mine = table.loc[table.name == ours, ["dataset", "accuracy", "cpu_ratio"]]
    others = table[~table.kind.isin(TRANSFORMERS)].rename(columns={"name": "classic"})
    both = others.merge(mine.assign(ours=ours), on="dataset", suffixes=("_theirs", ""))
    both["points"] = both.accuracy - both.accuracy_theirs
    both["cpu_ratio"] /= both.cpu_ratio_theirs
    both = both.rename(columns={"accuracy_theirs": "classic_accuracy"})
    return both[["dataset", "classic", "kind", "ours", "accuracy", "classic_accuracy", "points", "cpu_ratio"]]


def ranks_and_energy(table: pd.DataFrame, ranking: Ranking | None) -> pd.DataFrame:
    """Average rank in accuracy and energy of every contender over the ranked data sets.

    Returns
    -------
    DataFrame
        Columns `name`, `kind`, `rank`, `datasets` and `energy_ratio`, a geometric mean over the data sets on which the
        contender was measured with a 95 % interval, and `front`, whether none is better in both.
    """
    rows = []
    ranked = {} if ranking is None else ranking.ranks
    datasets = [] if ranking is None else ranking.accuracy.index
    for name, value in ranked.items():
        part = table[table.name == name]
        ratios = part.energy_ratio[part.dataset.isin(datasets)].dropna().to_numpy(float)
        ends = geometric_mean_interval(ratios) if len(ratios) else (np.nan, np.nan, np.nan)
        rows.append((name, part.kind.iloc[0], value, len(ratios), *ends))
    ends_of = ["energy_ratio", "energy_ratio_low", "energy_ratio_high"]
    found = pd.DataFrame(rows, columns=["name", "kind", "rank", "datasets", *ends_of])
    return found.assign(front=pareto_front(found.energy_ratio, -found["rank"]))


def join_traits(pairs: pd.DataFrame, traits: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """`beside_classics` with the `TRAITS` of each data set, of all their training series those for validation, too."""
    known = pd.DataFrame.from_dict({name: dict(each) for name, each in traits.items()}, orient="index")
    if known.empty:
        return pairs.assign(**dict.fromkeys(TRAITS, np.nan))
    known["train"] += known["valid"]
    return pairs.merge(known[list(TRAITS)].astype(float), left_on="dataset", right_index=True, how="left")


def correlate_traits(table: pd.DataFrame) -> pd.DataFrame:
    """Spearman's correlation of points above each classic with each trait, over the data sets.

    Parameters
    ----------
    table : DataFrame
        Of `join_traits`.

    Returns
    -------
    DataFrame
        Columns `classic`, `trait`, `datasets`, `rho`, `p`, and `p_holm` after Holm's correction for all of them; empty
        for fewer than `FEWEST` data sets. Traits that do not differ are left out.
    """
    rows = []
    for classic, part in table.groupby("classic", sort=False):
        for trait in TRAITS:
            both = part[["points", trait]].dropna()
            if len(both) >= FEWEST and both[trait].std() > 0 and both.points.std() > 0:
                found = scipy.stats.spearmanr(both.points, both[trait])
                rows.append((classic, trait, len(both), float(found.statistic), float(found.pvalue)))
    table = pd.DataFrame(rows, columns=["classic", "trait", "datasets", "rho", "p"])
    return table.assign(p_holm=correct_by_holm(table.p) if len(table) else [])


def validation_gaps(models: pd.DataFrame) -> pd.DataFrame:
    """By how much the validation accuracy of a network as trained was above its test accuracy.

    Returns
    -------
    DataFrame
        Columns `dataset`, `model`, `seed`, `valid` and `test` (%), and `points` (validation minus test).
    """
    rows = models.dropna(subset=["accuracy", "accuracy_valid"]).drop_duplicates(["dataset", "model", "seed"])
    valid, test = 100 * rows.accuracy_valid.astype(float), 100 * rows.accuracy.astype(float)
    return rows[["dataset", "model", "seed"]].assign(valid=valid, test=test, points=valid - test)
