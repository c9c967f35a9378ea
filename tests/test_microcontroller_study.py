"""Models of a profile on imitated microcontrollers: their table, figure and words, and where tools are missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tsc_lib import figures
from tsc_lib.analysis import findings
from tsc_lib.analysis.microcontrollers import list_devices, list_published, summarize_emulations
from tsc_lib.core.errors import UserError
from tsc_lib.microcontroller import PROCESSORS, find_missing
from tsc_lib.study import Study
from tsc_lib.study.microcontrollers import COLUMNS, emulate_variants
from tsc_lib.study.profiles import load_profile
from tsc_lib.study.sections import Microcontrollers


def make_table(**changes: object) -> pd.DataFrame:
    """T1, too large for one of the boards, and a small model that is half a point worse, with two seeds."""
    rows = []
    for seed in (0, 1):
        for model, accuracy, flash, ram in (("T1", 0.8, 720, 100), ("C(layers=1)", 0.795, 90, 14)):
            for processor in PROCESSORS:
                row = dict.fromkeys(COLUMNS, 1) | {"dataset": "Made", "model": model, "seed": seed, "status": "ok"}
                row |= {"recipe": "baseline", "accuracy": accuracy, "processor": processor, "instructions": 1.2e6}
                row |= {
                    "flash_bytes": 1024 * flash,
                    "ram_bytes": 1024 * ram,
                    "largest_difference": 2e-7,
                    "largest_relative_difference": 1e-7,
                }
                if (model, processor) == ("T1", "cortex-m55"):
                    row |= {"flash_bytes": np.nan, "status": "failed: too large"}
                rows.append(row | changes)
    return pd.DataFrame(rows, columns=COLUMNS)


def test_costs_are_told_in_units_and_energy_is_modelled() -> None:
    summary = summarize_emulations(make_table())
    assert list(summary.variant) == ["T1"] * 2 + ["C(layers=1)"] * 3
    first, last = summary.iloc[0], summary.iloc[-1]
    assert (first.flash_kb, first.ram_kb, first.accuracy, first.processor) == (720, 100, 80, "cortex-m4")
    assert first.modelled_ms == pytest.approx(10) and first.modelled_mj == pytest.approx(10 * 0.07534)
    assert last.processor == "cortex-m55" and np.isnan(last.modelled_mj)


def test_what_fits_and_what_failed_is_said() -> None:
    table = make_table()
    text = findings.fitting(summarize_emulations(table))
    assert "`T1` is right for 80.0" in text and text.count("**Made**") == 1
    assert "`C(layers=1)` takes least RAM: 14.0 kB, with 90 kB of flash" in text
    assert "modelled as 10.0 ms and 0.75 mJ" in text
    text = findings.agreement(table)
    assert (
        "10 programs ran on cortex-m4, cortex-m7 and cortex-m55" in text and "2.0e-07, or 1.0e-07 relative to 1" in text
    )
    assert text.count("T1, `baseline`, of Made, seed 0 on cortex-m55 failed: too large") == 1
    worse = table.assign(accuracy=[0.8 if model == "T1" else 0.78 for model in table.model])
    assert "Nothing that loses at most 1 point of it fits into" in findings.fitting(summarize_emulations(worse))


def test_the_figure_has_a_panel_for_each_cost_and_others_measurements_apart() -> None:
    figure = figures.accuracy_against_memory(summarize_emulations(make_table()), list_published())
    shown = [ax for ax in figure.axes if ax.axison]
    assert [ax.get_xlabel() for ax in shown] == [
        *["RAM, kB", "flash, kB", "modelled energy, mJ per series", "measured by others, int8, mJ"]
    ]
    assert figure.get_suptitle() == "1 of 2 programs for cortex-m4 fit into 256 kB of flash and 64 kB of RAM"
    assert [text.get_text() for text in shown[-1].texts] == ["keyword spotting", "anomaly detection"]
    assert shown[-1].get_xlim() == shown[-2].get_xlim()


def test_the_devices_are_told_with_their_source() -> None:
    devices = list_devices()
    assert list(devices.processor) == ["cortex-m4", "cortex-m7"]
    assert devices["nJ per instruction"].between(0.1, 1).all() and devices.source.str.contains("MLPerf Tiny").all()


def test_without_tools_the_notebook_says_so_and_shows_nothing(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    table = emulate_variants(Study(load_profile("smoke")))
    assert table.empty and list(table.columns) == COLUMNS
    assert findings.agreement(table).startswith("Nothing is shown, because arm-none-eabi-gcc is not installed;")
    summary = summarize_emulations(table)
    assert findings.fitting(summary) == "No model ran on a microcontroller."
    assert not figures.accuracy_against_memory(summary, list_published()).axes


@pytest.mark.compiles
@pytest.mark.skipif(bool(find_missing()), reason=find_missing() or "never")
def test_variants_of_a_profile_answer_on_a_microcontroller_as_here() -> None:
    profile = load_profile("smoke")
    study = Study(replace(profile, name="microcontrollers", seeds=(0,)))
    table = emulate_variants(study)
    assert list(table.columns) == COLUMNS and list(table.status) == ["ok"]
    [row] = table.to_dict("records")
    assert row["largest_relative_difference"] < 1e-5 and row["series"] == 3
    assert 0 < row["stack_bytes"] < row["ram_bytes"] == row["static_bytes"] + row["stack_bytes"]
    assert row["instructions"] > row["macs"] / 4  # of the widest vectors here


def test_what_cannot_be_tried_is_refused() -> None:
    with pytest.raises(UserError, match="unknown model 'T9'"):
        Microcontrollers(variants={"T9": ("baseline",)})
    with pytest.raises(UserError, match="unknown processor 'cortex-a7'"):
        Microcontrollers(processors=("cortex-a7",))
    with pytest.raises(UserError, match="recipes of T1 in microcontrollers has 'baseline' twice"):
        Microcontrollers(variants={"T1": ("baseline", "baseline")})
