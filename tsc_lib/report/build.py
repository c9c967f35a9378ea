"""Run the notebooks headless, and make what they show into a site that loads nothing from elsewhere.

The batch engine calls this module once per notebook and once for the site::

    python -m tsc_lib.report.build notebook 03_pruning --profile quick
    python -m tsc_lib.report.build site --profile quick

and ``make published`` builds the site of the published study alone, which runs nothing::

    python -m tsc_lib.report.build published
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from tsc_lib.core.errors import UserError, run_command
from tsc_lib.core.files import shipped, write_text
from tsc_lib.core.store import OUTPUTS
from tsc_lib.report.published import Published
from tsc_lib.report.site import Run, build_site, write_index
from tsc_lib.study.profiles import load_profile

logger = logging.getLogger("tsc_lib.report.build")  # also where this module is the program

NOTEBOOKS = shipped("notebooks")


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
    commands.add_parser("published", help="build outputs/report/published/ from what the repository holds")
    chosen = parser.parse_args(arguments)
    return run_command(
        {"notebook": _notebook, "site": _site, "published": _published}[chosen.command], chosen, farewell=""
    )


def _place(profile: str) -> tuple[str, str]:
    """A profile as notebooks are given it, and its name, which the folders of its outputs have."""
    # A path must hold in the notebook's folder too.
    profile = str(Path(profile).resolve()) if profile.endswith((".yaml", ".yml")) else profile
    return profile, load_profile(profile).name


def _notebook(chosen: argparse.Namespace) -> None:
    profile, name = _place(chosen.profile)
    notebook = NOTEBOOKS / f"{chosen.name}.ipynb"
    logger.info("notebook %s", chosen.name)
    run_notebook(notebook, OUTPUTS / "notebooks" / name / notebook.name, {"profile": profile})


def _site(chosen: argparse.Namespace) -> None:
    _, name = _place(chosen.profile)
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
