"""pyRAPL, whose paths are fixed, on a fake powercap tree: in a mount namespace of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from fake_sysfs import advancing, socket

# Not by an import: that alone configures the root logger.
pytestmark = [
    pytest.mark.measures,
    pytest.mark.skipif(find_spec("pyRAPL") is None, reason="pyRAPL is not installed"),
]

PYRAPL = """
import sys, time, json
from tsc_lib.energy import EnergyMeter
import logging
handlers = list(logging.getLogger().handlers)
try:
    meter = EnergyMeter.named("pyrapl")
except Exception as error:
    print(json.dumps({"refused": str(error)})); sys.exit()
assert logging.getLogger().handlers == handlers
out = []
for _ in range(int(sys.argv[1])):
    with meter.measure("a") as window:
        time.sleep(float(sys.argv[2]))
    out.append(window.reading.to_json())
print(json.dumps(out))
"""


def under_pyrapl(tmp_path: Path, zones: list[dict], windows: int, seconds: float) -> list[dict] | dict:
    flags = ["-m"] if os.getuid() == 0 else ["-Urm"]
    if not shutil.which("unshare") or subprocess.run(["unshare", *flags, "true"], capture_output=True).returncode:
        pytest.skip("mount namespaces are refused here (unshare -m), and pyRAPL's paths are fixed")
    with advancing(tmp_path, zones):
        script = (
            "mount -t tmpfs none /sys/class && mkdir /sys/class/powercap && "
            f'mount --bind {tmp_path}/class/powercap /sys/class/powercap && exec "$@"'
        )
        command = ["unshare", *flags, "sh", "-c", script, "sh", sys.executable, "-c", PYRAPL]
        done = subprocess.run([*command, str(windows), str(seconds)], capture_output=True, text=True)
    if "mount" in done.stderr and done.returncode:
        pytest.skip(f"mounting is refused here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_pyrapl_is_right_where_it_can_be(tmp_path: Path):
    (reading,) = under_pyrapl(tmp_path, socket(0, 45.0, 5.0), 1, 2.0)
    assert reading["invalid"] is None, reading["invalid"]
    assert reading["joules"] == pytest.approx(50 * reading["seconds"], rel=0.01)
    assert reading["backend"] == "pyrapl"


@pytest.mark.parametrize("wraps_per_s", [1.5, 4.0])
def test_what_pyrapl_gets_wrong_in_silence_is_an_error(tmp_path: Path, wraps_per_s: float):
    readings = under_pyrapl(tmp_path, socket(0, 45.0, range_uj=int(45e6 / wraps_per_s)), 2, 1.0)
    assert isinstance(readings, list)
    for reading in readings:
        assert reading["invalid"] is not None and reading["joules"] is None
        # Four wraps a second leave a reader that is held up for 11 ms in doubt too, which is as good a reason.
        assert "pyRAPL" in reading["invalid"] or "wrapped unseen" in reading["invalid"]


def test_pyrapl_refuses_what_it_does_not_see(tmp_path: Path):
    """A second socket in the tree, which this machine's topology does not list: pyRAPL would leave it out."""
    result = under_pyrapl(tmp_path, [*socket(0, 45.0), *socket(1, 45.0)], 1, 0.5)
    if isinstance(result, list):
        assert "nor every zone" in result[0]["invalid"] or result[0]["joules"] == pytest.approx(
            90 * result[0]["seconds"], rel=0.02
        )
    else:
        assert "pyRAPL" in result["refused"]
