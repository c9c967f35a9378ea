"""Where the machine refuses to write, every command says one sentence, and nothing that was there is lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REFUSED = Path(__file__).parent / "refused.py"
REASONS = {"full": "No space left", "read-only": "Read-only file system", "permission": "Permission denied"}
SAID_BEFORE = "may be written to", "is no folder to write to"


def attempts(tmp_path: Path, kind: str, model: Path) -> dict[str, Any]:
    """What everything that writes answers in a folder where the machine refuses it."""
    place = tmp_path / "outputs"
    place.mkdir()
    if kind == "permission":  # which binds everyone but root
        flags, mount = ["-U", "--map-user=12345", "--map-group=12345"], "true"
    else:
        flags, mount = ["-m"] if os.geteuid() == 0 else ["-Urm"], f"mount -t tmpfs -o size=8m tmpfs '{place}'"
    if not shutil.which("unshare") or subprocess.run(["unshare", *flags, "true"], capture_output=True).returncode:
        pytest.skip(f"namespaces are refused here (unshare {' '.join(flags)}), and with them the fault")
    command = ["unshare", *flags, "sh", "-c", f'{mount} && exec "$@"', "sh", sys.executable]
    environment = os.environ | {"PYTHONPATH": str(REFUSED.parents[1])}
    done = subprocess.run(
        [*command, str(REFUSED), str(place), kind, str(model)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("kind", REASONS)
def test_where_writing_is_refused_each_command_says_so_and_nothing_is_lost(
    tmp_path: Path, models: Path, kind: str
) -> None:
    found = attempts(tmp_path, kind, models / "one")
    assert len(found["answers"]) == 9
    for name, (code, lines) in found["answers"].items():
        assert code == 1, name
        [line] = [line for line in lines if line.startswith("error: ")]
        assert line == lines[-1] and not any("Traceback" in each for each in lines), name
        assert any(reason in line for reason in (REASONS[kind], *SAID_BEFORE)), line
    assert found["changed"] == [], "nothing is lost, and nothing half written is left"
    assert found["again"] == (0 if kind == "full" else 1), "with space again, the work is done"
