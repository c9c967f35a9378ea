"""Verdicts on the claims: the rules, and everything that may be missing from a results table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import synthetic

from tsc_lib.analysis.claims import CLAIMS, NOT, REPRODUCED, SAME, UNRUN, UNTESTED, judge
from tsc_lib.analysis.rows import find_collapsed

STATIC_TIME = "Static int8 saves CPU time"
STATIC_ENERGY = "Static int8 saves energy"
STATIC_ACCURACY = "Static int8 keeps the accuracy"
MASKS = "L1 pruning, as masks, makes inference faster"
REMOVAL = "L1 pruning, as removal, makes inference faster"
MORE_ACCURATE = "T2 is more accurate than T1"


def verdict(results: pd.DataFrame, claim: str) -> pd.Series:
    """The row of one claim."""
    return judge(results, [c for c in CLAIMS if c.claim == claim]).iloc[0]


def with_ratio(results: pd.DataFrame, recipe: str, ratio: float) -> pd.DataFrame:
    """The results in which a recipe has about this CPU-time ratio, and fp32 in inductor 1."""
    results = results.copy()
    ends = ["cpu_ratio", "cpu_ratio_low", "cpu_ratio_high"]
    results.loc[(results.recipe == "baseline") & (results.runtime == "inductor"), ends] = 1.0
    chosen = results.recipe == recipe
    results.loc[chosen, ends] = ratio
    results.loc[chosen, "cpu_ratio"] *= results.dataset.map({"ElectricDevices": 0.999, "PLAID": 1.001}).fillna(1)
    return results


def test_every_claim_has_a_verdict_and_a_reason(results):
    table = judge(results)
    assert list(table.columns) == [
        "claim", "runtime", "source", "published", "ours", "ours_low", "ours_high", "unit", "verdict", "why",
    ]  # fmt: skip
    assert len(table) == len(CLAIMS)
    assert set(table.verdict) <= {REPRODUCED, SAME, NOT, UNTESTED}
    assert table.why.str.len().min() > 20
    tested = table[table.verdict != UNTESTED]
    assert ((tested.ours_low <= tested.ours) & (tested.ours <= tested.ours_high)).all()


def test_estimated_energy_neither_reproduces_nor_refutes_joules(results):
    row = verdict(results, STATIC_ENERGY)
    assert row.verdict == UNTESTED and np.isnan(row.ours) and "joules" in row.why


def test_measured_energy_is_judged(results):
    left = results.dataset.map({"ElectricDevices": 0.69, "RefrigerationDevices": 0.71, "PLAID": 0.72})
    columns = ["energy_ratio", "energy_ratio_low", "energy_ratio_high"]
    measured = results.assign(energy_source="measured", **dict.fromkeys(columns, 1.0))
    for column in columns:
        measured.loc[measured.recipe == "int8(static)", column] = left
    row = verdict(measured, STATIC_ENERGY)
    assert row.verdict == REPRODUCED and row.ours == pytest.approx(100 * (1 - (0.69 * 0.71 * 0.72) ** (1 / 3)))


def test_time_that_stands_in_for_energy_is_at_most_the_same_direction(results):
    row = verdict(with_ratio(results, "int8(static)", 1 - 0.2914), STATIC_TIME)
    assert row.ours == pytest.approx(29.14, abs=0.2)
    assert row.verdict == SAME and "stands in for energy" in row.why


def test_static_int8_is_compared_with_fp32_on_its_own_runtime(results):
    faster = results.copy()
    compiled = faster.runtime == "inductor"
    faster.loc[compiled, ["cpu_ratio", "cpu_ratio_low", "cpu_ratio_high"]] *= 0.5
    assert verdict(faster, STATIC_TIME).ours == pytest.approx(verdict(results, STATIC_TIME).ours)


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [(1 / 1.63, REPRODUCED), (0.85, SAME), (0.2, SAME), (1.2, NOT)],
    ids=["as published", "smaller", "larger", "slower"],
)
def test_verdicts_on_a_gain(results, ratio, expected):
    row = verdict(with_ratio(results, "prune(l1, 0.2)", ratio), REMOVAL)
    assert row.verdict == expected
    assert row.ours == pytest.approx(100 * (1 / ratio - 1), abs=1.5)


def test_masks_that_save_nothing_are_not_reproduced(results):
    assert verdict(results, MASKS).verdict in (NOT, SAME)
    row = verdict(with_ratio(results, "mask(l1, 0.2)", 1.0), MASKS)
    assert row.verdict == NOT and abs(row.ours) < 1


@pytest.mark.parametrize(("lost", "expected"), [(0.5, REPRODUCED), (3.0, NOT)])
def test_verdicts_on_lost_accuracy(results, lost, expected):
    table = results.copy()
    chosen = table.recipe == "int8(static)"
    table.loc[chosen, "accuracy_drop"] = lost + np.resize([-0.1, 0.1, 0.0], chosen.sum())
    assert verdict(table, STATIC_ACCURACY).verdict == expected


@pytest.mark.parametrize(
    ("gains", "expected", "why"),
    [
        ((2.0, 3.0, 4.0), REPRODUCED, "whole interval is above 0"),
        ((-4.0, 0.5, 4.0), NOT, "does not exclude"),
        ((-4.0, -3.0, -2.0), NOT, "below 0"),
    ],
)
def test_a_direction_needs_the_whole_interval(results, gains, expected, why):
    table = results.assign(accuracy=0.6)
    points = table.dataset.map(dict(zip(sorted(set(table.dataset)), gains, strict=True)))
    table.loc[table.model == "T2", "accuracy"] += points / 100
    row = verdict(table, MORE_ACCURATE)
    assert row.ours == pytest.approx(np.mean(gains))
    assert row.verdict == expected and why in row.why


@pytest.mark.parametrize(("gain", "expected"), [(2.0, SAME), (-2.0, NOT)])
def test_the_direction_of_one_pair_is_of_unknown_certainty(gain, expected):
    table = synthetic.results(datasets=("PLAID",), seeds=(0,))
    table["accuracy"] = 0.6 + gain / 100 * (table.model == "T2")
    row = verdict(table, MORE_ACCURATE)
    assert row.ours == pytest.approx(gain) and np.isnan(row.ours_low)
    assert row.verdict == expected and "unknown certainty" in row.why


def test_uncertain_loss_is_the_same_direction(results):
    table = results.copy()
    table.loc[(table.recipe == "int8(static)"), "accuracy_drop"] = 0.0
    table.loc[(table.recipe == "int8(static)") & (table.dataset == "PLAID"), "accuracy_drop"] = 3.0
    assert verdict(table, STATIC_ACCURACY).verdict == SAME


def test_two_models_of_a_data_set_are_one_repeat():
    both = synthetic.results()
    both["cpu_ratio"] = both.dataset.map({"ElectricDevices": 0.7, "RefrigerationDevices": 0.8, "PLAID": 0.9})
    both.loc[both.recipe == "baseline", "cpu_ratio"] = 1.0
    one = both[both.model == "T1"].reset_index(drop=True)
    for claim in (STATIC_TIME, REMOVAL):
        ends = ["ours", "ours_low", "ours_high"]
        np.testing.assert_allclose(verdict(both, claim)[ends].astype(float), verdict(one, claim)[ends].astype(float))


def test_a_saving_is_judged_in_every_runtime_by_itself():
    table = synthetic.results(datasets=("PLAID",), models=("T1",))
    compiled = table[table.runtime == "inductor"]
    other = compiled.assign(runtime="onnxruntime", cpu_ratio=compiled.recipe.map({"baseline": 1.0}).fillna(0.5))
    both = pd.concat([table, other], ignore_index=True)
    found = judge(both, [claim for claim in CLAIMS if claim.claim == STATIC_TIME]).set_index("runtime")
    assert set(found.index) == {"inductor", "onnxruntime"}
    assert found.ours["onnxruntime"] == pytest.approx(50.0)
    assert found.ours["inductor"] == pytest.approx(verdict(table, STATIC_TIME).ours)
    assert len(judge(both, [claim for claim in CLAIMS if claim.claim == STATIC_ACCURACY])) == 1


def test_other_data_sets_cannot_reproduce():
    other = synthetic.results(datasets=("ACSF1", "ItalyPowerDemand"))
    table = judge(other)
    assert REPRODUCED not in set(table.verdict)
    assert table[table.verdict != UNTESTED].why.str.contains("not the study's data sets").all()


def test_one_seed_and_one_model_have_the_interval_of_the_run():
    one = synthetic.results(datasets=("PLAID",), models=("T1",), seeds=(0,))
    row = verdict(one, STATIC_ACCURACY)
    assert "that run alone" in row.why and row.ours_low < row.ours < row.ours_high
    assert verdict(one, MORE_ACCURATE).verdict == UNRUN


def test_seeds_give_the_interval_of_one_pair():
    row = verdict(synthetic.results(datasets=("PLAID",), models=("T1",)), STATIC_TIME)
    assert "interval over 3 seeds" in row.why and row.ours_low < row.ours < row.ours_high


def test_a_claim_whose_recipes_are_missing_was_not_run(results):
    table = judge(results[results.recipe == "baseline"])
    without = table[~table.claim.str.startswith("T2")]
    assert set(without.verdict) == {UNRUN} and without.why.str.contains("runs no").all()


def test_failed_runs_are_left_out_and_counted(results):
    some = synthetic.failed(results, (results.recipe == "int8(static)") & (results.seed == 1))
    row = verdict(some, STATIC_TIME)
    assert row.verdict == SAME and "6 failed runs left out" in row.why
    every = synthetic.failed(results, results.recipe == "int8(static)", "failed: RuntimeError: no compiler")
    row = verdict(every, STATIC_TIME)
    assert row.verdict == UNTESTED and "no compiler" in row.why


def test_results_of_nothing_but_failures(results):
    table = judge(synthetic.failed(results, results.status == "ok"))
    assert set(table.verdict) == {UNTESTED}


def test_a_collapsed_model_proves_nothing_about_lost_accuracy(results):
    table = results.copy()
    gone = (table.model == "T2") & (table.dataset == "RefrigerationDevices") & (table.seed == 0)
    table.loc[gone, "accuracy"] = 1 / 3
    table.loc[gone, "classes_predicted"] = 1
    table.loc[gone, "accuracy_drop"] = 100.0  # if it were counted, no claim on accuracy could hold
    assert find_collapsed(table)[["dataset", "model", "seed"]].to_numpy().tolist() == [
        ["RefrigerationDevices", "T2", 0]
    ]
    row = verdict(table, STATIC_ACCURACY)
    assert row.verdict == REPRODUCED and "T2 on RefrigerationDevices (seed 0)" in row.why
    assert "Counted" in verdict(table, MORE_ACCURATE).why
