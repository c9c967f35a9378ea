"""The finalists of a search: which recipes, made again for every seed, measured in one session and judged there."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tsc_lib.benchmark import BenchmarkSettings, Session
from tsc_lib.compress import REFERENCE, Recipe, Variant
from tsc_lib.core.store import StageFailed
from tsc_lib.search.selection import judge, paired_drop, rank
from tsc_lib.search.trials import Search, TrainedRecipe, list_trained
from tsc_lib.search.worker import make_side_by_side, open_study
from tsc_lib.study import stages

FINALISTS = 6
"""Trained recipes that are measured properly."""

FORMATS_OF = 2
"""How many of them are also measured in the other runtimes, and tried in other number formats."""

BLOCKS = 40
"""Paired repeats of their session."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finalist(TrainedRecipe):
    """A recipe in a runtime that was measured in a session; its costs are shares of the uncompressed model's.

    ``..._low`` and ``..._high`` are the ends of the session's 95 % intervals.
    """

    cpu_ratio_batch_1: float | None
    cpu_ratio_batch_1_low: float | None
    cpu_ratio_batch_1_high: float | None
    cpu_ratio_large: float | None
    cpu_ratio_large_low: float | None
    cpu_ratio_large_high: float | None
    energy_ratio_large: float | None
    energy_ratio_large_low: float | None
    energy_ratio_large_high: float | None
    energy_source: str
    latency_ratio: float
    size_ratio: float


def trained_table(journal: Path) -> pd.DataFrame:
    """The recipes that were trained to their end, each once, with what the short benchmark and validation say."""
    table = _table(list_trained(open_study(journal)), TrainedRecipe)
    return table.drop_duplicates("recipe", ignore_index=True).assign(measured=False)


def select_finalists(table: pd.DataFrame, max_drop: float) -> pd.DataFrame:
    """The recipes to measure: the best, the front, and the best of the rest."""
    candidates = rank(judge(table, max_drop))
    best = pd.concat([candidates.head(FINALISTS // 2), candidates[candidates.front], candidates])
    return best.drop_duplicates("recipe").head(FINALISTS)


def make_for_all_seeds(search: Search, recipes: list[str], jobs: int) -> None:
    """Make recipes from the models of the other seeds too, several at the same time."""
    if others := search.runs[1:]:
        logger.info(f"making the {len(recipes)} finalists again from the models of {len(others)} other seeds")
        wanted = [search.extra, *map(Recipe.parse, recipes)]
        make_side_by_side(search, [(run, (recipe,)) for run in others for recipe in wanted], jobs)


def measure_finalists(search: Search, candidates: pd.DataFrame) -> pd.DataFrame:
    """Candidates, one row each, measured side by side in one session."""
    variants = [Variant.parse(*each) for each in zip(candidates.recipe, candidates.runtime, strict=True)]
    for variant, cost in list(zip(variants, candidates.cost, strict=True))[:FORMATS_OF]:
        logger.info(f"other runtimes and number formats of {variant.recipe}")
        variants += search.benchmark.find_alternatives(variant, cost)
    judged: dict[Variant, TrainedRecipe] = {}
    for done, variant in enumerate(variants):
        logger.info(f"finalist {done + 1} of {len(variants)}: {variant}", extra={"steps": (done, len(variants))})
        try:
            judged[variant] = _judge_on_validation(search, variant)
        except StageFailed as failure:
            logger.warning(f"{variant} failed: {failure}")
    settings = settings_of_session(search.spec.batch_sizes)
    logger.info(f"measuring {len(judged)} finalists in one session, alone")
    session = stages.measure(search.runs[0], list(judged), settings)
    found = [_with_costs(search, variant, recipe, session) for variant, recipe in judged.items()]
    return _table([finalist for finalist in found if finalist is not None], Finalist).assign(measured=True)


def settings_of_session(batch_sizes: tuple[int, ...]) -> BenchmarkSettings:
    """How finalists are measured."""
    return BenchmarkSettings(batch_sizes=batch_sizes, blocks=BLOCKS, max_seconds=15.0)


def _judge_on_validation(search: Search, variant: Variant) -> TrainedRecipe:
    """What a variant loses on validation over all seeds; what it costs is not known yet."""
    correct = [search.correct(run, variant) for run in search.runs]
    drop, error = paired_drop([search.reference_correct(run) for run in search.runs], correct)
    accuracy = float(sum(each.mean() for each in correct) / len(correct))
    own, whole = (stages.evaluate(search.runs[0], each).size.macs for each in (variant, REFERENCE))
    return TrainedRecipe(
        **variant.names, macs=own / whole, cost=np.nan, valid_accuracy=accuracy, drop=drop, error=error
    )


def _with_costs(search: Search, variant: Variant, recipe: TrainedRecipe, session: Session) -> Finalist | None:
    """A variant with its costs; None if it was not measured, or the counter vouched for too little of its energy."""
    small, large = session.of(variant, 1), session.of(variant, search.spec.batch_size)
    before = session.of(REFERENCE, 1)
    if small and large and before and small.latency_p50_ms and before.latency_p50_ms and large.ok:
        size, whole = (stages.evaluate(search.runs[0], each).conversion.model_bytes for each in (variant, REFERENCE))
        latency = small.latency_p50_ms / before.latency_p50_ms
        costs = {"energy": large.energy_ratio, "time": large.cpu_ratio, "latency": latency, "size": size / whole}
        if (cost := costs[search.spec.objective]) is not None:
            return Finalist(
                **dataclasses.asdict(dataclasses.replace(recipe, cost=cost)),
                cpu_ratio_batch_1=small.cpu_ratio,
                cpu_ratio_batch_1_low=small.cpu_ratio_low,
                cpu_ratio_batch_1_high=small.cpu_ratio_high,
                cpu_ratio_large=large.cpu_ratio,
                cpu_ratio_large_low=large.cpu_ratio_low,
                cpu_ratio_large_high=large.cpu_ratio_high,
                energy_ratio_large=large.energy_ratio,
                energy_ratio_large_low=large.energy_ratio_low,
                energy_ratio_large_high=large.energy_ratio_high,
                energy_source=large.energy_source,
                latency_ratio=latency,
                size_ratio=size / whole,
            )
    logger.warning(f"{variant} was not measured: its session, or the energy counter, failed")
    return None


def _table(rows: Sequence[TrainedRecipe], kind: type[TrainedRecipe]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=[field.name for field in dataclasses.fields(kind)])
