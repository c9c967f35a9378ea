"""The time of operators: every sweep is told whole, or nothing is."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest

from tsc_lib.benchmark import operator_times as module
from tsc_lib.benchmark.inputs import Call
from tsc_lib.benchmark.operator_times import WARM_UP, measure_operators

CALLS = [Call(np.ones((n, 1, 24), np.float32), None) for n in (3, 5)]


@pytest.fixture(autouse=True)
def own_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock of its own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_no_more_sweeps_are_made_than_the_profiler_tells_of(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measure_operators(models / "fixed", CALLS, 6)
    assert {len(row.ms) for row in whole} == {6}
    of_a_sweep = len(CALLS) * sum(row.operators for row in whole)
    monkeypatch.setattr(module, "MOST_EVENTS", (WARM_UP + 4) * of_a_sweep)
    fewer = measure_operators(models / "fixed", CALLS, 6)
    assert 0 < len(fewer[0].ms) < 6
    for name in ("kind", "operators", "macs"):
        assert [getattr(row, name) for row in fewer] == [getattr(row, name) for row in whole]
    monkeypatch.setattr(module, "MOST_EVENTS", WARM_UP * of_a_sweep)
    with pytest.raises(RuntimeError, match=r"cannot tell of 4 sweeps of \d+ events"):
        measure_operators(models / "fixed", CALLS, 6)


def test_operators_that_the_profiler_left_out_are_missed(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = json.loads

    def leave_out(text: str, **options: object) -> object:
        found = loads(text, **options)
        return found[:300] if isinstance(found, list) else found

    monkeypatch.setattr(json, "loads", leave_out)
    with pytest.raises(RuntimeError, match=r"tells of \d+ operators where \d+ ran"):
        measure_operators(models / "fixed", CALLS, 20)
