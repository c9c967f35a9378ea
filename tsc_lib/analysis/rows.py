"""Rows of a results table: which there are, which are left out, and what kind of strategy each is."""

from __future__ import annotations

from functools import cache

import pandas as pd

from tsc_lib.compress import REFERENCE, Family, Variant
from tsc_lib.compress.pruning import Mask, Prune

CASE_KEYS = ["dataset", "model"]
"""Columns that name a case: a model on a data set."""

RUN_KEYS = [*CASE_KEYS, "seed"]
"""Columns that name a trained model."""

VARIANT_KEYS = [*CASE_KEYS, "family", "label", "norm", "ratio", "tuned", "recipe", "runtime"]
"""Columns that name a variant of a case, and what `annotate` adds to it."""


def drop_failures(results: pd.DataFrame) -> pd.DataFrame:
    """The rows of runs that did not fail."""
    return results[results.status == "ok"]


def list_failures(results: pd.DataFrame) -> pd.DataFrame:
    """The runs that failed, one row for each, with the reason."""
    failed = results[results.status != "ok"]
    return failed[[*CASE_KEYS, "recipe", "runtime", "seed", "status"]].drop_duplicates(ignore_index=True)


def select_batch(results: pd.DataFrame, which: str = "large") -> pd.DataFrame:
    """The rows at each data set's largest (or, with `which` "small", smallest) batch size."""
    sizes = results.groupby("dataset").batch_size
    return results[results.batch_size == sizes.transform("max" if which == "large" else "min")]


def batch_kinds(results: pd.DataFrame) -> list[str]:
    """The kinds of batch sizes in the results: "small" and "large", or "large" alone."""
    small = select_batch(results, "small").index.difference(select_batch(results).index)
    return ["small", "large"] if len(small) else ["large"]


def name_batches(rows: pd.DataFrame) -> str:
    """What to call the batch sizes of some rows: "batches of 1", "batches of 64 to 256"."""
    least, most = rows.batch_size.min(), rows.batch_size.max()
    return f"batches of {least:g}" if least == most else f"batches of {least:g} to {most:g}"


def select_variant(results: pd.DataFrame, variant: Variant) -> pd.DataFrame:
    """The rows of a results table that are about a variant."""
    return results[(results.recipe == str(variant.recipe)) & (results.runtime == variant.runtime)]


def select_reference(results: pd.DataFrame) -> pd.DataFrame:
    """The uncompressed models in the reference runtime."""
    return select_variant(drop_failures(results), REFERENCE)


def find_collapsed(results: pd.DataFrame) -> pd.DataFrame:
    """The trained models that give every test series the same class.

    Such a model has nothing to lose, so it proves nothing about a compression.

    Returns
    -------
    DataFrame
        Columns `dataset`, `model`, `seed` and `accuracy`.
    """
    baseline = select_reference(results).drop_duplicates(RUN_KEYS)
    return baseline.loc[baseline.classes_predicted == 1, [*RUN_KEYS, "accuracy"]].reset_index(drop=True)


def drop_collapsed(results: pd.DataFrame) -> pd.DataFrame:
    """The rows of models that have not collapsed to one class: only they have accuracy to lose."""
    lost = pd.MultiIndex.from_frame(find_collapsed(results)[RUN_KEYS])
    return results[~pd.MultiIndex.from_frame(results[RUN_KEYS]).isin(lost)]


def annotate(results: pd.DataFrame) -> pd.DataFrame:
    """The results with what each row's variant amounts to, in a stable order.

    Parameters
    ----------
    results : DataFrame
        With columns `recipe` and `runtime`.

    Returns
    -------
    DataFrame
        A copy with columns `family` (a categorical of `Family`), `label`, `tuned` (whether the recipe trains the model
        further) and, where one share is pruned, the criterion `norm` and the share `ratio`. It is ordered by family,
        ratio, norm and tuning, and then as it came.
    """
    variants = [_parse(*names) for names in zip(results.recipe, results.runtime, strict=True)]
    shares = [_pruned_share(variant) for variant in variants]
    added = results.assign(
        family=pd.Categorical([variant.family for variant in variants], list(Family), ordered=True),
        label=[variant.label for variant in variants],
        norm=[norm for norm, _ in shares],
        ratio=pd.Series([ratio for _, ratio in shares], results.index, dtype=float),
        tuned=[variant.recipe.is_tuned for variant in variants],
    )
    return added.sort_values(["family", "ratio", "norm", "tuned"], kind="stable", ignore_index=True)


@cache
def _parse(recipe: str, runtime: str) -> Variant:
    return Variant.parse(recipe, runtime)


@cache
def _pruned_share(variant: Variant) -> tuple[str | None, float | None]:
    """The criterion and the share of a variant that prunes one share by one criterion; None of others."""
    pruning = next((step for step in variant.recipe if isinstance(step, Mask | Prune)), None)
    if pruning is None or variant.family not in (Family.MASKS, Family.REMOVAL, Family.COMBINED):
        return None, None
    return pruning.norm if isinstance(pruning, Mask) else pruning.criterion, pruning.ratio


def nearest_ratio(results: pd.DataFrame, wanted: float) -> float | None:
    """The pruning ratio in annotated results that lies nearest to `wanted`; the smaller of two; None without any."""
    ratios = sorted(results.ratio.dropna().unique())
    return min(ratios, key=lambda ratio: (abs(ratio - wanted), ratio)) if ratios else None
