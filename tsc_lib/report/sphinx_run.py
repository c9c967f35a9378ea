"""Sphinx, as the report and the pages of its modules are built."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tsc_lib.core.errors import UserError

OPTIONS = ["-q", "-b", "html"]
"""Of Sphinx; the tests add that warnings are errors."""


def run_sphinx(source: Path, html: Path, doctrees: Path) -> None:
    """Build the pages of a folder.

    Raises
    ------
    UserError
        If Sphinx cannot.
    """
    command = [sys.executable, "-m", "sphinx", *OPTIONS, "-d", str(doctrees), str(source), str(html)]
    if subprocess.run(command, check=False).returncode:
        raise UserError("Sphinx could not build the pages; its own message stands above")
