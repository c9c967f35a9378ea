"""What a search promises: by series that chose nothing, against an equally trained reference, as often as it says."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from tsc_lib import data
from tsc_lib.compress import REFERENCE, Recipe, Variant
from tsc_lib.core.store import StageFailed
from tsc_lib.search import promise
from tsc_lib.search.promise import BROKEN, CONFIDENCE, LIKELY, SURE, find_promise, list_folds, make_promise
from tsc_lib.search.request import SearchRequest
from tsc_lib.search.space import Bounds, get_longest_training, list_starts
from tsc_lib.search.trials import Search

PICK = Variant.parse("student(1, 2, 16, 16) > distill(8, 2, 0.5, 0.001) > int8(dynamic)", "eager")


@pytest.fixture
def search() -> Search:
    return Search(SearchRequest("ItalyPowerDemand", epochs=2, folds=5))


def draw(rng: np.random.Generator, lost: float, apart: float, series: int) -> np.ndarray:
    """Losses on series, on a share `apart` of which the two models differ, of a training that loses a share `lost`."""
    return 100 * rng.choice([1.0, -1.0, 0.0], series, p=[(apart + lost) / 2, (apart - lost) / 2, 1 - apart])


@pytest.mark.parametrize(
    ("folds", "series", "new", "apart", "between"),
    [(5, 12, 40, 0.1, 0.0), (5, 60, 400, 0.3, 0.03), (3, 400, 2000, 0.1, 0.02), (3, 400, 100, 0.05, 0.0)],
)
def test_a_bound_holds_as_often_as_it_says(folds, series, new, apart, between) -> None:
    rng = np.random.default_rng(0)
    kept = []
    for _ in range(1000):
        lost = np.clip(rng.normal(0.02, between, folds + 1), -apart, apart)
        bound = make_promise([draw(rng, each, apart, series) for each in lost[:-1]], new, 1.0).bound
        kept.append(draw(rng, lost[-1], apart, new).mean() <= bound)
    assert np.mean(kept) > CONFIDENCE - 0.04


def test_a_verdict_is_sure_by_the_bound_and_likely_by_the_loss_alone() -> None:
    losses = [np.repeat([100.0, 0.0], [1, 199])] * 3
    verdicts = [make_promise(losses, 600, max_drop).verdict for max_drop in (2.0, 1.0, 0.4)]
    assert verdicts == [SURE, LIKELY, BROKEN]


def test_trainings_that_differ_widen_the_bound() -> None:
    alike = [np.repeat([100.0, 0.0], [10, 90])] * 4
    apart = [np.repeat([100.0, 0.0], [lost, 100 - lost]) for lost in (0, 0, 20, 20)]
    one, other = (make_promise(each, 400, 1.0) for each in (alike, apart))
    assert one.drop == other.drop == 10 and other.bound > one.bound + 5


def test_what_never_differs_is_not_certain() -> None:
    found = make_promise([np.zeros(10)] * 3, 30, 1.0)
    assert found.drop == 0 and found.bound > 5 and found.verdict == LIKELY


def test_folds_take_series_that_chose_nothing_and_other_seeds(search: Search, monkeypatch) -> None:
    runs = list_folds(search)
    assert len(runs) == 5 and len({run.seed for run in [*runs, *search.runs]}) == 6
    kept = [x.tobytes() for run in runs for x in data.load(dataclasses.replace(run.data, scaling="none")).kept.x]
    whole = data.load(dataclasses.replace(search.runs[0].data, scaling="none"))
    assert sorted(kept) == sorted(x.tobytes() for x in whole.train.x)
    monkeypatch.setattr(promise, "ENOUGH", 20)
    assert len(list_folds(search)) == promise.FEWEST
    assert list_folds(Search(dataclasses.replace(search.request, folds=0))) == []


def test_both_are_trained_alike_and_judged_on_what_was_kept(search: Search, monkeypatch) -> None:
    made, judged = [], []
    monkeypatch.setattr(promise, "make_side_by_side", lambda _, models, jobs: made.extend(models))

    def correct(_: Search, run, variant, part="valid"):
        judged.append((run.seed, variant, part))
        if run.seed == 3:
            raise StageFailed("no luck")
        return np.arange(10) < (9 if variant.recipe == PICK.recipe else 10)

    monkeypatch.setattr(Search, "correct", correct)
    found = find_promise(search, PICK, 1)
    extra = Recipe.parse("distill(8, 2, 0.5, 0.001)")
    assert [recipes for _, recipes in made] == [(extra, PICK.recipe)] * 5
    assert (found.drop, found.series, found.trainings, found.new_series) == (10, 40, 4, 1029)
    assert {(variant, part) for _, variant, part in judged} == {
        (REFERENCE, "valid"), (Variant(extra, "eager"), "valid"), (REFERENCE, "kept"), (PICK, "kept")
    }  # fmt: skip


def test_the_reference_is_its_best_epoch_of_all(search: Search, monkeypatch) -> None:
    extra = search.extra
    for before, after, expected in ((5, 6, extra), (6, 5, Recipe()), (5, 5, Recipe())):
        right = {Recipe(): before, extra: after}
        monkeypatch.setattr(Search, "correct", lambda self, run, each, r=right: np.arange(10) < r[each.recipe])
        assert search.reference(search.runs[0], extra) == Variant(expected, "eager")


def test_no_candidate_is_trained_longer_than_the_reference(search: Search) -> None:
    config = SimpleNamespace(embedding=SimpleNamespace(patch=8), layers=range(8))
    starts = list_starts(Bounds(config, 24, 24, 20))
    assert get_longest_training(20) == Recipe.parse(f"distill({20 * max(s['epochs'] for s in starts)}, 2, 0.5, 0.001)")
