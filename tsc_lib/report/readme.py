"""The numbers of README and of the documentation's pages, rendered from published tables into marked blocks.

::

    python -m tsc_lib.report.readme            # which pages differ from the tables
    python -m tsc_lib.report.readme --write    # render them again

A block is what stands between ``<!-- table: name -->`` and ``<!-- end -->``; its name is a key of `BLOCKS`.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
from collections.abc import Callable

from tsc_lib.analysis.findings import threats
from tsc_lib.compress import steps_table
from tsc_lib.core.errors import UserError, run_command
from tsc_lib.core.files import write_bytes, write_text
from tsc_lib.models.zoo import architectures_table
from tsc_lib.report import published as tables
from tsc_lib.report import study_page
from tsc_lib.report.archive_page import render_archive
from tsc_lib.report.published import ROOT, Published
from tsc_lib.report.selection import render_folds, render_promises
from tsc_lib.training import augmentations_table, options_table

DOCUMENTED = ("study", "models", "compression", "measurement", "optimize", "runtimes", "training")
PAGES = ("README.md", *(f"docs/{page}.md" for page in DOCUMENTED))

BLOCKS: dict[str, Callable[[Published], str]] = {
    "found": study_page.answer,
    "provenance": tables.provenance,
    "models": tables.models,
    "savings": tables.savings,
    "student": tables.student,
    "contenders": tables.contenders,
    "seeds": tables.seeds,
    "claims": tables.claims,
    "processors": tables.processors,
    "other_runs": tables.other_runs,
    "number_formats": tables.number_formats,
    "archive": render_archive,
    "threats": lambda published: threats(published.results),
    "folds": lambda published: render_folds(published.read("selection")),
    "promises": lambda published: render_promises(published.read("promises")),
    "steps": lambda published: steps_table(),
    "architectures": lambda published: architectures_table(),
    "options": lambda published: options_table(),
    "augmentations": lambda published: augmentations_table(),
}
"""What renders each block."""


def render(text: str, published: Published) -> str:
    """A page with its blocks made anew.

    Raises
    ------
    UserError
        If a block has an unknown name or no end.
    """

    def replace(match: re.Match[str]) -> str:
        name, body = match.group(1), match.group(2)
        if name not in BLOCKS:
            raise UserError(f"unknown block {name!r}; the blocks are {', '.join(BLOCKS)}")
        if "<!-- table:" in body:
            raise UserError(f"block {name!r} has no <!-- end -->")
        return f"<!-- table: {name} -->\n\n{BLOCKS[name](published)}\n\n<!-- end -->"

    return re.sub(r"<!-- table: ([\w-]+) -->\n(.*?)<!-- end -->", replace, text, flags=re.DOTALL)


def write_pictures(published: Published) -> None:
    """Draw what README and the page on the architecture show."""
    from tsc_lib.report.rooms import draw_rooms, find_imports, list_floors

    hero, shown = study_page.draw_hero(published)
    rooms = draw_rooms(list_floors(ROOT / "pyproject.toml"), find_imports())
    figures = published.folder / "figures"
    for figure, path in ((hero, figures / "hero.png"), (rooms, ROOT / "docs" / "_static" / "rooms.png")):
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", dpi=150)
        write_bytes(path, drawn.getvalue())
    write_text(figures / "hero.csv", shown.to_csv(index=False))


def main(arguments: list[str] | None = None) -> int:
    """Compare the pages with the tables, or write them; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tsc_lib.report.readme", description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="render the pages again")
    return run_command(_main, parser.parse_args(arguments))


def _main(chosen: argparse.Namespace) -> None:
    published, differing = Published(), []
    for page in PAGES:
        old = (ROOT / page).read_text(encoding="utf-8")
        new = render(old, published)
        if new != old:
            differing.append(page)
            if chosen.write:
                write_text(ROOT / page, new)
    if chosen.write:
        write_pictures(published)
    if differing and not chosen.write:
        raise UserError(f"{', '.join(differing)} differ from the tables: python -m tsc_lib.report.readme --write")
    print(f"{'rendered again' if differing else 'as the tables say'}: {', '.join(differing or PAGES)}")


if __name__ == "__main__":
    sys.exit(main())
