"""Models set beside each other, transformers and classics: accuracy, cost of an inference, cost of training."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tsc_lib.analysis.quantities import PERMITTED_LOSS, find_fronts, over_seeds
from tsc_lib.analysis.ranking import Ranking, accuracy_by_model, beside, rank
from tsc_lib.analysis.references import best_published
from tsc_lib.analysis.rows import batch_kinds, select_batch
from tsc_lib.compress import BASELINE, CLASSIC, REFERENCE, Variant
from tsc_lib.energy import require_same_source

STUDIED = ("T1", "T2")
TRANSFORMERS = ("the study's", "ours")
"""Kinds of models that are transformers."""

KINDS = {
    "MiniROCKET": "kernels",
    "MultiROCKET-Hydra": "kernels",
    "QUANT": "summaries",
    "Catch22": "summaries",
    "1NN-DTW": "distances",
}
"""What classics look at."""

NAMES = ["dataset", "model", "name", "kind", "form", "recipe", "runtime"]
"""Columns that name a contender on a data set."""

COSTS = ["cpu_ms_per_sample", "energy_mj_per_sample"]


def name_contenders(table: pd.DataFrame) -> pd.DataFrame:
    """A table of models side by side, or of their predictions, with what each row's model and variant amount to.

    Parameters
    ----------
    table : DataFrame
        Columns `model`, `recipe`, `runtime`; a `kind` is replaced by ours.

    Returns
    -------
    DataFrame
        A copy with columns `form` ("trained", "exported" to another runtime, or "compressed"), `kind` ("the study's"
        and "ours" are transformers; of classics what they look at) and `name`, that of the model and its form.
    """
    variants = table[["model", "recipe", "runtime"]].drop_duplicates()
    many = variants[variants.recipe != str(BASELINE)].groupby("model").size()
    found = [
        _describe(model, recipe, runtime, several=many.get(model, 0) > 1)
        for model, recipe, runtime in variants.itertuples(index=False, name=None)
    ]
    described = variants.join(pd.DataFrame(found, variants.index, ["form", "kind", "name"]))
    return table.drop(columns="kind", errors="ignore").merge(described, on=["model", "recipe", "runtime"])


def _describe(model: str, recipe: str, runtime: str, *, several: bool) -> tuple[str, str, str]:
    classic = runtime == CLASSIC.runtime
    if recipe != str(BASELINE):
        variant = Variant.parse(recipe, runtime)
        form, name = "compressed", f"{model}, {variant.label}" if several else f"{model} compressed"
    elif classic or runtime == REFERENCE.runtime:
        form, name = "trained", model
    else:
        form, name = "exported", f"{model} in {runtime}"
    network = "the study's" if model.split("(")[0] in STUDIED else "ours"
    return form, KINDS.get(model, "other classics") if classic else network, name


def contender_table(models: pd.DataFrame, answers: pd.DataFrame, training: pd.DataFrame) -> pd.DataFrame:
    """What every model reaches and costs in each of its forms, over the seeds.

    Parameters
    ----------
    models, answers, training : DataFrame
        Of `table`, `predictions` and `training_costs` of `tsc_lib.study.model_comparison.ModelComparison`.

    Returns
    -------
    DataFrame
        One row for each data set, model, form and kind of batch. Columns `NAMES`, `which` ("small" or "large"),
        `batch_size`, `seeds`; `accuracy` (%) with a 95 % interval over seeds and test series together;
        `cpu_ms_per_sample` and `energy_mj_per_sample`, geometric means with an interval over the seeds, of one seed
        over the blocks of its session; `energy_source`; `train_cpu_s` and `train_joules` of the model as trained, means
        over the seeds, missing of compressed ones. Costs of what was not measured are missing.
    """
    models = name_contenders(models.dropna(subset="accuracy"))
    parts = []
    for which in batch_kinds(models):
        rows = select_batch(models, which)
        sizes = rows.groupby("dataset").batch_size.first()
        part = over_seeds(rows, NAMES, means=["accuracy"], ratios=COSTS)
        parts.append(part.assign(which=which, batch_size=part.dataset.map(sizes)))
    table = pd.concat(parts, ignore_index=True).drop(columns=["accuracy", "accuracy_low", "accuracy_high", "seeds"])
    table = table.merge(accuracies(answers), on=["dataset", "name"])
    spent = training.groupby(["dataset", "model"], as_index=False)[["cpu_seconds", "joules"]].mean()
    spent = spent.rename(columns={"cpu_seconds": "train_cpu_s", "joules": "train_joules"})
    table = table.merge(spent, on=["dataset", "model"], how="left")
    table.loc[table.form == "compressed", ["train_cpu_s", "train_joules"]] = np.nan
    measured = models.dropna(subset="energy_mj_per_sample").energy_source
    return table.assign(energy_source=require_same_source(measured))


def accuracies(answers: pd.DataFrame) -> pd.DataFrame:
    """`accuracy_by_model` of every contender: columns `dataset`, `name`, `seeds`, `accuracy` and its ends."""
    named = name_contenders(answers)
    return accuracy_by_model(named.assign(model=named.name)).rename(columns={"model": "name"})


def _own_answers(answers: pd.DataFrame) -> pd.DataFrame:
    """The answers by contender; those of exported models, which are the trained ones', are left out."""
    named = name_contenders(answers)
    named = named[named.form != "exported"]
    return named.assign(model=named.name)


