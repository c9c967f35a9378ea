"""A fake powercap tree: a real folder whose counters rise in real time at known watts.

As a program, ``fake_sysfs.py ROOT JSON`` builds the tree, says "ready" and advances it every millisecond; JSON is a
list of zones, each with `path` (below ROOT), `name`, `watts`, `range_uj` and `start_uj`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RANGE_UJ = 262_143_328_850
BASE = "class/powercap/intel-rapl"


def zone(path: str, name: str, watts: float, range_uj: int = RANGE_UJ, start_uj: int = 1_000_000) -> dict:
    return {"path": path, "name": name, "watts": watts, "range_uj": range_uj, "start_uj": start_uj}


def socket(number: int, watts: float, dram: float | None = None, **options: int) -> list[dict]:
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
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def main() -> None:
    root, zones = Path(sys.argv[1]), json.loads(sys.argv[2])
    build(root, zones)
    files = [os.open(root / z["path"] / "energy_uj", os.O_WRONLY) for z in zones]
    start = time.monotonic()
    print("ready", flush=True)
    while True:
        elapsed = time.monotonic() - start
        for file, z in zip(files, zones, strict=True):
            os.pwrite(file, b"%016d\n" % ((z["start_uj"] + int(1e6 * elapsed * z["watts"])) % z["range_uj"]), 0)
        time.sleep(0.001)


if __name__ == "__main__":
    main()
