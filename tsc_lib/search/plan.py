"""A search for whoever only names data and minutes, as notebook 13 asks for it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from tsc_lib.core import store
from tsc_lib.core.limits import check_number
from tsc_lib.search.optimize import MINUTES, optimize
from tsc_lib.search.quick_benchmark import COMPILED, can_make_c
from tsc_lib.search.request import SearchRequest
from tsc_lib.search.results import NO_PROMISE, SearchResult

LEAST_EPOCHS, LEAST_FOLDS, LEAST_TRIALS, LEAST_MINUTES = 6, 2, 1, 60.0
"""Of the least search, which ends after its only trial, however many minutes a busy machine takes for it."""

ANY_LOSS = 100.0
"""Points that the least search permits: it has one recipe, so it cannot choose one that loses less."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SearchPlan:
    """A search as it is asked for.

    Attributes
    ----------
    request : SearchRequest
        What is searched for.
    minutes : float
        The budget of `tsc_lib.search.optimize.optimize`.
    trials : int or None
        Recipes after which it ends, whatever is left of the budget.
    """

    request: SearchRequest
    minutes: float
    trials: int | None

    @property
    def is_least(self) -> bool:
        """Whether it tries one recipe, which shows how a search goes and not what it can find."""
        return self.trials == LEAST_TRIALS

    @property
    def folder(self) -> Path:
        """Where its result and the exported model lie: apart from searches that the study's figures show."""
        return store.OUTPUTS / "own_data" / self.request.resolve().label

    def run(self) -> SearchResult:
        """Search, or load what was found."""
        return optimize(self.request, self.minutes, trials=self.trials, output=self.folder / "search")

    def tell_promise(self, result: SearchResult) -> str:
        """What is promised of the pick; of the least search without a verdict, since it permits any loss."""
        if result.promise is None:
            return NO_PROMISE
        return result.promise.evidence if self.is_least else str(result.promise)


def plan_search(dataset: str, minutes: float = 0.0) -> SearchPlan:
    """The search for a small model for a data set.

    Parameters
    ----------
    dataset : str
        A name, or a folder with ``*_TRAIN.ts`` and ``*_TEST.ts``.
    minutes : float
        Of the trials and the finalists' session. 0 for the least search: one recipe, a short training, and plain C
        where there is a compiler, since that converts fastest.

    Raises
    ------
    UserError
        If `minutes` is no such number.
    """
    check_number(minutes, "parameter 'minutes'", 0, MINUTES[1])
    if minutes:
        return SearchPlan(SearchRequest(dataset), minutes, None)
    runtime = COMPILED[-1] if COMPILED else "eager"
    if can_make_c():
        runtime = "c"
    request = SearchRequest(dataset, epochs=LEAST_EPOCHS, max_drop=ANY_LOSS, folds=LEAST_FOLDS, runtime=runtime)
    return SearchPlan(request, LEAST_MINUTES, LEAST_TRIALS)
