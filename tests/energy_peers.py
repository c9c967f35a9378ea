"""pyRAPL and CodeCarbon beside our reader, on the same fake powercap tree, for the same seconds, with the same fault.

``python tests/energy_peers.py`` prints the table of docs/measurement.md. The paths of both are fixed, so all three run
in a mount namespace where the tree is at its usual place.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fake_sysfs import BASE, advancing, disturb, socket, zone

SECONDS = 6.0

READERS = {
    "tsc_lib": """
from tsc_lib.energy import EnergyMeter, powercap
powercap.read_cpuinfo = lambda: {"vendor_id": "AuthenticAMD"}  # whose dies may show one counter
meter = EnergyMeter.named("powercap")
begin()
with meter.measure("work") as window:
    work()
reading = window.reading
end(None if reading.invalid else reading.joules, reading.invalid or "; ".join(reading.warnings))
""",
    "pyRAPL": """
import pyRAPL
pyRAPL.setup()
measurement = pyRAPL.Measurement("work")
begin()
measurement.begin()
work()
measurement.end()
parts = [measurement.result.pkg, measurement.result.dram]
end(None if parts[0] is None else sum(sum(part) for part in parts if part) / 1e6, "")
""",
    "CodeCarbon": """
from codecarbon import OfflineEmissionsTracker
tracker = OfflineEmissionsTracker(
    country_iso_code="FRA", save_to_file=False, measure_power_secs=1, log_level="critical", allow_multiple_runs=True,
    rapl_include_dram=True,
)
begin()
tracker.start()
work()
tracker.stop()
end(3.6e6 * tracker.final_emissions_data.cpu_energy, "")
""",
}
"""What each reader does: it calls `begin` when it is ready, `work`, and `end` with joules and what it says of them."""

FRAME = """
import contextlib, json, os, sys, time
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
def begin():
    print("ready", file=answers, flush=True)
    sys.stdin.readline()
def work():
    time.sleep({seconds})
def end(joules, said):
    print(json.dumps({{"joules": joules, "said": said}}), file=answers, flush=True)
try:
{reader}
except Exception as error:
    print("ready", file=answers, flush=True)
    end(None, f"{{type(error).__name__}}: {{error}}".strip(": "))
"""


@dataclass(frozen=True)
class Case:
    """A tree, what happens to it in the middle of the window, and the watts of packages and memory that are true."""

    zones: list[dict[str, Any]]
    package_watts: float
    dram_watts: float
    fault: dict[str, Any] = field(default_factory=dict)


DIES = [zone(f"{BASE}/intel-rapl:{i}", f"package-0-die-{i}", 45.0) for i in (0, 1)]

CASES = {
    "no fault": Case(socket(0, 45.0, 5.0), 45, 5),
    "the counter wraps once": Case(socket(0, 45.0, 5.0, range_uj=200_000_000), 45, 5),
    "it wraps three times": Case(socket(0, 45.0, 5.0, range_uj=80_000_000), 45, 5),
    "memory's counter stops halfway": Case(socket(0, 45.0, 5.0), 45, 5, {"name": "dram", "stops": 1}),
    "the package's counter stops halfway": Case(socket(0, 45.0, 5.0), 45, 5, {"name": "package-0", "stops": 1}),
    "a jump of 20 J": Case(socket(0, 45.0, 5.0), 45, 5, {"name": "package-0", "jump_uj": 2e7}),
    "a jump of 2 J": Case(socket(0, 45.0, 5.0), 45, 5, {"name": "package-0", "jump_uj": 2e6}),
    "0.1 J back": Case(socket(0, 45.0, 5.0), 45, 5, {"name": "package-0", "jump_uj": -1e5}),
    "updated every 250 ms": Case(socket(0, 45.0, 5.0, update_s=0.25), 45, 5),
    "two dies that show one counter": Case(DIES, 45, 0),
}


def namespace() -> list[str] | str:
    """The command that runs others in a mount namespace, or why that cannot be."""
    command = ["unshare", "-m" if os.getuid() == 0 else "-Urm"]
    if not shutil.which("unshare") or subprocess.run([*command, "true"], capture_output=True).returncode:
        return "mount namespaces are refused here (unshare -m), and the paths of pyRAPL and CodeCarbon are fixed"
    return command


def compare(case: Case, readers: list[str], seconds: float = SECONDS) -> dict[str, dict[str, Any]]:
    """What each reader says of one window: ``joules``, None if it gives none, and what is ``said``."""
    command = namespace()
    assert isinstance(command, list), command
    with tempfile.TemporaryDirectory() as folder, advancing(Path(folder), case.zones) as writer:
        Path(folder, BASE, "subsystem").symlink_to("..")  # as the kernel has it, and CodeCarbon looks for it
        script = (
            "mount -t tmpfs none /sys/class && mkdir /sys/class/powercap && "
            f'mount --bind {folder}/class/powercap /sys/class/powercap && exec "$@"'
        )
        processes = {}
        for name in readers:
            body = "\n".join(f"    {line}" for line in READERS[name].splitlines())
            code = FRAME.format(seconds=seconds, reader=body)
            processes[name] = subprocess.Popen(
                [*command, "sh", "-c", script, "sh", sys.executable, "-c", code],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            )  # fmt: skip
        for process in processes.values():
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
        for process in processes.values():
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        time.sleep(seconds / 2)
        if case.fault:
            disturb(writer, **case.fault)
        answers = {}
        for name, process in processes.items():
            with process:
                assert process.stdout is not None
                answers[name] = json.loads(process.stdout.readlines()[-1])
        return answers


def main() -> None:
    """Print the table."""
    if isinstance(refused := namespace(), str):
        sys.exit(refused)
    print(f"| fault, in a window of {SECONDS:g} s | packages + memory | {' | '.join(READERS)} |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, case in CASES.items():
        cells = [
            answer["said"] if answer["joules"] is None else f"{answer['joules']:.1f} J"
            for answer in compare(case, list(READERS)).values()
        ]
        true = f"{case.package_watts * SECONDS:g} + {case.dram_watts * SECONDS:g} J"
        print(f"| {name} | {true} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
