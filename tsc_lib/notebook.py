"""What a notebook needs beyond tables and figures: its study, opened from its parameters, and its results shown."""

from __future__ import annotations

from typing import Any

import pandas as pd
from IPython.display import display
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from tsc_lib.core.errors import UserError
from tsc_lib.core.files import write_text
from tsc_lib.core.store import OUTPUTS
from tsc_lib.study import Study

PARAMETERS = ("profile", "datasets", "models", "seeds")
"""Parameters of every notebook."""

IPYTHON_NAMES = ("In", "Out", "exit", "quit")


class NotebookStudy(Study):
    """A study whose figures and tables are shown and saved."""

    def show(self, figure: Figure, name: str, table: pd.DataFrame) -> None:
        """Display a figure; save it as SVG and PNG, with the table that it shows as CSV."""
        folder = OUTPUTS / "figures" / self.profile.name
        folder.mkdir(parents=True, exist_ok=True)
        for kind in ("svg", "png"):
            # Without the date the same figure is the same file.
            metadata = {"Date": None} if kind == "svg" else None
            figure.savefig(folder / f"{name}.{kind}", dpi=150, bbox_inches="tight", metadata=metadata)
        write_text(folder / f"{name}.csv", table.to_csv(index=False))
        display(figure)
        plt.close(figure)

    def publish(self, table: pd.DataFrame, name: str) -> pd.DataFrame:
        """Save a table as CSV and return it."""
        write_text(OUTPUTS / "tables" / self.profile.name / f"{name}.csv", table.to_csv(index=False))
        return table


def open_study(namespace: dict[str, Any]) -> NotebookStudy:
    """The study that a notebook's parameters describe.

    Parameters
    ----------
    namespace : dict
        The notebook's ``globals()``, right after its parameters cell.

    Raises
    ------
    UserError
        If a parameter was given that no notebook has: papermill itself only logs it.
    """
    literals = (str, int, float, list, dict, tuple, type(None))
    for name, value in namespace.items():
        given = isinstance(value, literals) and not name.startswith("_") and name not in IPYTHON_NAMES
        if given and name not in PARAMETERS:
            raise UserError(f"unknown parameter {name!r}; this notebook has {', '.join(PARAMETERS)}")
    values = {name: namespace[name] for name in PARAMETERS if name in namespace}
    for name in ("datasets", "models", "seeds"):
        if not isinstance(values.get(name, []), list):
            raise UserError(f"parameter {name!r} must be a list, not {values[name]!r}")
    study = NotebookStudy.open(**values, quiet=True)
    assert isinstance(study, NotebookStudy)
    return study
