"""Where series leave models that save work by input, and what that costs on average and in the tail."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tsc_lib.analysis.rows import CASE_KEYS
from tsc_lib.compress import REFERENCE, Family
from tsc_lib.study import Study
from tsc_lib.study.evaluation import Evaluation, Failure

VARIANT = [*CASE_KEYS, "seed", "recipe", "runtime"]

TAIL = ("macs_mean", "macs_p95", "macs_worst")

COLUMNS = [
    *VARIANT,
    *["place", "layers", "threshold", "left_valid", "left_test", "macs"],
    *TAIL,
    "reference_macs",
]
"""Columns of `places_left`, in order."""


def places_left(study: Study) -> pd.DataFrame:
    """One row for every place where series leave a model with early exits or fewer tokens; the end is the last place.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`. ``place`` counts from 1, after so many ``layers``; ``left_valid`` and ``left_test`` are
        shares of the series of a split, ``macs`` the multiply-accumulates for a series that leaves there, all for the
        training data's median length. ``macs_mean``, ``macs_p95`` and ``macs_worst`` are over the test series, and
        ``reference_macs`` those of the uncompressed model. Fewer tokens cost the same for every series.
    """
    rows: list[dict[str, object]] = []
    for run in study.runs:
        reference = study.evaluate(run, REFERENCE)
        for variant in study.variants_of(run):
            found = study.evaluate(run, variant)
            if isinstance(found, Failure) or variant.family not in (Family.EARLY, Family.FEWER):
                continue
            names: dict[str, object] = {**run.names, **variant.names}
            if isinstance(reference, Evaluation):
                names["reference_macs"] = reference.size.macs
            rows += [{**names, **place} for place in _places(found)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _places(found: Evaluation) -> list[dict[str, object]]:
    exits = found.exits
    if exits is None:
        same = dict.fromkeys(("macs", *TAIL), found.size.macs)
        return [{"place": 1, "left_valid": 1.0, "left_test": 1.0, **same}]
    valid = found.evidence[-1].details["valid_left"]
    columns = zip(exits.layers, exits.thresholds, valid, exits.left, exits.macs, strict=True)
    names = ("layers", "threshold", "left_valid", "left_test", "macs")
    tail = {name: getattr(exits, name) for name in TAIL}
    return [
        {"place": place, **dict(zip(names, values, strict=True)), **tail} for place, values in enumerate(columns, 1)
    ]


def summary(places: pd.DataFrame) -> pd.DataFrame:
    """One row per trained model and variant: who leaves early, and the work that is left of the uncompressed model's.

    Returns
    -------
    DataFrame
        Columns `dataset`, `model`, `seed`, `recipe`, `runtime`, `left_early_valid` and `left_early_test` (% of the
        series that leave before the end), `mean`, `p95` and `worst` (% of the uncompressed model's MACs).
    """
    rows = []
    for names, part in places.groupby(VARIANT, sort=False):
        early, last = part.iloc[:-1], part.iloc[-1]
        shares = [100 * early[name].sum() for name in ("left_valid", "left_test")]
        work = [100 * last[name] / last.reference_macs for name in TAIL]
        rows.append((*names, *np.round([*shares, *work], 1)))
    return pd.DataFrame(rows, columns=[*VARIANT, "left_early_valid", "left_early_test", "mean", "p95", "worst"])
