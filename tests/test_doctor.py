"""What `python -m tsc_lib doctor` finds out, with counters and without."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from fake_sysfs import advancing, socket

from tsc_lib.benchmark import doctor
from tsc_lib.cli import main
from tsc_lib.core.errors import UserError
from tsc_lib.energy import EnergyMeter, crosscheck

pytestmark = pytest.mark.measures


def test_without_counters_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TSC_SYSFS_ROOT", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("TSC_ENERGY")
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "modprobe intel_rapl_msr" in said and "perf is not installed" in said
    assert "Used for the CPU: cputime, estimated: CPU time times" in said and "joules cannot be told" in said
    assert "A/A noise floor" in said


def test_with_counters_they_are_chosen_and_examined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TSC_SYSFS_ROOT", str(tmp_path))
    with advancing(tmp_path, socket(0, 45.0)):
        table = doctor.examine().set_index("backend")
        energy, cpu = doctor.measure_noise_floor(EnergyMeter.named("powercap"))
    assert table.usable.powercap and table.chosen.powercap and not table.chosen.cputime
    assert table.resolution_s.powercap == pytest.approx(0.001, abs=0.004)
    assert 0 < table.overhead_us.powercap < 1000
    assert not table.why.powercap and table.chosen.sum() <= 2
    for floor in (energy, cpu):
        assert floor.low <= floor.estimate <= floor.high
    assert cpu.estimate == pytest.approx(1, abs=0.3)
    assert 1 / 3 < energy.estimate < 3  # this counter follows the clock, so work beside it may fall on one of the two


def test_a_noise_floor_needs_valid_windows(tmp_path: Path) -> None:
    with advancing(tmp_path, socket(0, 45.0)) as writer:
        from tsc_lib.energy.powercap import Powercap

        source = Powercap(tmp_path)
        assert source.unavailable() is None
        writer.kill()
        with pytest.raises(UserError, match=r"for want of valid windows: .*stood still"):
            # Each call alone is long enough for the counter, however busy this machine is.
            doctor.measure_noise_floor(EnergyMeter(source), lambda: time.sleep(0.15))


def test_codecarbon_gives_a_second_opinion(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("codecarbon", reason="codecarbon is not installed")
    monkeypatch.setattr(crosscheck, "WORK_S", 2.5)
    try:
        ours, theirs = crosscheck.measure_with_codecarbon(EnergyMeter.named("cputime"))
    except UserError as reason:
        pytest.skip(str(reason))
    assert ours.valid and ours.seconds >= 2.5
    assert 0 < theirs < 10_000
