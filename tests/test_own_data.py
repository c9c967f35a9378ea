"""The search of notebook 13: what it asks for, what it costs in words and in a figure, and what it exports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic

from tsc_lib import figures
from tsc_lib.analysis import findings
from tsc_lib.analysis.picks import list_costs
from tsc_lib.core import store
from tsc_lib.core.errors import UserError
from tsc_lib.notebook import list_files
from tsc_lib.search import plan as plans
from tsc_lib.search.plan import plan_search
from tsc_lib.search.promise import make_promise
from tsc_lib.search.results import NO_PROMISE, SearchResult
from tsc_lib.search.trials import Search

PICK = {"recipe": "prune(l1, 0.5)", "runtime": "c", "drop": 0.2, "error": 0.5, "energy_source": "estimated"}
PICK |= {"energy_ratio_large": 0.1, "energy_ratio_large_low": 0.08, "energy_ratio_large_high": 0.125}
PICK |= {"cpu_ratio_large": 0.1, "cpu_ratio_large_low": 0.08, "cpu_ratio_large_high": 0.125}
PICK |= {"cpu_ratio_batch_1": 1.25, "cpu_ratio_batch_1_low": 1.2, "cpu_ratio_batch_1_high": 1.3}
PICK |= {"latency_ratio": 0.5, "size_ratio": 0.25}


@pytest.fixture
def waves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A small data set, and outputs of its own."""
    monkeypatch.setattr(store, "OUTPUTS", tmp_path / "outputs")
    series = [each for label in "ab" for each in synthetic.waves(12, label)]
    return synthetic.write_data(tmp_path / "waves", series, series)


@pytest.mark.parametrize("minutes", [-1, float("nan"), "5", True, 1e9])
def test_minutes_are_a_number(minutes: object) -> None:
    with pytest.raises(UserError, match="parameter 'minutes' must be a finite number from 0 to"):
        plan_search("ItalyPowerDemand", minutes)  # type: ignore[arg-type]


def test_the_least_search_tries_one_recipe_and_a_budget_is_kept(waves: str, monkeypatch: pytest.MonkeyPatch) -> None:
    least, real = plan_search(waves), plan_search(waves, 2.5)
    assert least.is_least and least.trials == 1 and least.request.runtime == "c"
    assert not real.is_least and (real.minutes, real.trials, real.request.max_drop) == (2.5, None, 1.0)
    assert least.folder != real.folder and least.folder.parent == store.OUTPUTS / "own_data"
    monkeypatch.setattr(plans, "can_make_c", lambda: False)
    assert plan_search(waves).request.runtime in ("onnxruntime", "openvino", "eager")


def test_a_pick_is_exported_from_the_model_that_was_searched(waves: str) -> None:
    search = Search(plan_search(waves).request)
    result = SearchResult(search, pd.DataFrame([PICK]), None, pd.DataFrame(), Path())
    study = result.study()
    assert study.runs == list(search.runs) and study.variants[1] == result.variant
    assert study.settings(study.runs[0].data).batch_sizes == search.spec.batch_sizes


def test_costs_have_intervals_where_they_were_measured() -> None:
    costs = list_costs(pd.Series(PICK)).set_index("cost")
    assert costs.source.tolist() == ["estimated", "measured", "measured", "measured", "counted"]
    assert costs.share_low.isna().tolist() == [False, False, False, True, True]
    said = findings.costs_of_pick(costs.reset_index())
    assert "energy, large batch**: 10.0 [8.0, 12.5] times less (estimated)" in said and "nan" not in said
    figure = figures.costs_of_pick(costs.reset_index(), "The pick")
    assert figure.get_suptitle() == "The pick takes 0.8 to 10 times less than the uncompressed model"
    without = list_costs(pd.Series(PICK | {"energy_ratio_large": np.nan}))
    assert "energy, large batch" not in set(without.cost)


def test_the_least_search_says_what_it_is_and_gives_no_verdict(waves: str) -> None:
    scores = pd.DataFrame({"accuracy": [0.9], "reference_accuracy": [0.95]})
    assert "the least search" in findings.picked(pd.Series(PICK), scores, least=True)
    assert "the least search" not in findings.picked(pd.Series(PICK), scores, least=False)
    search = Search(plan_search(waves).request)
    promise = make_promise([np.zeros(20), np.zeros(20)], 100, 1.0)
    result = SearchResult(search, pd.DataFrame([PICK]), promise, scores, Path())
    assert "keeps" not in plan_search(waves).tell_promise(result)
    assert "keeps" in plan_search(waves, 1).tell_promise(result)
    assert plan_search(waves).tell_promise(SearchResult(search, result.table, None, scores, Path())) == NO_PROMISE
    assert findings.promised("no\n  promise") == "No promise."


def test_the_files_of_a_model_are_listed(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "b.txt").write_text("12345")
    files = list_files(tmp_path)
    assert files.to_dict("records") == [{"file": "inner/b.txt", "bytes": 5}]
    assert findings.files_of_model(files, 0.5).startswith("1 file with 0 kB")
