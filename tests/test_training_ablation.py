"""The ablation of a training's options: its neighbours, what is stored of it, its summary and its figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic import waves, write_data

from tsc_lib import data, figures
from tsc_lib.core.store import only_loading
from tsc_lib.study.training_ablation import DEFAULT, ablate_training, list_options, summarize_ablation
from tsc_lib.training import TrainSpec

SPEC = TrainSpec(
    epochs=1, batch_size=8, weight_decay=0.05, optimizer="adamw", average=0.9, augment="shift > noise(0.1)"
)


def test_every_neighbour_differs_from_the_default_in_one_option() -> None:
    options = list_options(SPEC)
    off = {name for name, (switched, _) in options.items() if switched == "off"}
    assert off == {"without weight_decay=0.05", "without average=0.9", "without shift", "without noise(0.1)"}
    assert {"optimizer=adam", "optimizer=fame", "schedule=cosine", "warp", "cutout"} < set(options) - off
    keys = [spec.key() for _, spec in options.values()]
    assert len(set(keys)) == len(keys)
    assert options["optimizer=schedulefree"][1].average == 0
    assert str(options["warp"][1].augment) == "shift > noise(0.1) > warp"


def test_what_leaves_series_of_one_length_alone_is_no_option_for_them() -> None:
    spec = TrainSpec(augment="window(0.5) > shift")
    assert "without window" in list_options(spec) and "without window" not in list_options(spec, equal_length=True)
    assert "window" in list_options(SPEC) and "window" not in list_options(SPEC, equal_length=True)
    assert list_options(spec, equal_length=True)[DEFAULT][1].augment == spec.augment


def test_a_refit_is_no_part_of_it() -> None:
    assert not any(spec.refit for _, spec in list_options(TrainSpec(refit=True)).values())


@pytest.mark.slow
def test_it_is_stored_judged_on_validation_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsc_lib.core.store.OUTPUTS", tmp_path / "outputs")
    monkeypatch.setattr("tsc_lib.study.training_ablation.TRIED", {"clip": (1.0,), "average": ()})
    monkeypatch.setattr("tsc_lib.study.training_ablation.AUGMENTATIONS", {})
    series = [*waves(12, "a"), *waves(12, "b")]
    spec = data.resolve(write_data(tmp_path / "waves", series, series))
    model = "T1(layers=1, heads=2, d_model=8, d_ff=16)"
    table = ablate_training([spec], model, [0, 1], SPEC)
    assert list(table.option[:5]) == [DEFAULT, "clip=1.0", "without average=0.9", "without shift", "without noise(0.1)"]
    assert (table.status == "ok").all() and table.valid_accuracy.between(0, 1).all() and (table.cpu_seconds > 0).all()
    with only_loading():
        pd.testing.assert_frame_equal(ablate_training([spec], model, [0, 1], SPEC), table)
    figures.training_options(summarize_ablation(table)).draw_without_rendering()


def made() -> pd.DataFrame:
    """Three data sets and two seeds: one option gains a point everywhere, one loses and failed once."""
    rows = []
    for d, dataset in enumerate("ABC"):
        for seed in (0, 1):
            level = 0.7 + 0.05 * d + 0.001 * seed
            base = {"dataset": dataset, "model": "T1", "seed": seed, "cpu_seconds": 10.0, "status": "ok"}
            rows += [{**base, "option": DEFAULT, "switched": DEFAULT, "valid_accuracy": level}]
            rows += [{**base, "option": "warp", "switched": "on", "valid_accuracy": level + 0.01, "cpu_seconds": 12.0}]
            failed = {"valid_accuracy": np.nan, "cpu_seconds": np.nan, "status": "failed: no"}
            bad = failed if (dataset, seed) == ("C", 1) else {"valid_accuracy": level - 0.02 * (1 + d)}
            rows += [{**base, "option": "without shift", "switched": "off", **bad}]
    return pd.DataFrame(rows)


def test_the_summary_is_paired_and_leaves_out_data_sets_of_which_a_seed_failed() -> None:
    warp, shift = summarize_ablation(made()).to_dict("records")
    assert (warp["option"], warp["datasets"], warp["seeds"]) == ("warp", 3, 2)
    assert (warp["points"], warp["points_low"], warp["cpu_ratio"]) == pytest.approx((1.0, 1.0, 1.2))
    assert (shift["datasets"], shift["points"]) == (2, pytest.approx(-3.0))
    assert shift["points_low"] < -3 < shift["points_high"]


def test_one_training_of_each_option_is_no_evidence() -> None:
    summary = summarize_ablation(made().query("dataset == 'A' and seed == 0"))
    assert summary.points_low.isna().all() and list(summary.points) == pytest.approx([1.0, -2.0])
    assert "cannot tell" in figures.training_options(summary).get_suptitle()


def test_the_figure_says_what_it_shows_and_that_there_is_nothing() -> None:
    figure = figures.training_options(summarize_ablation(made()))
    figure.draw_without_rendering()
    [ax] = figure.axes
    assert ax.get_xlabel() == "validation accuracy less the default's, points"
    assert [label.get_text() for label in ax.get_yticklabels()] == ["warp", "without shift"]
    nothing = figures.training_options(summarize_ablation(made().iloc[:1]))
    assert "no option" in nothing.texts[0].get_text()
