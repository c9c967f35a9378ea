"""Counters against a fake powercap tree that advances at known watts, and against every fault it may have."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from fake_sysfs import BASE, RANGE_UJ, advancing, build, socket, zone

from tsc_lib.benchmark import BenchmarkSettings, Candidate, run_session, save_inputs
from tsc_lib.energy import EnergyMeter, Reading, describe_idle_drift
from tsc_lib.energy.powercap import Powercap
from tsc_lib.energy.source import UnusableError
from tsc_lib.energy.zones import find_zones

pytestmark = pytest.mark.measures

PACKAGE = f"{BASE}/intel-rapl:0"


def measure(root: Path, seconds: float, during: Callable[[], None] | None = None) -> Reading:
    """A window of a meter on this tree, with something happening in the middle of it."""
    source = Powercap(root)
    assert source.unavailable() is None
    with EnergyMeter(source).measure("work", inferences=4) as window:
        time.sleep(seconds / 2)
        if during is not None:
            during()
        time.sleep(seconds / 2)
    return window.reading


@pytest.fixture(autouse=True)
def best_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TSC_ENERGY", raising=False)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """One socket at 45 W."""
    with advancing(tmp_path, socket(0, 45.0)):
        yield tmp_path


@pytest.mark.parametrize("wraps", [0, 1, 4])
@pytest.mark.parametrize(("sockets", "dram"), [(1, None), (2, 6.0)])
@pytest.mark.parametrize("load", [False, True])
def test_energy_is_within_half_a_percent(tmp_path: Path, wraps: int, sockets: int, dram: float | None, load: bool):
    range_uj = 90_000_000 // wraps if wraps else RANGE_UJ
    zones = [z for i in range(sockets) for z in socket(i, 45.0, dram, range_uj=range_uj)]
    done = threading.Event()

    def burn() -> None:
        matrix = torch.randn(256, 256)
        while not done.is_set():
            matrix @ matrix

    with advancing(tmp_path, zones):
        threads = [threading.Thread(target=burn) for _ in range(2 if load else 0)]
        for thread in threads:
            thread.start()
        try:
            # A range this small may wrap in 22 ms at the most that a package could draw. If other work keeps the reader
            # from its turn for that long it must refuse the window, and who measures repeats it.
            for _ in range(3):
                reading = measure(tmp_path, 2.0)
                if reading.valid or "wrapped unseen" not in reading.invalid:
                    break
        finally:
            done.set()
            for thread in threads:
                thread.join()
    assert reading.valid, reading.invalid
    watts = sockets * (45.0 + (dram or 0.0))
    assert reading.joules == pytest.approx(watts * reading.seconds, rel=0.005)
    assert reading.watts == pytest.approx(watts, rel=0.005)
    assert (reading.source, reading.backend, reading.device) == ("measured", "powercap", "cpu")
    assert sum(reading.domains.values()) == pytest.approx(reading.joules)
    assert set(reading.domains) == {
        n for i in range(sockets) for n in (f"package-{i}", *([f"package-{i}/dram"] if dram else []))
    }
    assert reading.joules_per_inference == reading.joules / 4


def test_what_counts_and_what_does_not(tmp_path: Path):
    """Flat and nested zones are found once, mirrors are read once, and psys, core and uncore not at all."""
    other = "class/powercap/intel-rapl-mmio/intel-rapl-mmio:0"
    zones = [*socket(0, 45.0, 5.0), *socket(1, 40.0), zone(other, "package-0", 45.0)]
    zones += [zone(f"{BASE}/intel-rapl:2", "psys", 120.0), zone(f"{PACKAGE}/intel-rapl:0:2", "uncore", 3.0)]
    build(tmp_path, zones)
    powercap = tmp_path / "class" / "powercap"
    for path in [*powercap.glob("*/*:*"), *powercap.glob("*/*/*:*")]:
        (powercap / path.name).symlink_to(path)  # as the kernel shows them
    found = find_zones(tmp_path)
    assert [z.domain for z in found] == ["package-0", "package-0/dram", "package-1"]
    assert "mmio" not in str(found[0].path)
    shutil.rmtree(powercap / "intel-rapl")
    for link in powercap.glob("intel-rapl:*"):
        link.unlink()
    assert [z.domain for z in find_zones(tmp_path)] == ["package-0"]  # the mirror alone


def test_short_windows_are_refused_and_bounds_hold_the_truth(tree: Path):
    source = Powercap(tree)
    meter = EnergyMeter(source)
    with meter.measure("short") as window:
        pass
    assert "resolve" in (window.reading.invalid or "")
    with meter.measure("longer") as window:
        time.sleep(0.2)
    r = window.reading
    assert r.valid and r.joules == pytest.approx(45 * r.seconds, rel=0.05)
    assert r.joules_high - r.joules_low == pytest.approx(2 * source.resolution_s() * r.watts)  # an update at either end
    assert source.resolution_s() == pytest.approx(0.001, abs=0.004)


def test_idle_power_is_taken_off_and_its_drift_said(tree: Path):
    meter = EnergyMeter(Powercap(tree))
    before = meter.measure_idle(0.2)
    assert before.watts == pytest.approx(45, rel=0.05)
    with meter.measure("work") as window:
        time.sleep(0.3)
    assert window.reading.joules_net == pytest.approx(0, abs=0.05 * window.reading.joules)
    assert window.reading.idle_watts == before.watts
    assert describe_idle_drift([before.watts, 1.05 * before.watts]) == ""
    assert "idle power drifted" in describe_idle_drift([before.watts, 1.5 * before.watts])


def test_the_environment_names_tree_and_source(tree: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TSC_SYSFS_ROOT", str(tree))
    meter = EnergyMeter.auto()
    assert meter.source.backend == "powercap" and meter.passed_over == {"cpu": {}}
    monkeypatch.setenv("TSC_ENERGY", "cputime")
    assert EnergyMeter.auto().source.backend == "cputime"


def test_unreadable_counters_name_the_fix(tmp_path: Path):
    """As a user who may not read: another user if we are root, ourselves otherwise."""
    build(tmp_path, socket(0, 45.0))
    (tmp_path / PACKAGE / "energy_uj").chmod(0o000)
    for folder in [tmp_path, *tmp_path.parents][:3]:
        folder.chmod(0o755)
    code = textwrap.dedent(f"""
        import os
        from pathlib import Path
        from tsc_lib.energy.powercap import Powercap
        if os.getuid() == 0: os.setuid(65534)
        print(Powercap(Path({str(tmp_path)!r})).unavailable())
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "sudo chmod a+r" in done.stdout and 'SUBSYSTEM=="powercap"' in done.stdout, done.stderr


