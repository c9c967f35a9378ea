"""A page for every module, from its docstrings: a small site within the report, built anew when code has changed."""

from __future__ import annotations

import ast
import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from tsc_lib.core.errors import UserError
from tsc_lib.core.files import PACKAGE, shipped
from tsc_lib.core.store import OUTPUTS
from tsc_lib.report.assets import external_assets
from tsc_lib.report.sphinx_run import run_sphinx

FOLDER = "api"
"""Of the module pages within a report."""

INDEX = '# Python interface\n\n<a href="../api.html">All modules</a>, <a href="../index.html">the report</a>\n'

BACK = '\nhtml_theme_options["logo"] = {"link": "../index.html"}\n'
"""What Sphinx's settings say here beside those of the report: the title leads to the report."""


def list_modules() -> dict[str, str]:
    """The modules that have something to say, and the first line of each docstring."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE.parent).with_suffix("")
        about = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        # Sphinx's settings, in an installed package, are no module.
        if about is not None and place.name != "__main__" and not path.is_relative_to(shipped("docs")):
            found[".".join(place.parent.parts if place.name == "__init__" else place.parts)] = about.splitlines()[0]
    return found


def link_modules(modules: Mapping[str, str]) -> str:
    """The list of the modules, room by room, as Markdown; it leads to their pages."""
    rooms: dict[str, list[str]] = {}
    for name, about in modules.items():
        parts = name.split(".")
        alone = len(parts) == 2 and (PACKAGE / f"{parts[1]}.py").is_file()
        room = PACKAGE.name if alone else ".".join(parts[:2])
        rooms.setdefault(room, []).append(f'- <a href="{FOLDER}/{name}.html">{name}</a>: {about}')
    return "\n\n".join(f"## {room}\n\n" + "\n".join(lines) for room, lines in rooms.items())


def build_module_pages(modules: Mapping[str, str]) -> Path:
    """Build the pages of the modules, or find those that were built from the same code; returns their folder.

    Raises
    ------
    UserError
        If the build fails, or a page would load something from the network.
    """
    docs, folder = shipped("docs"), OUTPUTS / "store" / FOLDER / _digest_code()
    if (folder / "index.html").is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".api-", dir=folder.parent) as temporary:
        source, html = Path(temporary) / "source", Path(temporary) / "html"
        source.mkdir()
        shutil.copytree(docs / "_static", source / "_static")
        (source / "conf.py").write_text((docs / "conf.py").read_text(encoding="utf-8") + BACK, encoding="utf-8")
        (source / "index.md").write_text(INDEX, encoding="utf-8")
        for name in modules:
            # Orphans: with every module in the sidebar each page would take as long to build as all of the others.
            page = f"---\norphan: true\n---\n\n# {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n```\n"
            (source / f"{name}.md").write_text(page, encoding="utf-8")
        run_sphinx(source, html, Path(temporary) / "doctrees")
        if found := external_assets(html):
            raise UserError(f"the module pages would need a network: {found[0]}")
        for old in folder.parent.glob("[!.]*"):
            shutil.rmtree(old)
        html.rename(folder)
    return folder


def _digest_code() -> str:
    """What the pages are made from: the package, the settings of Sphinx, and its version."""
    content = hashlib.sha256(version("sphinx").encode())
    for path in sorted([*PACKAGE.rglob("*.py"), shipped("docs") / "conf.py"]):
        content.update(f"{path.relative_to(PACKAGE.parent)}\0".encode() + path.read_bytes())
    return content.hexdigest()[:12]
