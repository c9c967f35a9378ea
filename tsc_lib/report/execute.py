"""Run a notebook headless; the batch engine calls this once for each::

    python -m tsc_lib.report.execute 03_pruning outputs/notebooks/quick --profile quick

It imports little of the package, since the notebook's kernel imports all that is needed once more.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import Any

from tsc_lib.core.errors import UserError, run_command
from tsc_lib.core.files import shipped, write_text

logger = logging.getLogger("tsc_lib.report.execute")  # also where this module is the program

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


def main(arguments: list[str] | None = None) -> int:
    """Run one notebook of a profile; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tsc_lib.report.execute", description=__doc__.splitlines()[0])
    parser.add_argument("name", help="for example 03_pruning")
    parser.add_argument("folder", type=Path, help="where the executed notebook goes")
    parser.add_argument("--profile", required=True, help="name of the profile, or the path of a YAML file")
    return run_command(_execute, parser.parse_args(arguments), farewell="")


def _execute(chosen: argparse.Namespace) -> None:
    profile = chosen.profile
    if profile.endswith((".yaml", ".yml")):
        profile = str(Path(profile).resolve())  # a path must hold in the notebook's folder too
    logger.info("notebook %s", chosen.name)
    notebook = NOTEBOOKS / f"{chosen.name}.ipynb"
    run_notebook(notebook, chosen.folder / notebook.name, {"profile": profile})


if __name__ == "__main__":
    sys.exit(main())
