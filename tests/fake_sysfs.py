"""A fake powercap tree: a real folder whose counters rise in real time at known watts.

As a program, ``fake_sysfs.py ROOT JSON`` builds the tree, says "ready" and advances it every millisecond; JSON is a
list of zones, each as `zone` makes it. Lines of its standard input are faults, as `disturb` sends them.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

RANGE_UJ = 262_143_328_850
BASE = "class/powercap/intel-rapl"


def zone(path: str, name: str, watts: float, **options: float) -> dict:
    """A zone below ROOT.

    It wraps at `wraps_uj`, by default where it says it does (`range_uj`), starts at `start_uj`, and changes every
    `update_s` seconds.
    """
    options = {"range_uj": RANGE_UJ, "start_uj": 1_000_000, "update_s": 0.001, **options}
    return {"path": path, "name": name, "watts": watts, "wraps_uj": options["range_uj"], **options}


def socket(number: int, watts: float, dram: float | None = None, **options: float) -> list[dict]:
    """A package with its core zone, which must not be counted, and DRAM where wanted."""
    path = f"{BASE}/intel-rapl:{number}"
    zones = [zone(path, f"package-{number}", watts, **options)]
    zones.append(zone(f"{path}/intel-rapl:{number}:0", "core", watts / 2, **options))
    if dram is not None:
        zones.append(zone(f"{path}/intel-rapl:{number}:1", "dram", dram, **options))
    return zones


def build(root: Path, zones: list[dict]) -> None:
    for z in zones:
        folder = root / z["path"]
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{z['name']}\n")
        (folder / "max_energy_range_uj").write_text(f"{z['range_uj']}\n")
        (folder / "energy_uj").write_text(f"{z['start_uj']:016d}\n")


@contextmanager
def advancing(root: Path, zones: list[dict]) -> Iterator[subprocess.Popen[str]]:
    """The tree, alive for as long as the context."""
    command = [sys.executable, __file__, str(root), json.dumps(zones)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def disturb(writer: subprocess.Popen[str], name: str, **changes: float) -> None:
    """Do this to the zones of that name: `jump_uj` adds energy that was not drawn, `stops` holds the counter."""
    assert writer.stdin is not None
    writer.stdin.write(json.dumps({"name": name, **changes}) + "\n")
    writer.stdin.flush()


def main() -> None:
    root, zones = Path(sys.argv[1]), json.loads(sys.argv[2])
    with suppress(AttributeError, OSError):  # a processor's counters do not wait for its work
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(2))
    build(root, zones)
    files = [os.open(root / z["path"] / "energy_uj", os.O_WRONLY) for z in zones]
    start = time.monotonic()
    print("ready", flush=True)
    while True:
        elapsed = time.monotonic() - start
        for file, z in zip(files, zones, strict=True):
            if not z.get("stops"):
                drawn = 1e6 * z["watts"] * (elapsed // z["update_s"] * z["update_s"])
                value = (z["start_uj"] + z.get("jump_uj", 0) + int(drawn)) % z["wraps_uj"]
                os.pwrite(file, b"%016d\n" % value, 0)
        if select.select([0], [], [], 0.001)[0] and (line := os.read(0, 4096)):
            fault = json.loads(line)
            for z in zones:
                if z["name"] == fault["name"]:
                    z.update(fault)


if __name__ == "__main__":
    main()
