"""The report as a static site that loads nothing from elsewhere: the published study first, then a run."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from tsc_lib.analysis import findings
from tsc_lib.core.errors import UserError
from tsc_lib.core.files import replace_folder, shipped, write_text
from tsc_lib.report import study_page
from tsc_lib.report.explore import LIBRARY, explore, ship_library
from tsc_lib.report.module_pages import FOLDER as MODULE_PAGES
from tsc_lib.report.module_pages import build_module_pages, link_modules
from tsc_lib.report.pages import write_page
from tsc_lib.report.published import Published
from tsc_lib.report.results_page import render_results
from tsc_lib.report.run_page import describe_run
from tsc_lib.report.sphinx_run import run_sphinx

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

SOURCES = shipped("docs")
"""The part of the site that is written by hand."""

USE = ("running", "own_data")
REFERENCE = ("models", "training", "compression", "optimize", "runtimes", "files", "deploy", "measurement")
"""Hand-written pages, in reading order."""

CARRY_ON = ("architecture", "decisions/index")

NO_STUDY = "The published study comes with a checkout of the repository."
NO_RUN = "Nothing was run for this site. `make report` runs every notebook on two small data sets and adds them here."


@dataclass(frozen=True)
class Run:
    """What a profile left for its report.

    Attributes
    ----------
    profile : str
        Name of the profile.
    notebooks : sequence of Path
        Executed notebooks; the sidebar lists them by name.
    results, claims : DataFrame
        The results table and the claims with their verdicts; either may be empty.
    """

    profile: str
    notebooks: Sequence[Path]
    results: pd.DataFrame
    claims: pd.DataFrame = field(default_factory=pd.DataFrame)


def build_site(site: Path, run: Run | None, published: Published) -> Path:
    """Build the report as a static site that opens from disk without a network.

    Parameters
    ----------
    site : Path
        Folder of the site; what it held before is replaced once the new site is complete.
    run : Run or None
        What is shown after the published study; None for the study alone.
    published : Published
        The published study; an installed package has none.

    Returns
    -------
    Path
        The site's ``index.html``.

    Raises
    ------
    UserError
        If there is nothing to show, the build fails, or a page would load something from the network.
    """
    if run is not None and not run.notebooks:
        raise UserError("no notebook has been executed, so there is nothing to report; run them first")
    if run is None and not published.exists:
        raise UserError(f"{published.folder} has no results.csv; the published study comes with a checkout")
    site.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".site-", dir=site.parent) as temporary:
        source, html = Path(temporary) / "source", Path(temporary) / "html"
        shutil.copytree(SOURCES, source)
        (source / "generated").mkdir()
        contents = _add_published(source, published) + _add_run(source, run) + _toctree("Use", USE)
        claims_apart, api = [] if published.exists else ["claims"], [] if run is None else ["api"]
        contents += _toctree("Reference", [*claims_apart, *REFERENCE, *api])
        claims = _claims("The published study", published.claims if published.exists else pd.DataFrame())
        claims += _claims("This run", pd.DataFrame() if run is None else run.claims)
        _write(source, "claims", claims or "No claims were checked.")
        _write(source, "contents", contents + _toctree("Carry on", CARRY_ON))
        ship_library(source / "_static")
        run_sphinx(source, html, Path(temporary) / "doctrees", LIBRARY)
        if run is not None:
            shutil.copytree(build_module_pages(), html / MODULE_PAGES)
        replace_folder(site, html, Path(temporary))
    return site / "index.html"


def _add_published(source: Path, published: Published) -> str:
    """Write what the pages show of the published study; returns its part of the sidebar."""
    if not published.exists:
        _write(source, "study", NO_STUDY)
        for name in ("explore", "study"):
            (source / f"{name}.md").unlink()
        return ""
    _add_notebooks(published.notebooks, source / "published")
    _write(source, "study", _study(published, source / "generated"))
    _write(source, "explore", explore(published.results, "published"))
    names = ["study", "claims", "explore", *(f"published/{path.stem}" for path in published.notebooks)]
    return _toctree("The published study", names)


def _add_run(source: Path, run: Run | None) -> str:
    """Write what the pages show of a run, and the list of the modules; returns its part of the sidebar."""
    if run is None:
        _write(source, "run", NO_RUN)
        for name in ("explore_run", "results", "api"):
            (source / f"{name}.md").unlink()
        return ""
    _add_notebooks(run.notebooks, source / "notebooks")
    _write(source, "run", describe_run(run.profile, run.results, run.claims))
    _write(source, "explore_run", explore(run.results, "run"))
    _write(source, "results", render_results(run.results))
    run.results.to_csv(source / "generated" / "results.csv", index=False)
    _write(source, "api", link_modules())
    names = [f"notebooks/{path.stem}" for path in run.notebooks]
    return _toctree(f"This run: {run.profile}", [*names, "explore_run", "results"])


def _write(source: Path, name: str, text: str) -> None:
    (source / "generated" / f"{name}.md").write_text(text + "\n", encoding="utf-8")


def _claims(title: str, claims: pd.DataFrame) -> str:
    return f"## {title}\n\n{findings.claims_table(claims)}\n\n" if len(claims) else ""


def _add_notebooks(notebooks: Sequence[Path], folder: Path) -> None:
    folder.mkdir()
    for notebook in notebooks:
        write_page(notebook, folder / notebook.name)


def _toctree(caption: str, names: Sequence[str]) -> str:
    """A part of the sidebar."""
    return "\n".join(["```{toctree}", f":caption: '{caption}'", ":hidden:", "", *names, "```", "", ""])


def _study(published: Published, folder: Path) -> str:
    """The first page's part on the published study."""
    figure, _ = study_page.draw_hero(published)
    figure.savefig(folder / "hero.png", dpi=200)
    shown = study_page.show_hero("generated/hero.png")
    return f"{study_page.answer(published)}\n\n{shown}\n\n{study_page.describe_study()}"


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
