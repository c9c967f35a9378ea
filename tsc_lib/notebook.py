"""What a notebook needs beyond tables and figures: its study, figures saved as they are shown, and a status line."""

from __future__ import annotations

import io
import logging
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import pandas as pd
from IPython.core.getipython import get_ipython
from IPython.display import HTML, DisplayHandle, display
from matplotlib.figure import Figure

from tsc_lib.core.errors import UserError
from tsc_lib.core.files import write_bytes, write_text
from tsc_lib.core.limits import check_different, quote
from tsc_lib.core.progress import duration
from tsc_lib.core.store import OUTPUTS
from tsc_lib.study import Study
from tsc_lib.study.schema import COLUMNS

# Other libraries import tqdm's widgets, which nobody sees here; a notebook would show this under its imports.
warnings.filterwarnings("ignore", message="IProgress not found")


class NotebookStudy(Study):
    """A study whose figures and tables are saved as they are shown."""

    def show(self, figure: Figure, name: str, table: pd.DataFrame) -> Figure:
        """Save a figure as SVG and PNG, with the table that it shows as CSV; return it, as a cell's last expression."""
        folder = OUTPUTS / "figures" / self.profile.name
        for kind in ("svg", "png"):
            # Without the date the same figure is the same file.
            metadata = {"Date": None} if kind == "svg" else None
            drawn = io.BytesIO()
            figure.savefig(drawn, format=kind, dpi=150, bbox_inches="tight", metadata=metadata)
            write_bytes(folder / f"{name}.{kind}", drawn.getvalue())
        write_text(folder / f"{name}.csv", table.to_csv(index=False))
        return figure

    def publish(self, table: pd.DataFrame, name: str) -> pd.DataFrame:
        """Save a table as CSV and return it."""
        write_text(OUTPUTS / "tables" / self.profile.name / f"{name}.csv", table.to_csv(index=False))
        return table


def list_files(folder: Path) -> pd.DataFrame:
    """The files of a folder, with their bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    rows = [(str(path.relative_to(folder)), path.stat().st_size) for path in files]
    return pd.DataFrame(rows, columns=["file", "bytes"])


def load_stored(study: Study) -> pd.DataFrame:
    """The rows of a study's results about the runs that the store has whole; nothing is computed."""
    rows = [study.run_results(run) for run in study.runs if study.is_done(run)]
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=COLUMNS)


def open_study(
    profile: str = "quick", datasets: Sequence[str] = (), models: Sequence[str] = (), seeds: Sequence[int] = ()
) -> NotebookStudy:
    """The study of a profile, narrowed to some data sets, models or seeds where they are given.

    While it works, a line below the running cell says at what.

    Parameters
    ----------
    profile : str
        A file in ``profiles/``, without its ending, or the path of a YAML file.
    datasets, models : sequence of str
        Names; of data sets also folders.
    seeds : sequence of int

    Raises
    ------
    UserError
        If there is no such profile, data set or model, or one of the three is no list of its kind, each entry once.
    """
    if not isinstance(profile, str):
        raise UserError(f"parameter 'profile' must be text, not {quote(profile)}")
    for name, values, kind in (("datasets", datasets, str), ("models", models, str), ("seeds", seeds, int)):
        if not isinstance(values, list | tuple):
            raise UserError(f"parameter {name!r} must be a list, not {quote(values)}")
        for value in values:
            if type(value) is not kind:
                what = "text" if kind is str else "a whole number"
                raise UserError(f"every entry of parameter {name!r} must be {what}, not {quote(value)}")
        check_different(values, f"parameter {name!r}")
    study = NotebookStudy.open(profile, datasets=datasets, models=models, seeds=seeds)
    STATUS.install()
    return study


@dataclass
class _Cell:
    """What a running cell has computed so far; times are of `time.monotonic`."""

    started: float = field(default_factory=time.monotonic)
    line: DisplayHandle | None = None
    run: str = ""
    runs: tuple[int, int] = (0, 0)
    run_since: float = field(default_factory=time.monotonic)
    seconds: list[float] = field(default_factory=list)
    steps: tuple[int, int] = (0, 0)
    steps_since: float = field(default_factory=time.monotonic)

    def left(self) -> str:
        """An estimate of what is left, or nothing where there is none yet."""
        now, (done, total) = time.monotonic(), self.runs
        if self.seconds and done < total:
            left = sum(self.seconds) / len(self.seconds) * (total - done) - (now - self.run_since)
            return f"about {duration(max(0.0, left))} left"
        done, total = self.steps
        return f"about {duration((now - self.steps_since) / done * (total - done))} left of this step" if done else ""


class StatusLine(logging.Handler):
    """One line below a running cell: what is being computed, for how long, and how long it may still take.

    It shows what `tsc_lib` logs. A record may count, in attributes that are pairs (done, total): `runs` the training
    runs of a table, `steps` the epochs of a training or the blocks of a session. What is left is estimated from the
    runs that were computed in this cell, or within the first of them from its steps.
    """

    LOADED_S = 0.5
    """A run that took less was loaded from the store, and says nothing of those that are left."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._cell = _Cell()

    def install(self) -> None:
        """Listen to `tsc_lib`, in a notebook; once, however often it is called."""
        logger, shell = logging.getLogger("tsc_lib"), get_ipython()
        if shell is None or self in logger.handlers:
            return
        logger.addHandler(self)
        logger.setLevel(logging.INFO)
        logger.propagate = False  # else the root logger would print each message a second time
        shell.events.register("pre_run_cell", self._begin)
        shell.events.register("post_run_cell", self._end)

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record in place of the one before it."""
        cell, now = self._cell, time.monotonic()
        if runs := getattr(record, "runs", None):
            if now - cell.run_since > self.LOADED_S:
                cell.seconds.append(now - cell.run_since)
            cell.runs, cell.run_since, cell.run = runs, now, record.getMessage()
            return  # a run that is only loaded is over before anyone could read of it
        steps = getattr(record, "steps", (0, 0))
        if steps <= cell.steps or steps[1] != cell.steps[1]:
            cell.steps_since = now
        cell.steps = steps
        spent = duration(now - cell.started)
        self._show(" · ".join(filter(None, [cell.run, record.getMessage(), spent, cell.left()])))

    def _begin(self, *_: object) -> None:
        self._cell = _Cell()

    def _end(self, *_: object) -> None:
        if self._cell.line is not None:
            self._show(f"Computed in {duration(time.monotonic() - self._cell.started)}; from now on it is loaded.")

    def _show(self, text: str) -> None:
        line = HTML(f'<small style="opacity: 0.7">{escape(text)}</small>')
        if self._cell.line is None:
            self._cell.line = display(line, display_id=True)
        else:
            self._cell.line.update(line)


STATUS = StatusLine()
