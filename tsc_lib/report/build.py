"""Run the notebooks headless, and make what they show into a site that loads nothing from elsewhere.

The batch engine calls this module once per notebook and once for the site::

    python -m tsc_lib.report.build notebook 03_pruning --profile quick
    python -m tsc_lib.report.build site --profile quick
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import datetime
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from tsc_lib.analysis import findings
from tsc_lib.analysis.summary import summarise
from tsc_lib.core.errors import UserError, run_command
from tsc_lib.core.files import PACKAGE, replace_folder, shipped, write_text
from tsc_lib.core.store import OUTPUTS
from tsc_lib.report.results_page import render_results
from tsc_lib.report.shorten import copy_shortened
from tsc_lib.study.profiles import load_profile

INDEX = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Reports</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 1.1rem/1.6 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem }}
th, td {{ text-align: left; padding-right: 3rem }}
</style>
</head>
<body>
<h1>Reports</h1>
<table>
<tr><th>profile</th><th>built</th></tr>
{rows}</table>
</body>
</html>
"""
"""The page that leads to the reports."""

NOTEBOOKS = shipped("notebooks")
SOURCES = shipped("docs")
"""The part of the site that is written by hand."""


def run_notebook(notebook: Path, output: Path, parameters: dict[str, Any]) -> None:
    """Execute a notebook in a fresh kernel, in the folder where JupyterLab would.

    The executed notebook takes its place only once it is complete. One that stopped is kept beside it as
    ``<name>.failed.ipynb``, up to and with the traceback.

    Parameters
    ----------
    notebook : Path
        The notebook.
    output : Path
        Where the executed notebook goes.
    parameters : dict
        Values for names in the cell tagged ``parameters``.

    Raises
    ------
    UserError
        If the notebook or a parameter is unknown, a cell raised (its own sentence if that was a `UserError`), or the
        kernel died.
    """
    import nbformat
    import papermill
    from nbclient.exceptions import DeadKernelError
    from traitlets.config import Config

    notebook, output = notebook.resolve(), output.resolve()
    if not notebook.is_file():
        names = ", ".join(path.stem for path in sorted(notebook.parent.glob("*.ipynb")))
        raise UserError(f"there is no notebook {notebook.stem!r}; there are: {names or 'none'}")
    known = papermill.inspect_notebook(_literal(notebook))
    if unknown := sorted(set(parameters) - set(known)):
        raise UserError(f"{notebook.name} has no parameter {unknown[0]!r}; it has: {', '.join(known) or 'none'}")
    output.parent.mkdir(parents=True, exist_ok=True)
    running, failed = output.with_suffix(".running.ipynb"), output.with_suffix(".failed.ipynb")
    connection = output.with_suffix(".kernel.json")  # Jupyter would leave it in the system's folder for such
    try:
        executed = papermill.execute_notebook(
            _literal(notebook),
            _literal(running),
            parameters,
            kernel_name="python3",
            cwd=notebook.parent,
            progress_bar=sys.stderr.isatty(),
            extra_arguments=["--log-level=CRITICAL"],  # of the kernel program; a cell's own warnings are shown
            config=Config(KernelManager={"connection_file": str(connection)}),
        )
    except papermill.PapermillExecutionError as error:
        os.replace(running, failed)
        if error.ename == UserError.__name__:
            raise UserError(error.evalue) from None
        raise UserError(
            f"{notebook.name} stopped in cell [{error.exec_count}] with {error.ename}: "
            f"{error.evalue.splitlines()[0] if error.evalue else 'no message'}; {failed} shows where"
        ) from None
    except DeadKernelError:
        os.replace(running, failed)
        raise UserError(
            f"the kernel of {notebook.name} died, killed or out of memory; run again, finished work is not done twice"
        ) from None
    finally:
        connection.unlink(missing_ok=True)
        running.unlink(missing_ok=True)
    for key in ("input_path", "output_path"):  # an executed notebook is published, and says nothing of this machine
        executed.metadata.papermill[key] = Path(executed.metadata.papermill[key]).name.replace(".running", "")
    write_text(output, nbformat.writes(executed))
    failed.unlink(missing_ok=True)


