"""Every fault that a powercap tree may have: each gives an invalid reading with its reason, never a wrong number."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_sysfs import BASE, advancing, build, disturb, socket, zone

from tsc_lib.benchmark import doctor
from tsc_lib.energy import EnergyMeter, Reading, powercap
from tsc_lib.energy.powercap import Powercap, find_mirrors
from tsc_lib.energy.source import InvalidWindowError, UnusableError
from tsc_lib.energy.zones import Zone

pytestmark = pytest.mark.measures

PACKAGE = f"{BASE}/intel-rapl:0"


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """One socket at 45 W."""
    with advancing(tmp_path, socket(0, 45.0)):
        yield tmp_path


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


UNUSABLE: dict[str, tuple[Callable[[Path], None], str]] = {
    "no tree": (lambda r: remove(r / "class"), "modprobe intel_rapl_msr"),
    "no zones": (lambda r: remove(r / PACKAGE), "holds no zone named package"),
    "no counter": (lambda r: remove(r / PACKAGE / "energy_uj"), "energy_uj cannot be used"),
    "counter is a folder": (
        lambda r: (remove(r / PACKAGE / "energy_uj"), (r / PACKAGE / "energy_uj").mkdir()),  # type: ignore[dict-item]
        "energy_uj cannot be used",
    ),
    "empty counter": (lambda r: (r / PACKAGE / "energy_uj").write_text(""), "instead of a whole number"),
    "text": (lambda r: (r / PACKAGE / "energy_uj").write_text("busy\n"), "'busy' instead of a whole number"),
    "negative": (lambda r: (r / PACKAGE / "energy_uj").write_text("-5\n"), "'-5' instead of a whole number"),
    "fraction": (lambda r: (r / PACKAGE / "energy_uj").write_text("1e6\n"), "instead of a whole number"),
    "noise": (lambda r: (r / PACKAGE / "energy_uj").write_bytes(b"\xff\x00"), "instead of a whole number"),
    "beyond its range": (lambda r: (r / PACKAGE / "energy_uj").write_text("9" * 15), "beyond its range"),
    "no range": (lambda r: remove(r / PACKAGE / "max_energy_range_uj"), "counter that wraps could not be followed"),
    "zero range": (lambda r: (r / PACKAGE / "max_energy_range_uj").write_text("0\n"), "is 0, so a counter that wraps"),
    "text range": (lambda r: (r / PACKAGE / "max_energy_range_uj").write_text("big"), "could not be followed"),
    "no name": (lambda r: remove(r / PACKAGE / "name"), "unknown what the zone counts"),
    "duplicate name": (lambda r: build(r, [zone(f"{BASE}/intel-rapl:1", "package-0", 1.0)]), "both named package-0"),
    "dram without a counter": (
        lambda r: (build(r, [zone(f"{PACKAGE}/intel-rapl:0:1", "dram", 1.0)]),  # type: ignore[dict-item]
                   remove(r / PACKAGE / "intel-rapl:0:1" / "energy_uj")),
        "energy_uj cannot be used",
    ),
    "a package is missing": (
        lambda r: [
            (folder := r / f"devices/system/cpu/cpu{i}/topology").mkdir(parents=True)
            or (folder / "physical_package_id").write_text(f"{i}\n")
            for i in (0, 1)
        ],  # type: ignore[dict-item]
        "no zone for package 1",
    ),
    "it does not move": (lambda r: None, "does not move"),
}  # fmt: skip


@pytest.mark.parametrize("fault", UNUSABLE)
def test_a_tree_that_cannot_be_trusted_is_refused_with_its_reason(tmp_path: Path, fault: str):
    build(tmp_path, socket(0, 45.0))
    damage, why = UNUSABLE[fault]
    damage(tmp_path)
    source = Powercap(tmp_path)
    assert why in (source.unavailable() or "")
    with EnergyMeter(source).measure("a") as window:
        value = 42
    assert value == 42 and not window.reading.valid  # whoever insists gets no number


def rewrite(text: str) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        with (root / PACKAGE / "energy_uj").open("r+") as file:  # in place: never empty in between
            file.write(text)
            file.truncate()

    return damage


MID_WINDOW: dict[str, tuple[Callable[[Path], None], str]] = {
    "jumps back": (rewrite("0000000000000009\n"), "jumped from"),
    "jumps ahead": (rewrite("0000200000000000\n"), "jumped from"),
    "beyond its range": (rewrite("9999999999999999\n"), "beyond its range"),
    "text": (rewrite("not available\n"), "instead of a whole number"),
    "empty": (rewrite(""), "instead of a whole number"),
    "vanishes": (lambda root: remove(root / PACKAGE / "energy_uj"), "cannot be read"),
    "the zone vanishes": (lambda root: remove(root / PACKAGE), "cannot be read"),
    "the tree vanishes": (lambda root: remove(root / "class"), "cannot be read"),
}


@pytest.mark.parametrize("fault", MID_WINDOW)
def test_a_fault_in_mid_window_invalidates_it_and_loses_nothing(tmp_path: Path, fault: str):
    damage, why = MID_WINDOW[fault]
    with advancing(tmp_path, socket(0, 45.0)) as writer:
        source = Powercap(tmp_path)
        assert source.unavailable() is None
        meter = EnergyMeter(source)

        @meter.measure_calls("work")
        def work() -> str:
            time.sleep(0.1)
            writer.kill()  # its next write would mend the file
            writer.wait()
            damage(tmp_path)
            time.sleep(0.06)
            return "done"

        assert work() == "done"
    (reading,) = work.readings  # type: ignore[attr-defined]
    assert why in reading.invalid
    assert reading.joules != reading.joules and reading.seconds > 0.1  # NaN: no number passes


def test_after_a_fault_the_next_window_is_right_again(tree: Path):
    source = Powercap(tree)
    meter = EnergyMeter(source)
    counter = tree / PACKAGE / "energy_uj"
    with meter.measure("bad") as bad:
        time.sleep(0.1)
        counter.rename(counter.with_name("gone"))
        time.sleep(0.1)
        counter.with_name("gone").rename(counter)
    time.sleep(0.2)
    with meter.measure("good") as good:
        time.sleep(0.5)
    # Renaming does not disturb a counter that is open: either reading is right.
    for reading in (bad.reading, good.reading):
        assert not reading.valid or reading.joules == pytest.approx(45 * reading.seconds, rel=0.02)
    assert good.reading.valid, good.reading.invalid


DISTURBED: dict[str, tuple[str, dict[str, float], str]] = {
    "two joules too many": ("package-0", {"jump_uj": 2e6}, "package-0 jumped"),
    "a tenth of a joule back": ("package-0", {"jump_uj": -1e5}, "package-0 jumped"),
    "memory, two joules too many": ("dram", {"jump_uj": 2e6}, "package-0/dram jumped"),
    "memory, a tenth of a joule back": ("dram", {"jump_uj": -1e5}, "package-0/dram jumped"),
    "the package stops": ("package-0", {"stops": 1}, "package-0 has stood still"),
    "memory stops while the package moves": ("dram", {"stops": 1}, "package-0/dram has stood still"),
    "it wraps early": ("package-0", {"wraps_uj": 500_000}, "package-0 jumped"),
}


@pytest.mark.parametrize("fault", DISTURBED)
def test_a_small_fault_in_mid_window_is_noticed(tmp_path: Path, fault: str):
    name, changes, why = DISTURBED[fault]
    with advancing(tmp_path, socket(0, 45.0, 5.0)) as writer:
        meter = EnergyMeter(Powercap(tmp_path))
        readings: list[Reading] = []
        for disturbed in (False, True):
            with meter.measure("work") as window:
                time.sleep(0.07)
                if disturbed:
                    disturb(writer, name, **changes)
                time.sleep(0.05)  # less than a counter may rest
            readings.append(window.reading)
    before, after = readings
    assert before.valid and before.joules == pytest.approx(50 * before.seconds, rel=0.05)
    assert why in (after.invalid or "")


@pytest.mark.parametrize("update_s", [0.05, 0.25])
def test_a_counter_that_is_seldom_updated_takes_long_windows(tmp_path: Path, update_s: float):
    with advancing(tmp_path, socket(0, 45.0, 5.0, update_s=update_s)):
        source = Powercap(tmp_path)
        assert source.unavailable() is None
        assert source.resolution_s() == pytest.approx(update_s, rel=0.1)
        assert source.shortest_window_s == pytest.approx(20 * update_s, rel=0.1)
        meter = EnergyMeter(source)
        with meter.measure("short") as window:
            time.sleep(0.5)
        assert "repeat the work" in (window.reading.invalid or "")
        if update_s < 0.1:
            with meter.measure("long") as window:
                time.sleep(1.2)
            r = window.reading
            assert r.valid, r.invalid
            assert r.joules_low < 50 * r.seconds < r.joules_high
            assert r.joules_high - r.joules_low == pytest.approx(2 * update_s * r.watts, rel=0.2)


def dies(first_watts: float, second_watts: float) -> list[dict]:
    watts = (first_watts, second_watts)
    return [zone(f"{BASE}/intel-rapl:{i}", f"package-0-die-{i}", watts[i]) for i in (0, 1)]


@pytest.mark.parametrize(
    ("vendor", "watts", "expected"),
    [("AuthenticAMD", (45, 45), 45), ("AuthenticAMD", (45, 30), 75), ("GenuineIntel", (45, 30), 75)],
)
def test_a_die_that_mirrors_another_is_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vendor: str, watts: tuple[float, float], expected: float
):
    monkeypatch.setattr(powercap, "read_cpuinfo", lambda: {"vendor_id": vendor})
    with advancing(tmp_path, dies(*watts)), EnergyMeter(Powercap(tmp_path)).measure("a") as window:
        time.sleep(0.5)
    r = window.reading
    assert r.valid, r.invalid
    assert r.joules == pytest.approx(expected * r.seconds, rel=0.02)
    mirrored = expected == 45
    assert set(r.domains) == {"package-0-die-0"} | (set() if mirrored else {"package-0-die-1"})
    assert r.warnings == (
        ("package-0-die-1 shows the counter of package-0-die-0 again and was left out",) if mirrored else ()
    )


def test_doctor_names_a_die_that_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(powercap, "read_cpuinfo", lambda: {"vendor_id": "AuthenticAMD"})
    monkeypatch.setenv("TSC_SYSFS_ROOT", str(tmp_path))
    monkeypatch.setattr(doctor, "BY_NAME", {"powercap": Powercap})
    with advancing(tmp_path, dies(45, 45)):
        (row,) = doctor.examine().itertuples()
    assert row.usable and row.why == "package-0-die-1 shows the counter of package-0-die-0 again and was left out"


def test_mirrors_are_dies_of_one_package_that_move_alike(tmp_path: Path):
    zones = [Zone(name, tmp_path, 10**9) for name in ("package-0-die-0", "package-0-die-1", "package-1-die-0")]
    rising = [45_000 * i for i in range(9)]
    rows = [(value, value + late, value) for value, late in zip(rising, [0, 0, 0, 300, 0, 0, 0, 0, 0], strict=True)]
    assert find_mirrors(zones, rows, "HygonGenuine") == {"package-0-die-1": "package-0-die-0"}
    with pytest.raises(UnusableError, match=r"die-1 and package-0-die-0 read the same.* not known of GenuineIntel"):
        find_mirrors(zones, rows, "GenuineIntel")
    apart = [(value, value + 50_000_000, value) for value in rising]
    assert find_mirrors(zones, apart, "AuthenticAMD") == {}
    assert find_mirrors([Zone("package-0", tmp_path, 1), Zone("package-1", tmp_path, 1)], rows, "AuthenticAMD") == {}


def test_a_process_that_ends_costs_one_window(tree: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(powercap, "ANSWER_S", 0.3)
    source = Powercap(tree)
    meter = EnergyMeter(source)
    for blow in (signal.SIGKILL, signal.SIGSTOP):
        with meter.measure("bad") as window:
            assert source._follower is not None
            os.kill(source._follower.pid, blow)
            time.sleep(0.12)
        assert "has ended, or does not answer" in (window.reading.invalid or "")
        with meter.measure("good") as window:
            time.sleep(0.2)
        assert window.reading.joules == pytest.approx(45 * window.reading.seconds, rel=0.05), window.reading.invalid


def test_an_interrupt_does_not_leave_an_answer_for_the_next_question(tree: Path, monkeypatch: pytest.MonkeyPatch):
    source = Powercap(tree)
    meter = EnergyMeter(source)
    mark = source.start()
    with monkeypatch.context() as patch:
        patch.setattr(powercap.select, "select", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            source.stop(mark, 1.0, 1.0)
    with meter.measure("next") as window:
        time.sleep(0.2)
    assert window.reading.joules == pytest.approx(45 * window.reading.seconds, rel=0.05), window.reading.invalid
    with pytest.raises(InvalidWindowError, match="ended within the window"):
        source.stop(mark, 1.0, 1.0)


def test_a_forked_process_has_a_follower_of_its_own(tree: Path):
    source = Powercap(tree)
    meter = EnergyMeter(source)
    with meter.measure("parent") as window:
        child = os.fork()
        if child == 0:
            with meter.measure("child") as inner:
                time.sleep(0.2)
            source._end_follower()
            os._exit(0 if inner.reading.valid else 1)
        time.sleep(0.3)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert window.reading.joules == pytest.approx(45 * window.reading.seconds, rel=0.05), window.reading.invalid


def test_memory_that_vanishes_while_its_counter_goes_on_is_noticed(tmp_path: Path):
    with advancing(tmp_path, socket(0, 45.0, 5.0)), EnergyMeter(Powercap(tmp_path)).measure("a") as window:
        time.sleep(0.1)
        remove(tmp_path / PACKAGE / "intel-rapl:0:1")
        time.sleep(0.1)
    assert window.reading.invalid == "package-0/dram cannot be read: it was removed"


def test_the_process_ends_with_its_source(tree: Path):
    source = Powercap(tree)
    EnergyMeter(source).measure_idle(0.1)
    follower = source._follower
    assert follower is not None and follower.poll() is None
    del source
    gc.collect()
    assert follower.returncode is not None


def test_windows_within_windows(tree: Path):
    meter = EnergyMeter(Powercap(tree))
    with meter.measure("outer") as outer:
        time.sleep(0.1)
        with meter.measure("inner") as inner:
            time.sleep(0.2)
        time.sleep(0.1)
    for window in (outer, inner):
        assert window.reading.joules == pytest.approx(45 * window.reading.seconds, rel=0.05), window.reading.invalid


def test_a_killed_program_leaves_no_process(tree: Path):
    code = textwrap.dedent(f"""
        import time
        from pathlib import Path
        from tsc_lib.energy.powercap import Powercap
        source = Powercap(Path({str(tree)!r}))
        source.start()
        print(source._follower.pid, flush=True)
        time.sleep(60)
    """)
    program = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    status = Path(f"/proc/{int(program.stdout.readline())}/status")
    program.kill()
    program.communicate()
    for _ in range(50):
        if not status.exists() or "State:\tZ" in status.read_text():  # ended, though nobody may have asked how
            return
        time.sleep(0.1)
    pytest.fail("the process that follows the counters goes on")
