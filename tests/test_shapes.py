"""The sweep over shapes of a transformer: its table, its front, its figure and its words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tsc_lib import figures
from tsc_lib.analysis import findings
from tsc_lib.analysis.shapes import summarize_shapes
from tsc_lib.core.errors import UserError
from tsc_lib.study import Study
from tsc_lib.study.profiles import load_profile
from tsc_lib.study.sections import Shapes
from tsc_lib.study.shape_sweep import COLUMNS, sweep_shapes


def make_table() -> pd.DataFrame:
    rows = []
    for seed in (0, 1):
        for model, accuracy, cost in (("C", 0.9, 0.04), ("C(layers=1)", 0.88, 0.02), ("T1", 0.8, 0.3)):
            row = dict.fromkeys(COLUMNS, 1) | {"dataset": "Made", "model": model, "seed": seed, "status": "ok"}
            row |= {"accuracy_valid": accuracy + 0.001 * seed, "cpu_ms_per_sample": cost}
            for end, shift in (("low", 0.9), ("high", 1.1)):
                row |= {f"accuracy_valid_{end}": accuracy * shift, f"cpu_ms_per_sample_{end}": cost * shift}
            rows.append(row)
    return pd.DataFrame(rows)


def test_the_front_holds_what_no_other_shape_beats() -> None:
    summary = summarize_shapes(make_table())
    assert dict(zip(summary.sizes, summary.on_front, strict=True)) == {"as it is": True, "layers=1": True, "T1": False}
    assert summary.cpu_us_per_sample.round(6).tolist() == [40, 20, 300]
    assert summary.accuracy_valid.round(6).tolist() == [90.05, 88.05, 80.05]
    text = findings.shapes(summary)
    assert "`as it is` is most accurate, 90.1 %, at 2.0 times the CPU time of `layers=1`" in text
    assert "lie apart" in text
    labels = [note.get_text() for note in figures.shapes_beside_cost(summary).axes[0].texts]
    assert sorted(labels) == ["as it is", "layers=1"]


def test_nothing_that_worked_is_said() -> None:
    table = make_table().assign(accuracy_valid=np.nan)
    assert findings.shapes(summarize_shapes(table)) == "No shape was trained and measured."
    figures.shapes_beside_cost(summarize_shapes(table))


def test_options_of_the_training_that_are_sure_are_named() -> None:
    columns = ["option", "switched", "points", "points_low", "points_high"]
    rows = [
        ("without noise", "off", -3.0, -4.0, -2.0),
        ("without clip", "off", 0.1, -1.0, 1.2),
        ("warp", "on", 1, -1, 3),
    ]
    text = findings.training_options(pd.DataFrame(rows, columns=columns))
    assert "without noise" in text and "1 other may be chance" in text and "none is sure to change it" in text


@pytest.mark.sessions
def test_shapes_of_a_profile_are_trained_and_measured_in_one_session() -> None:
    profile = load_profile("smoke")
    study = Study(replace(profile, name="shapes", seeds=(0,)))
    table = sweep_shapes(study)
    assert list(table.model.unique()) == list(profile.shapes.models) and set(table.status) == {"ok"}
    assert list(table.columns) == COLUMNS and table.batch_size.tolist() == [1, 16] * 2
    assert (table.cpu_ms_per_sample_low <= table.cpu_ms_per_sample_high).all()
    assert table.accuracy_valid.between(0, 1).all() and table.tokens.tolist() == [24, 24, 3, 3]


def test_shapes_that_are_no_models_are_refused() -> None:
    with pytest.raises(UserError, match="unknown model 'T9'"):
        Shapes(models=("T9",))
    with pytest.raises(UserError, match="has 'T1' twice"):
        Shapes(models=("T1", "T1"))