def _literal(path: Path) -> str:
    """A path for papermill, which puts parameters where a path has braces."""
    return str(path).replace("{", "{{").replace("}", "}}")


def build_site(
    executed: list[Path], site: Path, *, profile: str, results: pd.DataFrame, claims: pd.DataFrame | None = None
) -> Path:
    """Build the report as a static site that opens from disk without a network.

    Parameters
    ----------
    executed : list of Path
        Executed notebooks; the sidebar lists them by name.
    site : Path
        Folder of the site; what it held before is replaced once the new site is complete.
    profile : str
        Name of the profile that the notebooks ran with.
    results : DataFrame
        The results table; it may be empty.
    claims : DataFrame, optional
        The claims with their verdicts.

    Returns
    -------
    Path
        The site's ``index.html``.

    Raises
    ------
    UserError
        If there is no notebook, the build fails, or a page would load something from the network.
    """
    if not executed:
        raise UserError("no notebook has been executed, so there is nothing to report; run them first")
    site.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".site-", dir=site.parent) as temporary:
        source, html = Path(temporary) / "source", Path(temporary) / "html"
        shutil.copytree(SOURCES, source)
        _generate(source / "generated", profile, results, claims)
        (source / "generated" / "api.md").write_text(_document_modules(source / "api"), encoding="utf-8")
        (source / "notebooks").mkdir()
        for notebook in executed:
            copy_shortened(notebook, source / "notebooks" / notebook.name)
        command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", "-d", f"{temporary}/doctrees"]
        if subprocess.run([*command, str(source), str(html)], check=False).returncode:
            raise UserError("Sphinx could not build the report; its own message stands above")
        if found := external_assets(html):
            raise UserError(f"the report would need a network: {found[0]}")
        replace_folder(site, html, Path(temporary))
    return site / "index.html"


def write_index(reports: Path) -> Path:
    """Write a page that leads to every report in a folder, the newest first; returns it.

    Reports are known by their own pages, so that one that was removed is missed out.
    """
    built = {page: page.stat().st_mtime for page in reports.glob("[!.]*/index.html")}
    rows = "".join(
        f'<tr><td><a href="{quote(page.parent.name)}/index.html">{escape(page.parent.name)}</a></td>'
        f"<td>{datetime.fromtimestamp(built[page]):%Y-%m-%d %H:%M}</td></tr>\n"
        for page in sorted(built, key=lambda page: built[page], reverse=True)
    )
    index = reports / "index.html"
    write_text(index, INDEX.format(rows=rows))
    return index


def _generate(folder: Path, profile: str, results: pd.DataFrame, claims: pd.DataFrame | None) -> None:
    """Write the parts of the pages that are computed."""
    folder.mkdir()
    pages = {
        "summary.md": f"{summarise(results, claims)}\n\nThis report shows the profile *{profile}*.",
        "results.md": render_results(results),
        "claims.md": "This profile checked no claims.",
    }
    if claims is not None and len(claims):
        pages["claims.md"] = findings.claims_table(claims)
    for name, text in pages.items():
        (folder / name).write_text(text + "\n", encoding="utf-8")
    results.to_csv(folder / "results.csv", index=False)


def _document_modules(folder: Path) -> str:
    """Write a page for every module, which Sphinx fills from its docstrings; returns the list of them, by room."""
    folder.mkdir()
    rooms: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE.parent).with_suffix("")
        name = ".".join(place.parent.parts if place.name == "__init__" else place.parts)
        about = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        if about is None or place.name == "__main__" or path.is_relative_to(SOURCES):  # Sphinx's settings are no module
            continue
        # Orphans: with every module in the sidebar each page would take as long to build as all of the others.
        page = f"---\norphan: true\n---\n\n# {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n```\n"
        (folder / f"{name}.md").write_text(page, encoding="utf-8")
        room = ".".join(name.split(".")[:2]) if len(place.parts) > 2 else "tsc_lib"
        rooms.setdefault(room, []).append(f"- [{name}](api/{name}.md): {about.splitlines()[0]}")
    return "\n\n".join(f"## {room}\n\n" + "\n".join(lines) for room, lines in rooms.items())


