"""Copy a finished profile's tables, figures and executed notebooks to where the repository keeps them.

::

    python -m tsc_lib.report.publish --profile paper                  # into outputs/published
    python -m tsc_lib.report.publish --profile seeds --results-only   # into outputs/published/seeds, and so any other
    python -m tsc_lib.report.other_runs outputs/published/seeds/results.csv --run seeds …   # its headline numbers
    python -m tsc_lib.report.readme --write                           # README's numbers, from what is published now
"""

from __future__ import annotations

import argparse
import base64
import io
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from PIL import Image

from tsc_lib.core.errors import UserError, run_command
from tsc_lib.core.files import replace_folder, write_text
from tsc_lib.core.store import OUTPUTS
from tsc_lib.report.execute import NOTEBOOKS
from tsc_lib.study import Study
from tsc_lib.study.profiles import load_profile

MAIN = "paper"
"""The profile that is published; others have a folder within its."""

RESULTS, CLAIMS = "results.csv", "claims.csv"

WHOLE = """
`figures/` has every figure as SVG and PNG with the numbers that it shows, `notebooks/` the executed notebooks, which
made the other tables; `claims.csv`, where there is one, has the verdicts.
"""


def publish(profile: str, target: Path, results_only: bool = False) -> None:
    """Replace `target` by what a profile has produced, with a note on how and where that was.

    Folders within it that have a note of their own, such as those of other profiles, stay.

    Parameters
    ----------
    profile : str
        Name of a profile whose report is complete.
    target : Path
        Folder to replace, once all of its new content is in place.
    results_only : bool
        Whether to leave out all but the table of results.

    Raises
    ------
    UserError
        If something of the report is missing.
    """
    study = Study.open(profile)
    name = study.profile.name
    tables, figures, notebooks = (OUTPUTS / kind / name for kind in ("tables", "figures", "notebooks"))
    wanted = [tables / RESULTS]
    if not results_only:
        own = study.profile.notebooks  # some alone check no claims
        wanted += [notebooks / f"{name}.ipynb" for name in own or (path.stem for path in NOTEBOOKS.glob("*.ipynb"))]
        wanted += sorted(set(tables.glob("*.csv")) - set(wanted)) if own else [tables / CLAIMS]
    for path in wanted:
        if not path.is_file():
            raise UserError(f"{path} is missing; finish the report first: make report PROFILE={profile}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        fresh = Path(scratch) / target.name
        if not results_only:
            shutil.copytree(figures, fresh / "figures")
        for path in wanted:
            place = fresh / "notebooks" if path.suffix == ".ipynb" else fresh
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
        _shrink(fresh)
        others = sorted(path.parent for path in target.glob("*/README.md"))
        write_text(fresh / "README.md", provenance(study, profile, results_only, [folder.name for folder in others]))
        for folder in others:
            shutil.copytree(folder, fresh / folder.name)
        replace_folder(target, fresh, Path(scratch))


def _shrink(folder: Path) -> None:
    """Reduce pictures, in files and in notebooks, to 256 colours: a third of the bytes, and nobody sees it."""
    for path in folder.rglob("*.png"):
        path.write_bytes(_fewer_colours(path.read_bytes()))
    for path in folder.rglob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        for output in (output for cell in notebook.cells for output in cell.get("outputs", ())):
            if "image/png" in output.get("data", {}):
                picture = _fewer_colours(base64.b64decode(output["data"]["image/png"]))
                output["data"]["image/png"] = base64.b64encode(picture).decode()
        nbformat.write(notebook, path)


def _fewer_colours(png: bytes) -> bytes:
    content = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
        content, "PNG", optimize=True
    )
    return content.getvalue()


def provenance(study: Study, asked: str, results_only: bool, others: Sequence[str]) -> str:
    """What was run, by which command and on which machine, in Markdown; and which folders beside it hold other runs."""
    profile, host, asked = study.profile, study.host(), Path(asked).name  # without the folder of a file
    facts: dict[str, Any] = {
        "processor": f"{host.cpu_model}, {host.cpus} cores visible, {host.threads} used",
        "system": host.system,
        "Python": host.python,
        **host.versions,
        "first session": host.date,
        "seeds": profile.describe_seeds(),
        "data sets": ", ".join(choice.name for choice in profile.datasets),
    }
    rows = "\n".join(f"| {key} | {value} |" for key, value in facts.items())
    option = " --results-only" if results_only else ""
    text = f"""# Results of the profile `{profile.name}`

Made by `make report PROFILE={asked}` and copied here by
`python -m tsc_lib.report.publish --profile {asked}{option}`.

| | |
| --- | --- |
{rows}

`results.csv` has one row per data set, model, recipe, runtime, seed and batch size. Energy is estimated from CPU time
wherever `energy_source` says so.
"""
    text += "" if results_only else WHOLE
    if others:
        text += f"\nOther runs and tables, each with a note of its own: {', '.join(f'`{name}/`' for name in others)}.\n"
    return text


def main(arguments: list[str] | None = None) -> int:
    """Publish a profile; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tsc_lib.report.publish", description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default=MAIN, help="name of a profile whose report is complete")
    parser.add_argument("--results-only", action="store_true", help="without claims, figures and notebooks")
    return run_command(_publish, parser.parse_args(arguments))


def _publish(chosen: argparse.Namespace) -> None:
    profile = chosen.profile
    name = load_profile(profile).name
    target = OUTPUTS / "published" / ("" if name == MAIN else name)
    publish(profile, target, chosen.results_only)
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(f"{target}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    sys.exit(main())
