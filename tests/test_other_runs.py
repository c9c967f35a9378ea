"""One table of other runs: what a run leaves in it, and what pages say from it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tsc_lib.analysis.claims import judge
from tsc_lib.report import other_runs
from tsc_lib.report.other_runs import CONTROL, NUMBERS, Origin, add_run, summarize_run
from tsc_lib.report.published import OTHER_RUNS, STATIC_RATIO, STUDENT_LOST, Published, processors, seeds

ORIGIN = Origin("mine", "a processor", "2026-11-30", "make report", "of that day")


def test_a_run_leaves_its_claims_its_ratios_and_its_control(results: pd.DataFrame) -> None:
    table = summarize_run(results, ORIGIN)
    assert list(table.columns) == [*Origin._fields, *NUMBERS]
    judged = judge(results).dropna(subset="ours")
    claims = table[table.verdict != ""]
    assert claims.value.tolist() == judged.ours.tolist() and claims.verdict.tolist() == judged.verdict.tolist()
    ratio = table[table.quantity == STATIC_RATIO].iloc[0]
    assert ratio.runtime == "inductor" and ratio.low < ratio.value < ratio.high < 1
    assert (table[table.quantity == CONTROL].value > 0).all()
    assert (table.run == "mine").all() and (table.date == "2026-11-30").all()


def test_a_run_replaces_its_earlier_rows_and_leaves_others(results: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    rows = add_run(path, results, ORIGIN)
    add_run(path, results, ORIGIN._replace(run="other"))
    add_run(path, results, ORIGIN._replace(date="2026-12-01"))
    table = pd.read_csv(path, keep_default_na=False)
    assert len(table) == 2 * rows and table[table.run == "mine"].date.unique().tolist() == ["2026-12-01"]


def test_what_is_no_results_table_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [word for name in Origin._fields for word in (f"--{name}", "x")]
    assert other_runs.main([str(tmp_path / "none.csv"), *options]) == 1
    assert "there is no file" in capsys.readouterr().err
    (tmp_path / "wrong.csv").write_text("dataset,model\nA,T1\n")
    assert other_runs.main([str(tmp_path / "wrong.csv"), *options]) == 1
    assert "has no column 'recipe'" in capsys.readouterr().err


def test_the_published_table_names_processor_date_and_command_of_every_number() -> None:
    published = Published()
    table = published.other_runs
    assert set(table.run) == {"vnni", "avx2", "seeds"} and not table[list(Origin._fields)].isna().any().any()
    note = (published.folder / OTHER_RUNS / "README.md").read_text()
    for row in table.drop_duplicates("run").itertuples():
        assert f"`{row.run}`" in note and row.date in note and f"`{row.command}`" in note
    inside = table.dropna(subset="low")
    assert ((inside.low <= inside.value) & (inside.value <= inside.high)).all()
    assert len(table[(table.run == "seeds") & (table.quantity == STUDENT_LOST)]) == 6
    assert "2.21 [1.69, 2.89]" in processors(published) and "Over 6 seeds" in seeds(published)
