"""perf, which here counts CPU time in place of energy: the same protocol, and a known truth."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tsc_lib.energy import EnergyMeter, perf
from tsc_lib.energy.perf import Perf


def fake_perf(folder: Path, script: str) -> None:
    (folder / "perf").write_text(f"#!{sys.executable}\n{script}")
    (folder / "perf").chmod(0o755)


SAYS = """import sys
sys.stderr.write({!r})
"""


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("event syntax error: 'power/energy-pkg/'\n \\___ Cannot find PMU `power'", "Cannot find PMU `power'"),
        ("<not supported>;Joules;power/energy-pkg/;0;100.00;;\n", "this machine does not offer it"),
        ("5;;power/energy-pkg/;0;100.00;;\n", "which is no energy"),
        ("", "it said nothing"),
        ("5.0;Joules;power/energy-pkg/;9000;45.10;;\n", "counted power/energy-pkg/ 45.10 % of the time, and guessed"),
    ],
)
def test_perf_that_cannot_tell_energy_says_why(tmp_path, monkeypatch, said, why):
    fake_perf(tmp_path, SAYS.format(said))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert why in Perf().unavailable()


@pytest.mark.parametrize(("vendor", "mask", "refused"), [
    ("AuthenticAMD", "0-1,8", True), ("AuthenticAMD", "0", False), ("GenuineIntel", "0,8", False),
])  # fmt: skip
def test_perf_that_adds_up_mirrored_dies_is_refused(tmp_path, monkeypatch, vendor, mask, refused):
    fake_perf(tmp_path, FIFTY_WATTS)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("TSC_SYSFS_ROOT", str(tmp_path))
    monkeypatch.setattr(perf, "read_cpuinfo", lambda: {"vendor_id": vendor})
    for path, text in {
        "bus/event_source/devices/power/cpumask": f"{mask}\n",
        "devices/system/cpu/cpu0/topology/physical_package_id": "0\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text)
    assert ("dies of a package" in (Perf().unavailable() or "")) == refused


def test_perf_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "not installed" in Perf().unavailable()


FIFTY_WATTS = """import os, signal, sys, time
arguments = sys.argv[1:]
events = arguments[arguments.index("-e") + 1].split(",")
def say(joules):
    for event in events:
        told = str(joules) if os.environ["LC_ALL"] == "C" else str(joules).replace(".", ",")
        sys.stderr.write(f"{told};Joules;{event};1000;100.00;;\\n")
    sys.exit()
if "--control" not in arguments:
    say(1.0)
assert arguments[arguments.index("--delay") + 1] == "-1"
reading, writing = map(int, arguments[arguments.index("--control") + 1].removeprefix("fd:").split(","))
joules, since = 0.0, 0.0
def end(*_):
    say(joules)
signal.signal(signal.SIGINT, end)
while command := os.read(reading, 64):
    if command == b"enable\\n":
        since = time.monotonic()
    elif command == b"disable\\n":
        joules += 50 * (time.monotonic() - since)
    os.write(writing, b"ack\\n")
"""


@pytest.mark.measures
def test_perf_counts_the_window_alone(tmp_path, monkeypatch):
    fake_perf(tmp_path, FIFTY_WATTS)
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    source = Perf()
    assert source.unavailable() is None
    meter = EnergyMeter(source)
    with meter.measure("a") as window:
        time.sleep(1.1)
    r = window.reading
    assert r.valid, r.invalid
    assert r.joules == pytest.approx(100 * r.seconds, rel=0.02)  # package and DRAM, fifty each
    assert set(r.domains) == {"package", "dram"}
    with meter.measure("a") as window:
        pass
    assert "resolves 1.0 s" in window.reading.invalid


@pytest.mark.measures
def test_perf_as_it_is_installed_obeys(monkeypatch):
    """The real perf with an event that virtual machines have: CPU time of all CPUs, in milliseconds."""
    if not shutil.which("perf") or subprocess.run(["perf", "stat", "-a", "-e", "cpu-clock", "true"]).returncode:
        pytest.skip("perf is not installed, or may not count for the whole system")
    source = Perf()
    source._events = ["cpu-clock"]
    mark = source.start()
    time.sleep(0.5)
    mark.tell("disable")
    milliseconds = float(mark.end().splitlines()[-1].split(";")[0])
    assert milliseconds == pytest.approx(500 * os.cpu_count(), rel=0.2)


def test_perf_that_dies_costs_the_reading_alone(tmp_path, monkeypatch):
    fake_perf(tmp_path, "import sys\nsys.stderr.write('killed by a cat')")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    source = Perf()
    source._events = ["power/energy-pkg/"]
    with EnergyMeter(source).measure("a") as window:
        value = 1
    assert value == 1 and "killed by a cat" in window.reading.invalid
