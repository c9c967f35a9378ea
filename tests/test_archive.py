"""A whole archive: data sets by patterns and groups, and those that cannot have what is asked of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic import waves, write_data

from tsc_lib.benchmark import session as sessions
from tsc_lib.benchmark.measurement import Measurement, Role, Session
from tsc_lib.benchmark.settings import ATTEMPTS, BenchmarkSettings, Candidate
from tsc_lib.core import store
from tsc_lib.core.errors import UserError
from tsc_lib.data import find_datasets
from tsc_lib.study import Study, jobs
from tsc_lib.study.model_comparison import ModelComparison
from tsc_lib.study.profiles import load_profile

PROFILE = """
datasets:
  - {name: FreezerB, scaling: series, optional: true}
  - {name: Nowhere, optional: true}
  - electrical
  - {name: "[OP]*", gaps: interpolate}
models: [T1, QUANT]
seeds: [0]
train: {epochs: 2}
variants: {baseline: [eager], "int8(dynamic)": [eager]}
benchmark: {batch_sizes: [1], series: 1, blocks: 3, min_window_s: 0.001, warmup_s: 0.0}
side_by_side: {blocks: 3}
"""


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A profile of patterns beside a made-up archive, in which one data set has one class alone."""
    root = tmp_path / "archive"
    root.mkdir()
    monkeypatch.setenv("AEON_DATA", str(root))
    monkeypatch.setattr(store, "OUTPUTS", tmp_path / "outputs")
    both = [w for y in "ab" for w in waves(3, y)]
    for name in ("FreezerA", "FreezerB", "Other", "PowerCons"):
        write_data(root / name, both, both[:4])
    write_data(root / "OneClass", waves(3, "a"), waves(2, "a"))
    (root / "Half").mkdir()
    (root / "Half" / "Half_TRAIN.ts").touch()
    profile = tmp_path / "own.yaml"
    profile.write_text(PROFILE)
    return profile


def test_groups_and_patterns_find_what_is_there(archive: Path) -> None:
    assert find_datasets("all") == ["FreezerA", "FreezerB", "OneClass", "Other", "PowerCons"]
    assert find_datasets("electrical") == ["FreezerA", "FreezerB", "PowerCons"]
    with pytest.raises(UserError, match=r"no data set in .*archive is called 'Z\*'; name the folder"):
        find_datasets("Z*")


def test_a_profile_holds_each_data_set_once_as_it_is_first_described(archive: Path) -> None:
    choices = load_profile(str(archive)).datasets
    assert [choice.name for choice in choices] == ["FreezerB", "FreezerA", "PowerCons", "OneClass", "Other"]
    assert [choice.scaling for choice in choices[:2]] == ["series", "channel"]
    assert [choice.gaps for choice in choices[2:4]] == ["refuse", "interpolate"]
    assert all(choice.optional for choice in choices)


def test_the_archive_profile_takes_what_there_is(archive: Path) -> None:
    assert len(load_profile("archive").datasets) == 5


def test_what_a_data_set_cannot_have_is_a_row_with_its_reason(archive: Path) -> None:
    profile = load_profile(str(archive))
    study = Study(replace(profile, datasets=profile.datasets[3:4]))
    for run in study.all_runs:
        jobs.prepare(study, run)
        if study.is_network(run):
            jobs.benchmark(study, run)
    comparison = ModelComparison(study)
    assert comparison.predictions().empty
    for table in (study.results(), comparison.table(), comparison.training_costs()):
        assert len(table) >= 2 and table.status.str.match("failed: .* holds only one class").all()


def session(width: float) -> Session:
    """A session whose control is uncertain by so much."""
    ends = {"aa_ratio": 1.0, "aa_ratio_low": 1 - width, "aa_ratio_high": 1 + width}
    empty = {"energy_source": "", "energy_backend": "", "energy_warning": "", "windows": {}, "latency_ms": []}
    control = Measurement("control", Role.CONTROL, 1, "ok", **empty, blocks=1, sweeps=1, series_per_sweep=1, **ends)
    return Session(None, BenchmarkSettings(), {}, "reference", (control,))


@pytest.mark.parametrize(
    ("widest", "widths", "kept", "measured"),
    [(0.0, [0.3], 0.3, 1), (0.1, [0.3, 0.05, 0.01], 0.05, 2), (0.1, [0.4, 0.2, 0.3], 0.2, ATTEMPTS)],
)
def test_a_session_with_a_wide_control_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, widest: float, widths: list[float], kept: float, measured: int
) -> None:
    found = [session(width) for width in widths]
    done: list[Session] = []
    raw = {"host": {"date": "", "system": "", "cpus": 1, "cpus_usable": [0], "load_average": [], "python": ""}}
    raw["host"] |= {"cpu_model": "", "versions": {}}
    monkeypatch.setattr(sessions, "run_past_crashes", lambda job: raw | {"batches": [], "energy": {}})

    def summarise(_: object) -> tuple[Measurement, ...]:
        done.append(found[len(done)])
        return done[-1].measurements

    monkeypatch.setattr(sessions, "summarise", summarise)
    settings = BenchmarkSettings(widest=widest)
    result = sessions.run_session(Candidate("reference", "a:b"), [], tmp_path / "inputs.npz", settings)
    assert np.isclose(result.control_width, kept) and len(done) == measured
