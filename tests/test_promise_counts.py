"""The counting of kept promises over data sets: it goes on after what its file has, and what failed is a row."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from tsc_lib.core.errors import UserError
from tsc_lib.report.selection import render_folds, render_promises

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "promises.py"


@pytest.fixture
def promises(monkeypatch: pytest.MonkeyPatch):
    spec = importlib.util.spec_from_file_location("promises", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    asked = []
    found = {"ItalyPowerDemand": ("sure", 0.5, 0.4), "GunPoint": ("likely", 6.0, 3.0)}

    def optimize(request, minutes, jobs, trials):
        asked.append(request.dataset)
        if request.dataset not in found:
            raise UserError("nothing that was tried keeps within 1 points")
        verdict, bound, lost = found[request.dataset]
        names = {"dataset": request.dataset, "model": "T1", "objective": "size", "runtime": "eager", "cost": 0.1}
        pick = pd.Series({**names, "recipe": "layers(1)", "drop": -2.0, "error": 1.5, "verdict": "clear"})
        promise = {"drop": 0.1, "bound": bound, "series": 9, "trainings": 5, "new_series": 9, "verdict": verdict}
        content = {"pick": pick.to_dict(), "promise": promise, "test_score": [{"accuracy_drop": lost}]}
        scores = pd.DataFrame({"accuracy": [0.9], "reference_accuracy": [0.9], "plain_accuracy": [0.8]})
        return SimpleNamespace(pick=pick, scores=scores, to_json=lambda: content)

    monkeypatch.setattr(module, "optimize", optimize)
    module.asked = asked
    return module


def test_promises_are_counted_and_the_file_goes_on(promises, tmp_path: Path, capsys) -> None:
    csv = str(tmp_path / "promises.csv")
    assert promises.main(["ItalyPowerDemand", "ArrowHead", "--csv", csv]) == 0
    assert promises.main(["ItalyPowerDemand", "GunPoint", "--csv", csv]) == 0
    assert promises.asked == ["ItalyPowerDemand", "ArrowHead", "GunPoint"]
    said = capsys.readouterr().out
    assert "2 of 3 searches promised something; 2 bounds held on test" in said
    assert "1 picks were sure, and 1 of them kept to the permitted drop on test" in said
    assert "2 picks were clear of it on validation, and 1 of them kept to it on test" in said
    text = render_promises(pd.read_csv(csv))
    assert "| ItalyPowerDemand | `layers(1)` | \N{MINUS SIGN}2.0 ± 1.5, clear | 0.1 | 0.5 | sure | 0.4 |" in text
    assert "| ArrowHead | nothing within the drop on validation |" in text


def test_the_table_of_folds_begins_with_the_most_optimistic() -> None:
    rows = [("A", "random", 1.0), ("A", "blocks", 0.0), ("B", "random", 30.0), ("B", "blocks", -2.0)]
    table = pd.DataFrame(rows, columns=["dataset", "rule", "error"]).assign(method="QUANT", test_accuracy=0.5)
    _, _, first, second, mean = render_folds(table).splitlines()
    assert first == "| B | 0.500 | 30.0 | \N{MINUS SIGN}2.0 |" and second.startswith("| A |")
    assert mean == "| mean size of the error |  | 15.5 | 1.0 |"