def load_burner(seconds: float, fail_after: float | None = None, root: str = ""):
    """A model that takes its time, and may damage the tree while it does."""
    import numpy as np

    started = time.monotonic()

    def predict(x, lengths=None):
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass
        if fail_after is not None and time.monotonic() - started > fail_after:
            Path(root, PACKAGE, "energy_uj").write_text("broken\n")
        return np.zeros((len(x), 2), dtype=np.float32)

    return predict


@pytest.mark.parametrize("breaks", [False, True])
def test_a_benchmark_session_measures_with_counters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breaks: bool):
    import numpy as np

    monkeypatch.setenv("TSC_SYSFS_ROOT", str(tmp_path / "sys"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    inputs = tmp_path / "inputs.npz"
    save_inputs(inputs, [np.zeros((1, 8), dtype=np.float32)] * 2, equal_length=True)
    settings = BenchmarkSettings(batch_sizes=(2,), blocks=5, min_window_s=0.001, warmup_s=0.01, max_seconds=5)
    loader = "test_energy_counters:load_burner"
    options = {"seconds": 0.004}
    last = {"seconds": 0.004, "fail_after": 1.0, "root": str(tmp_path / "sys")} if breaks else {"seconds": 0.008}
    with advancing(tmp_path / "sys", socket(0, 45.0)):
        session = run_session(Candidate("a", loader, options), [Candidate("b", loader, last)], inputs, settings)
    rows = {row["name"]: row for row in session.to_json()["results"]}
    assert {row["status"] for row in rows.values()} == {"ok"}  # whatever the counter does, the session goes on
    assert session.energy["source"] == "measured" and session.energy["backend"] == "powercap"
    for row in rows.values():
        assert len(row["windows"]["joules"]) == row["blocks"]
        valid = [j for j in row["windows"]["joules"] if j is not None]
        assert row["energy_windows"] == len(valid)
        for joules, wall in zip(row["windows"]["joules"], row["windows"]["wall_s"], strict=True):
            assert joules is None or joules == pytest.approx(45 * wall, rel=0.05)
            assert wall >= 0.1
    if breaks:
        assert rows["b"]["energy_mj_per_sample"] is None and "whole number" in rows["b"]["energy_warning"]
        assert rows["b"]["cpu_ratio"] > 0
    else:
        assert session.energy["idle_watts"] == pytest.approx([45, 45], rel=0.05)
        assert rows["b"]["energy_ratio"] == pytest.approx(2, rel=0.2)
        assert abs(rows["b"]["energy_net_mj_per_sample"]) < 0.1 * rows["b"]["energy_mj_per_sample"]


def test_zones_are_refused_by_exception_too(tmp_path: Path):
    with pytest.raises(UnusableError, match="modprobe"):
        find_zones(tmp_path)
