"""Everything that writes, tried where the machine refuses it; `test_faults` runs this in a namespace of its own."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from tsc_lib import cli, notebook
from tsc_lib.core import store
from tsc_lib.core.errors import run_command
from tsc_lib.core.files import write_text
from tsc_lib.export import bundle
from tsc_lib.export.write import write
from tsc_lib.notebook import open_study
from tsc_lib.training import TrainSpec

MEGABYTE = bytes(1_000_000)
DATA = ["--dataset", "ItalyPowerDemand", "--epochs", "1"]
COMMANDS = {
    "report": ["report", "--profile", "smoke"],
    "run": ["run", *DATA],
    "export": ["export", "{place}/exported", *DATA],
    "optimize": ["optimize", *DATA],
    "results": ["results", "--profile", "smoke"],
}


def work(folder: Path) -> dict[str, Any]:
    """A unit of work that leaves a file and a record."""
    write_text(folder / "weights", "x" * 100_000)
    return {"answer": 42}


def calculate(epochs: int) -> None:
    """Do a unit of work, or load its result."""
    store.run_or_load("stage", (1,), "label", TrainSpec(epochs=epochs), work)


def show() -> None:
    """Save a figure and its table, as a notebook does."""
    figure = Figure()
    figure.subplots().plot([0, 1])
    open_study("smoke").show(figure, "03_figure", pd.DataFrame({"value": range(10_000)}))


def refuse(place: Path, kind: str) -> None:
    """Make the machine refuse to write below a folder."""
    if kind == "full":
        with contextlib.suppress(OSError), (place / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(MEGABYTE[:4096])
    elif kind == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    else:
        for folder in [*(path for path in place.rglob("*") if path.is_dir()), place]:
            folder.chmod(0o555)


def said(attempt: Callable[[], int]) -> list[Any]:
    """The exit code of an attempt, and its last lines on standard error."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        code = attempt()
    return [code, errors.getvalue().splitlines()]


def files(place: Path) -> dict[str, str]:
    """The files below a folder, and a sum of the content of each; of locks nothing, which are empty."""
    return {
        str(path.relative_to(place)): str(hash(path.read_bytes()))
        for path in sorted(place.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def main(place: Path, kind: str, model: Path) -> None:
    """Write once where it is allowed and once where it is refused, and print what was said and what changed."""
    store.OUTPUTS = notebook.OUTPUTS = place
    (place.parent / "x.csv").write_text(",".join(["1"] * 24))
    described = bundle.read(model)
    attempts: dict[str, Callable[[], int]] = {
        "predict": lambda: cli.main(["predict", str(model), str(place.parent / "x.csv"), "--out", f"{place}/out.csv"]),
        "store": lambda: run_command(calculate, 1),
        "figure": lambda: run_command(show),
        "bundle": lambda: run_command(write, place / "model", model, described, "# Card\n" * 20_000),
    }
    for attempt in attempts.values():
        assert said(attempt)[0] == 0
    before = files(place)
    refuse(place, kind)
    for name, words in COMMANDS.items():
        attempts[name] = lambda words=words: cli.main([word.format(place=place) for word in words])
    attempts["store"] = lambda: run_command(calculate, 2)
    if kind == "permission":
        (place.parent / "locked").mkdir(mode=0)
        attempts["data"] = lambda: cli.main(["data", f"{place.parent}/locked/Set"])
    answers = {name: said(attempt) for name, attempt in attempts.items()}
    if kind == "full":
        (place / "filler").unlink()
    changed = sorted(set(files(place).items()) ^ set(before.items()))
    print(json.dumps({"answers": answers, "changed": changed, "again": said(attempts["store"])[0]}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
