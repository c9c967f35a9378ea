"""Sphinx, as the report and the pages of its modules are built: what it makes loads nothing from elsewhere."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

from tsc_lib.core.errors import UserError
from tsc_lib.report.assets import external_assets

OPTIONS = ["-q", "-b", "html"]
"""Of Sphinx; the tests add that warnings are errors."""


def run_sphinx(source: Path, html: Path, doctrees: Path, trusted: Collection[str] = ()) -> None:
    """Build the pages of a folder; `trusted` scripts are those of `tsc_lib.report.assets.external_assets`.

    Raises
    ------
    UserError
        If Sphinx cannot, or a page would load something from the network.
    """
    command = [sys.executable, "-m", "sphinx", *OPTIONS, "-d", str(doctrees), str(source), str(html)]
    if subprocess.run(command, check=False).returncode:
        raise UserError("Sphinx could not build the pages; its own message stands above")
    if found := external_assets(html, trusted):
        raise UserError(f"the pages would need a network: {found[0]}")
