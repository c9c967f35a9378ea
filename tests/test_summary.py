"""The answer in words."""

from __future__ import annotations

import pandas as pd
import pytest
from reports import RESULTS, row

from tsc_lib.analysis.summary import summarise
from tsc_lib.energy import SourceMismatchError


def test_summary_names_the_cheapest_strategy_that_keeps_accuracy():
    text = summarise(RESULTS).replace("\u00a0", " ")
    assert "**2 mJ** (T1 on A)" in text and "from 1 mJ to 4 mJ" in text and "*estimated*" in text
    assert (
        "**60 %** of it can be saved with T1 on A, by Remove L1 50 %, tuned (`prune(l1, 0.5) > finetune(4)` in eager)"
        in text
    )
    assert "| A | T1 | 1 | 90.0 | 2 | Remove L1 50 %, tuned | 60.0 [58.0, 62.0] | 0.4 |" in text
    assert "dynamic int8 25 % more" in text and "masks no change" in text
    assert "at most 1.0 %" in text, "the A/A control of the large batch only"
    assert "1 of 7 rows" in text


def test_summary_averages_over_seeds():
    two = pd.concat([RESULTS, RESULTS.assign(seed=1, accuracy_drop=RESULTS.accuracy_drop * 4)])
    assert "No strategy surely saved energy" not in summarise(two)
    three_points_lost = two[two.recipe.isin(["baseline", "prune(l1, 0.5)"])]
    assert "No strategy surely saved energy while losing at most 1 point" in summarise(three_points_lost)


def test_summary_names_a_model_that_collapsed_and_leaves_it_out():
    collapsed = pd.DataFrame(
        [
            row(model="T2", seed=1, accuracy=0.25, classes_predicted=1),
            row(model="T2", seed=1, recipe="prune(l1, 0.5)", ratio=0.1, accuracy=0.25, classes_predicted=1),
        ]
    )
    text = summarise(pd.concat([RESULTS, collapsed]))
    assert "T2 on A (seed 1) gives every test series the same class" in text and "90\u00a0%" not in text
    assert "No model learned" in summarise(collapsed)


def test_summary_without_results():
    assert "no results yet" in summarise(pd.DataFrame())
    assert "1 of 1 rows" in summarise(pd.DataFrame([row(status="failed: killed")]))


def test_summary_counts_the_verdicts():
    claims = pd.DataFrame({"claim": ["a", "b", "c"], "verdict": ["reproduced", "not reproduced", "reproduced"]})
    assert "3 claims" in summarise(RESULTS, claims) and "reproduced: 2, not reproduced: 1" in summarise(RESULTS, claims)


def test_summary_refuses_two_energy_sources():
    mixed = RESULTS.assign(energy_source=["measured"] + ["estimated"] * (len(RESULTS) - 1))
    with pytest.raises(SourceMismatchError):
        summarise(mixed)
