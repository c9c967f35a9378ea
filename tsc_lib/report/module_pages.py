"""A page for every module, from its docstrings: a small site within the report, built anew when code has changed."""

from __future__ import annotations

import ast
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

from tsc_lib.core.files import PACKAGE, shipped
from tsc_lib.core.spec import digest
from tsc_lib.core.store import OUTPUTS
from tsc_lib.report.sphinx_run import run_sphinx

FOLDER = "api"
"""Of the module pages within a report."""

SETTINGS, STYLE = "conf.py", "_static/report.css"
"""What the pages share with the report, in the folder of the documentation."""

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


def link_modules() -> str:
    """The list of the modules, room by room, as Markdown; it leads to their pages."""
    rooms: dict[str, list[str]] = {}
    for name, about in list_modules().items():
        parts = name.split(".")
        alone = len(parts) == 2 and (PACKAGE / f"{parts[1]}.py").is_file()
        room = PACKAGE.name if alone else ".".join(parts[:2])
        rooms.setdefault(room, []).append(f'- <a href="{FOLDER}/{name}.html">{name}</a>: {about}')
    return "\n\n".join(f"## {room}\n\n" + "\n".join(lines) for room, lines in rooms.items())


def build_module_pages() -> Path:
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
        (source / STYLE).parent.mkdir(parents=True)
        shutil.copy(docs / STYLE, source / STYLE)
        (source / SETTINGS).write_text((docs / SETTINGS).read_text(encoding="utf-8") + BACK, encoding="utf-8")
        (source / "index.md").write_text(INDEX, encoding="utf-8")
        for name in list_modules():
            # Orphans: with every module in the sidebar each page would take as long to build as all of the others.
            page = f"---\norphan: true\n---\n\n# {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n```\n"
            (source / f"{name}.md").write_text(page, encoding="utf-8")
        run_sphinx(source, html, Path(temporary) / "doctrees")
        for old in folder.parent.glob("[!.]*"):
            shutil.rmtree(old)
        html.rename(folder)
    return folder


def _digest_code() -> str:
    """Digits for what the pages are made from: the package, what they share with the report, and Sphinx."""
    paths = [*PACKAGE.rglob("*.py"), *(shipped("docs") / name for name in (SETTINGS, STYLE))]
    texts = {str(path.relative_to(PACKAGE.parent)): path.read_text(encoding="utf-8") for path in paths}
    return digest({**texts, "sphinx": version("sphinx")})
