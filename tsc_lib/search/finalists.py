"""The finalists of a search: which recipes, made again for every seed, measured in one session and judged there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from tsc_lib.benchmark import BenchmarkSettings, Session
from tsc_lib.compress import REFERENCE, Recipe, Variant
from tsc_lib.core.store import StageFailed
from tsc_lib.search.choice import judged, paired_drop, ranked
from tsc_lib.search.cost import COMPILED
from tsc_lib.search.trials import Search, completed
from tsc_lib.search.worker import Repeats, open_study, workers
from tsc_lib.study import stages
from tsc_lib.study.stages import Progress

FINALISTS = 6
"""Trained recipes that are measured properly."""

FORMATS_OF = 2
"""How many of them are also measured in the other runtimes, and tried in other number formats."""

WORTH = 1.1
"""A number format is measured properly if it costs less than so many times its fp32 by the short benchmark.

That is too short to tell a tenth, and what it cannot tell must not decide.
"""

BLOCKS = 40
"""Paired repeats of their session."""

COLUMNS = ["recipe", "runtime", "macs", "cost", "valid_accuracy", "drop", "error"]
COSTS = ["cpu_ratio_batch_1", "cpu_ratio_large", "energy_ratio_large", "energy_source", "latency_ratio", "size_ratio"]


def trained(journal: Path) -> pd.DataFrame:
    """The recipes that were trained to their end, each once, with what the short benchmark and validation say."""
    table = pd.DataFrame(completed(open_study(journal, [0, 0])), columns=COLUMNS).drop_duplicates(
        "recipe", ignore_index=True
    )
    return table.assign(measured=False)


def chosen(table: pd.DataFrame, max_drop: float) -> pd.DataFrame:
    """The recipes to measure: the best, the front, and the best of the rest."""
    candidates = ranked(judged(table, max_drop))
    best = pd.concat([candidates.head(FINALISTS // 2), candidates[candidates.front], candidates])
    return best.drop_duplicates("recipe").head(FINALISTS)


def repeat(search: Search, request: dict[str, Any], recipes: list[str], jobs: int, say: Progress) -> None:
    """Make recipes from the models of the other seeds too, several at the same time."""
    repeats = [(run.seed, recipe) for run in search.runs[1:] for recipe in recipes]
    if not repeats:
        return
    say(f"making the {len(recipes)} finalists again from the models of {len(search.runs) - 1} other seeds")
    shifts = [Repeats(repeats[number::jobs]) for number in range(min(jobs, len(repeats)))]
    with workers(request, shifts[1:]):
        shifts[0].work(search)


def measured(search: Search, candidates: pd.DataFrame, say: Progress) -> pd.DataFrame:
    """Candidates measured side by side in one session, and judged in their runtimes."""
    spec, run = search.spec, search.runs[0]
    variants = [Variant.parse(*each) for each in zip(candidates.recipe, candidates.runtime, strict=True)]
    for row in candidates.head(FORMATS_OF).itertuples():
        say(f"other runtimes and number formats of {row.recipe}")
        recipe = Recipe.parse(row.recipe)
        variants += [Variant(recipe, runtime) for runtime in COMPILED if runtime != row.runtime]
        formats = search.gauge.formats(recipe, spec.objective)
        variants += [variant for variant, cost in formats if cost < WORTH * row.cost]
    whole = stages.evaluate(run, REFERENCE).size.macs
    rows, working = [], []
    for variant in variants:
        try:
            drop, error, accuracy = _on_validation(search, variant, say)
            macs = stages.evaluate(run, variant).size.macs
        except StageFailed as failure:
            say(f"{variant} failed: {failure}")
            continue
        working.append(variant)
        facts = {**variant.names, "macs": macs / whole, "valid_accuracy": accuracy}
        rows.append(facts | {"drop": drop, "error": error})
    sizes = tuple(sorted({1, spec.batch_size}))
    settings = BenchmarkSettings(batch_sizes=sizes, blocks=BLOCKS, max_seconds=15.0)
    say(f"measuring {len(working)} finalists in one session, alone")
    session = stages.measure(run, working, settings)
    found = []
    for facts, variant in zip(rows, working, strict=True):
        known = _costs(search, variant, session)
        if known.get("cost") is not None:
            found.append(facts | known)
        else:
            say(f"{variant} was not measured: its session, or the energy counter, failed")
    return pd.DataFrame(found, columns=[*COLUMNS, *COSTS]).assign(measured=True)


def _on_validation(search: Search, variant: Variant, say: Progress) -> tuple[float, float, float]:
    """Points lost on validation and their standard error, and the accuracy, over all seeds."""
    for run in search.runs:
        say(f"{run.label}: {variant}")
    right = [search.right(run, variant) for run in search.runs]
    drop, error = paired_drop([search.reference_right(run) for run in search.runs], right)
    return drop, error, float(sum(each.mean() for each in right) / len(right))


def _costs(search: Search, variant: Variant, session: Session) -> dict[str, float | str | None]:
    """A finalist's costs as shares of the reference's, and its objective as ``cost``; nothing if it failed.

    The objective is None where it is energy and the counter vouched for too few windows: nothing else may stand in its
    place.
    """
    small, large = session.of(variant, 1), session.of(variant, search.spec.batch_size)
    before = session.of(REFERENCE, 1)
    if not (small and large and before and small.latency_p50_ms and before.latency_p50_ms and large.ok):
        return {}
    size = [stages.evaluate(search.runs[0], each).conversion.model_bytes for each in (variant, REFERENCE)]
    shares = {
        "energy": large.energy_ratio,
        "time": large.cpu_ratio,
        "latency": small.latency_p50_ms / before.latency_p50_ms,
        "size": size[0] / size[1],
    }
    values = (small.cpu_ratio, large.cpu_ratio, large.energy_ratio, large.energy_source)
    return {
        "cost": shares[search.spec.objective],
        **dict(zip(COSTS, (*values, shares["latency"], shares["size"]), strict=True)),
    }
