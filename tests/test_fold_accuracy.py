"""Random folds promise too much where neighbours in a file come from one source; blocks do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.neighbors import KNeighborsClassifier
from synthetic import write_data

from tsc_lib.core.errors import UserError
from tsc_lib.data import resolve
from tsc_lib.figures import fold_errors
from tsc_lib.study import fold_accuracy
from tsc_lib.study.fold_accuracy import compare_folds, main, summarise


class Nearest:
    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.found = KNeighborsClassifier(1).fit(x[:, 0], y)

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.found.predict(x[:, 0])


def write_households(folder: Path, ordered: bool) -> str:
    """Series of households, whose own signature tells the class no more in others; in order, or mixed."""
    rng = np.random.default_rng(0)
    parts = []
    for households in (20, 12):
        series = [
            (signature + 0.3 * rng.normal(size=(1, 12)) + 0.3 * "ab".index(label), label)
            for label in "ab"
            for signature in 2 * rng.normal(size=(households, 1, 12))
            for _ in range(6)
        ]
        parts.append(series if ordered else [series[i] for i in rng.permutation(len(series))])
    return write_data(folder, *parts)


@pytest.fixture
def nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold_accuracy, "_fit", lambda method: Nearest)


def test_blocks_tell_of_other_sources_where_the_order_tells_the_source(nearest: None, tmp_path: Path) -> None:
    found = compare_folds(resolve(write_households(tmp_path / "homes", True)), ["nearest"]).set_index("rule")
    assert found.error["random"] > 30 and abs(found.error["blocks"]) < 15
    assert (found.train == 240).all() and (found.test == 144).all()
    assert (found.error == 100 * (found.fold_accuracy - found.test_accuracy)).all()


def test_blocks_are_as_random_where_the_order_tells_nothing(nearest: None, tmp_path: Path) -> None:
    found = compare_folds(resolve(write_households(tmp_path / "homes", False)), ["nearest"]).set_index("rule")
    assert abs(found.error["random"] - found.error["blocks"]) < 10


def test_the_command_goes_on_after_what_its_file_has(nearest: None, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(fold_accuracy.compare_folds, "__defaults__", (["nearest"],))
    one, other = (write_households(tmp_path / name, True) for name in ("one", "other"))
    csv = tmp_path / "folds.csv"
    assert main([one, "--csv", str(csv)]) == 0
    first = csv.read_text()
    assert main([one, other, "--csv", str(csv)]) == 0
    assert csv.read_text().startswith(first)
    table = pd.read_csv(csv)
    assert table.dataset.tolist() == ["one"] * 2 + ["other"] * 2
    assert summarise(table).columns.tolist() == ["method", "rule", "error", "absolute_error"]


def test_several_lengths_are_refused(nearest: None, tmp_path: Path) -> None:
    series = [(np.arange(n, dtype=float)[None] + i, "ab"[i % 2]) for i, n in enumerate((5, 6, 7, 8))]
    with pytest.raises(UserError, match="the series of odd have several lengths"):
        compare_folds(resolve(write_data(tmp_path / "odd", series, series)), ["nearest"])


def test_the_figure_has_a_panel_for_each_method() -> None:
    errors = {"random": 30.0, "blocks": 2.0}
    table = pd.DataFrame(
        [
            {"dataset": name, "method": method, "rule": rule, "error": error + shift}
            for shift, name in enumerate(("A", "B"))
            for method in ("QUANT", "MiniROCKET")
            for rule, error in errors.items()
        ]
    )
    figure = fold_errors(table)
    assert [ax.get_title() for ax in figure.axes] == ["QUANT", "MiniROCKET"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["B", "A"]
    assert fold_errors(table[:0]).texts