def rank_contenders(answers: pd.DataFrame) -> Ranking | None:
    """The contenders that give answers of their own, ranked over the data sets; None if there is one alone."""
    table = accuracy_by_model(_own_answers(answers))
    return rank(table) if len(set(table.model)) > 1 else None


def list_pairs(ranking: Ranking | None) -> pd.DataFrame:
    """The pairs of a ranking, as `tsc_lib.analysis.ranking.compare_pairs` tells them; empty without a ranking."""
    return pd.DataFrame(columns=["first", "second"]) if ranking is None else ranking.pairs


def points_beside(answers: pd.DataFrame, reference: str) -> pd.DataFrame:
    """`tsc_lib.analysis.ranking.beside` of the contenders that give answers of their own, with a column `kind`."""
    own = _own_answers(answers)
    table = beside(own, reference)
    return table.assign(kind=table.model.map(dict(zip(own.model, own.kind, strict=True))))


def choose_reference(table: pd.DataFrame) -> str:
    """The model that others are set beside: the first classic of a `contender_table`, or its first model."""
    classics = table[~table.kind.isin(TRANSFORMERS)]
    return str((classics if len(classics) else table).model.iloc[0])


def find_front(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a `contender_table` that no other of the same data set and batch beats, from the cheapest on."""
    return find_fronts(table, ["dataset", "which"], "energy_mj_per_sample")


def as_accurate(table: pd.DataFrame) -> pd.Series:
    """Which rows of a `contender_table` are at most `PERMITTED_LOSS` points below the reference on their data set."""
    own = table[table.name == choose_reference(table)].drop_duplicates("dataset").set_index("dataset").accuracy
    return table.accuracy >= table.dataset.map(own).fillna(0) - PERMITTED_LOSS


def cheapest_by_use(table: pd.DataFrame) -> pd.DataFrame:
    """Which model costs least CPU time in all, training and use at the large batch, by how many series it classifies.

    Parameters
    ----------
    table : DataFrame
        Of `contender_table`.

    Returns
    -------
    DataFrame
        For each data set the models that are cheapest somewhere, of those that are `as_accurate`, with `since`, the
        number of classifications from which they are, and `accuracy`, `train_cpu_s` and `cpu_ms_per_sample`.
    """
    rows = table[(table.which == "large") & as_accurate(table)].dropna(subset=["train_cpu_s", "cpu_ms_per_sample"])
    found = []
    for _, part in rows.groupby("dataset", sort=False):
        best, since = part.sort_values(["train_cpu_s", "cpu_ms_per_sample"]).iloc[0], 0.0
        while True:
            found.append({**best[["dataset", "name", "accuracy", "train_cpu_s", "cpu_ms_per_sample"]], "since": since})
            cheaper = part[part.cpu_ms_per_sample < best.cpu_ms_per_sample]
            if cheaper.empty:
                break
            extra, saved = cheaper.train_cpu_s - best.train_cpu_s, best.cpu_ms_per_sample - cheaper.cpu_ms_per_sample
            crossings = 1000 * extra / saved
            best, since = cheaper.loc[crossings.idxmin()], float(crossings.min())
    return pd.DataFrame(found, columns=["dataset", "name", "accuracy", "train_cpu_s", "cpu_ms_per_sample", "since"])


def beside_published(table: pd.DataFrame) -> pd.DataFrame:
    """The most accurate transformer and classic that were run here, and the best that others published, side by side.

    Published numbers are on the same split; they had no part in any test or front here.

    Returns
    -------
    DataFrame
        Columns `dataset`, `what`, `method`, `accuracy` (%), `version` (of the data set) and `source` ("run here", or
        the repository).
    """
    rows = []
    for dataset, part in table[table.form == "trained"].groupby("dataset", sort=False):
        for what, transformers in (("transformer", True), ("classic", False)):
            own = part[part.kind.isin(TRANSFORMERS) == transformers]
            if len(own):
                best = own.loc[own.accuracy.idxmax()]
                rows.append((dataset, f"best {what} here", best["name"], best.accuracy, "", "run here"))
        for what, transformers in (("transformer", True), ("of anything", False)):
            published = best_published(dataset, transformers=transformers)
            if published is not None:
                named = (published.method, 100 * published.accuracy, published.version, published.source)
                rows.append((dataset, f"best published {what}", *named))
    return pd.DataFrame(rows, columns=["dataset", "what", "method", "accuracy", "version", "source"])
