"""Make what notebooks show into a site that loads nothing from elsewhere; the batch engine calls this last::

    python -m tsc_lib.report.build site --profile quick

and ``make published`` builds the site of the published study alone, which runs nothing::

    python -m tsc_lib.report.build published
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import pandas as pd

from tsc_lib.core.errors import run_command
from tsc_lib.core.store import OUTPUTS
from tsc_lib.report.execute import NOTEBOOKS
from tsc_lib.report.published import Published
from tsc_lib.report.site import Run, build_site, write_index
from tsc_lib.study.profiles import load_profile

logger = logging.getLogger("tsc_lib.report.build")  # also where this module is the program


def _table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path) if path.is_file() else pd.DataFrame()


def main(arguments: list[str] | None = None) -> int:
    """The commands that the batch engine calls; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tsc_lib.report.build", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    site = commands.add_parser("site", help="build outputs/report/<profile>/ from executed notebooks and tables")
    site.add_argument("--profile", required=True, help="name of the profile, or the path of a YAML file")
    commands.add_parser("published", help="build outputs/report/published/ from what the repository holds")
    chosen = parser.parse_args(arguments)
    return run_command({"site": _site, "published": _published}[chosen.command], chosen, farewell="")


def _site(chosen: argparse.Namespace) -> None:
    name = load_profile(chosen.profile).name
    logger.info("the report's pages")
    executed, tables = OUTPUTS / "notebooks" / name, OUTPUTS / "tables" / name
    done = [path for notebook in sorted(NOTEBOOKS.glob("*.ipynb")) if (path := executed / notebook.name).is_file()]
    results, claims = _table(tables / "results.csv"), _table(tables / "claims.csv")
    if "runtime" in claims:
        claims = claims.fillna({"runtime": "", "why": ""})  # in a file an empty text is no value
    _show(build_site(OUTPUTS / "report" / name, Run(name, done, results, claims), Published()))


def _published(chosen: argparse.Namespace) -> None:
    _show(build_site(OUTPUTS / "report" / "published", None, Published()))


def _show(index: Path) -> None:
    write_index(OUTPUTS / "report")
    print(index)


if __name__ == "__main__":
    sys.exit(main())
