"""The study's tables beside ours, a reason for every verdict, and threats with numbers."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest
import synthetic

from tsc_lib import data, notebook
from tsc_lib.analysis import findings
from tsc_lib.analysis.claims import CLAIMS, UNRUN
from tsc_lib.analysis.references import STUDY_COPIES, earlier_report
from tsc_lib.analysis.reproduction import compare_strategies, count_parameters, explain_claims, spread_over_seeds
from tsc_lib.analysis.rows import select_batch, select_reference
from tsc_lib.core import store
from tsc_lib.notebook import load_stored
from tsc_lib.report.published import Published
from tsc_lib.study.schema import COLUMNS

NOTHING = pd.DataFrame(columns=COLUMNS)


def test_the_models_have_as_many_parameters_as_the_study_states() -> None:
    table = count_parameters()
    assert table["parameters, here"].tolist() == table["parameters, the study"].tolist()


def test_the_claims_that_stand_in_the_earlier_report_follow_from_its_table() -> None:
    table = earlier_report().set_index(["model", "strategy"])
    assert table.saved.xs("dynamic int8", level="strategy").mean() == pytest.approx(38.8, abs=0.05)
    whole = table.xs("fp32", level="strategy")
    assert whole.accuracy["T2"] - whole.accuracy["T1"] == pytest.approx(5.2)
    assert 100 * (whole.seconds["T2"] / whole.seconds["T1"] - 1) == pytest.approx(18.2, abs=0.05)


@pytest.mark.parametrize("of", ["made up", "published"])
def test_every_verdict_has_a_reason_with_a_number_and_names_what_it_rests_on(of: str, results: pd.DataFrame) -> None:
    judged = explain_claims(results if of == "made up" else Published().results)
    assert set(judged.claim) == {claim.claim for claim in CLAIMS}
    tested = judged[judged.ours.notna()]
    assert tested.because.str.contains(r"\d").all() and not tested.because.str.contains("nan").any()
    assert (tested.because.str.count(r"\.(?: |$)") == 1).all(), "one sentence"
    assert set(tested.rests_on) == {"accuracy on test", "CPU time, measured"}
    energy = judged[judged.unit == "% of energy"]
    assert set(energy.rests_on) == {"energy, estimated"} and energy.because.str.contains("No energy was measured").all()


def test_what_a_profile_leaves_out_says_so(results: pd.DataFrame) -> None:
    judged = explain_claims(results[results.recipe == "baseline"])
    left_out = judged[judged.verdict == UNRUN]
    assert len(left_out) == len(CLAIMS) - 2 and left_out.because.str.startswith("This profile runs no").all()


def test_strategies_stand_beside_the_report_with_intervals() -> None:
    table = compare_strategies(Published().results)
    assert set(table.model) == {"T1", "T2"} and (table.their_saved > 0).all()
    assert ((table.saved_low <= table.saved) & (table.saved <= table.saved_high)).all()
    masks = table[table.form == "L1 pruning, as masks"]
    assert masks.saved.abs().max() < 2 and masks.their_saved.min() > 30


def test_threats_have_sizes(results: pd.DataFrame) -> None:
    text = findings.threats(Published().results)
    for number in ("3 data sets", "208 of 7711", "5 of 537", "1 thread,"):
        assert number in text
    assert "No test series is a copy" in findings.threats(results[results.dataset == "RefrigerationDevices"])
    counted = results[results.dataset == "PLAID"].assign(test_in_train=9.0)
    assert "9 of 537 test series of PLAID" in findings.threats(counted)
    assert spread_over_seeds(select_reference(select_batch(results))) > 0


def test_without_results_everything_says_that_there_are_none() -> None:
    judged, compared = explain_claims(NOTHING), compare_strategies(NOTHING)
    texts = [findings.threats(NOTHING), findings.answer_of_study(judged), findings.claims_explained(judged)]
    texts += [findings.strategies_beside_study(compared), findings.age_of_published(NOTHING)]
    assert set(texts) == {"The published study comes with a checkout of the repository; here there is none."}
    assert "make report" in findings.run_beside_study("quick", NOTHING, judged)


def test_a_run_is_read_and_never_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "OUTPUTS", tmp_path)
    study = notebook.open_study("smoke")
    assert load_stored(study).empty and not list(tmp_path.rglob("record.json"))


def test_a_run_says_what_its_numbers_are_worth() -> None:
    results = synthetic.results(datasets=("ItalyPowerDemand",), models=("T1",), seeds=(0,))
    said = findings.run_beside_study("quick", results, explain_claims(results))
    assert said.startswith("**This is a demonstration.**") and "| claim |" in said


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDY_COPIES)
def test_copies_are_as_many_as_the_files_have(name: str) -> None:
    folder = Path(os.environ.get("AEON_DATA", "nowhere")) / name
    if not folder.is_dir():
        pytest.skip(f"AEON_DATA has no {name}")
    dataset = data.load(data.resolve(name))
    assert (int(dataset.facts.test_in_train.sum()), len(dataset.test)) == STUDY_COPIES[name]