_LOADING_LINKS = {"stylesheet", "icon", "manifest", "preload", "prefetch", "modulepreload", "preconnect"}
_LOADING_ATTRIBUTES = {"src", "srcset", "poster", "data"}
_ELSEWHERE = re.compile(r"(?:https?:)?//", re.IGNORECASE)
_CSS = re.compile(r"""(?:url\(\s*["']?|@import\s+["'])((?:https?:)?//[^"')\s]+)""", re.IGNORECASE)
_JS = re.compile(r"""(?:\bimport\s*\(?|\bfrom|importScripts\(|fetch\(|\.src\s*=)\s*["'`]((?:https?:)?//[^"'`]+)""")


class _Loads(HTMLParser):
    """Collects what a page loads by itself from elsewhere; a link that the reader may follow is none."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        values = {name: value or "" for name, value in attrs}
        loading = [values[name] for name in _LOADING_ATTRIBUTES & values.keys()]
        if tag == "link" and _LOADING_LINKS & set(values.get("rel", "").lower().split()):
            loading.append(values.get("href", ""))
        self.found += [value for value in loading if _ELSEWHERE.match(value.strip())]
        self.found += _CSS.findall(values.get("style", ""))

    def handle_data(self, data: str) -> None:
        if self._inside == "style":
            self.found += _CSS.findall(data)
        elif self._inside == "script":
            self.found += _JS.findall(data)

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""


def external_assets(site: Path) -> list[str]:
    """What the pages, style sheets and scripts of a site load from the network, as ``file: address``."""
    found = []
    for path in sorted(p for p in site.rglob("*") if p.suffix in (".html", ".css", ".js", ".svg")):
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.suffix in (".html", ".svg"):
            page = _Loads()
            page.feed(text)
            addresses = page.found
        else:
            addresses = (_CSS if path.suffix == ".css" else _JS).findall(text)
        found += [f"{path.relative_to(site)}: {address}" for address in addresses]
    return found


def _table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path) if path.is_file() else pd.DataFrame()


def main(arguments: list[str] | None = None) -> int:
    """The commands that the batch engine calls; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tsc_lib.report.build", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("notebook", help="execute one notebook, into outputs/notebooks/<profile>/")
    one.add_argument("name", help="for example 03_pruning")
    site = commands.add_parser("site", help="build outputs/report/<profile>/ from executed notebooks and tables")
    for command in (one, site):
        command.add_argument("--profile", required=True, help="name of the profile, or the path of a YAML file")
    chosen = parser.parse_args(arguments)
    return run_command(_notebook if chosen.command == "notebook" else _site, chosen, farewell="")


def _place(profile: str) -> tuple[str, str]:
    """A profile as notebooks are given it, and its name, which the folders of its outputs have."""
    # A path must hold in the notebook's folder too.
    profile = str(Path(profile).resolve()) if profile.endswith((".yaml", ".yml")) else profile
    return profile, load_profile(profile).name


def _notebook(chosen: argparse.Namespace) -> None:
    profile, name = _place(chosen.profile)
    notebook = NOTEBOOKS / f"{chosen.name}.ipynb"
    run_notebook(notebook, OUTPUTS / "notebooks" / name / notebook.name, {"profile": profile})


def _site(chosen: argparse.Namespace) -> None:
    _, name = _place(chosen.profile)
    executed, tables = OUTPUTS / "notebooks" / name, OUTPUTS / "tables" / name
    done = [path for notebook in sorted(NOTEBOOKS.glob("*.ipynb")) if (path := executed / notebook.name).is_file()]
    results, claims = _table(tables / "results.csv"), _table(tables / "claims.csv")
    if "runtime" in claims:
        claims = claims.fillna({"runtime": "", "why": ""})  # in a file an empty text is no value
    index = build_site(done, OUTPUTS / "report" / name, profile=name, results=results, claims=claims)
    write_index(OUTPUTS / "report")
    print(index)


if __name__ == "__main__":
    sys.exit(main())
