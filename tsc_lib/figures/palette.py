"""Colours, markers and text sizes: one colour per strategy throughout, told apart by the colour-blind too.

The colours of strategies are those of Okabe and Ito ("Color Universal Design", 2008) and a brown, an olive, a purple, a
wine red and a slate that are darker than all of them but black; the colours of the splits are from Paul Tol's "muted"
scheme, so that no split looks like a strategy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tsc_lib.analysis.strategies import (
    BASELINE,
    COMBINED,
    DYNAMIC,
    EARLY,
    FEWER,
    MASKS,
    OTHER,
    QUANTIZED,
    REMOVAL,
    RUNTIME,
    SMALLER,
    STATIC,
    STUDENT,
)

WIDTH = 7.5
"""Inches of every figure: 750 pixels at 100 dots per inch, the width of a page of the report."""

STRATEGY_COLOURS: dict[str, str] = {
    BASELINE: "#000000",
    RUNTIME: "#56B4E9",
    DYNAMIC: "#E69F00",
    STATIC: "#D55E00",
    QUANTIZED: "#7B2D8B",
    MASKS: "#CC79A7",
    REMOVAL: "#009E73",
    COMBINED: "#0072B2",
    SMALLER: "#6B3E12",
    STUDENT: "#6E6A00",
    FEWER: "#7A0C4E",
    EARLY: "#2F4F5F",
    OTHER: "#999999",
}
STRATEGY_MARKERS: dict[str, str] = {
    BASELINE: "*",
    RUNTIME: "P",
    DYNAMIC: "v",
    STATIC: "^",
    QUANTIZED: ">",
    MASKS: "s",
    REMOVAL: "o",
    COMBINED: "D",
    SMALLER: "h",
    STUDENT: "p",
    FEWER: "<",
    EARLY: "d",
    OTHER: "X",
}
SPLIT_COLOURS = {"train": "#332288", "valid": "#44AA99", "test": "#AA4499"}
SPLIT_MARKERS = {"train": "o", "valid": "D", "test": "s"}
SEQUENCE = ("#332288", "#44AA99", "#AA4499", "#999933", "#88CCEE", "#882255")
"""Colours of things that are neither strategies nor splits."""

MODEL_COLOURS = ("#222222", "#8C8C8C", "#BBBBBB")
MODEL_MARKERS = ("o", "s", "D")
MODEL_LINES = ("-", "--", ":")
QUIET = "#777777"
"""Grey of references, guides and notes."""
INTERVAL = "#444444"
"""Grey of intervals on bars."""

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.labelsize": 9,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "axes.edgecolor": "#666666",
    "figure.dpi": 100,
}

P = ParamSpec("P")


def styled(function: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw a figure in the project's style, name its empty panels, and leave the reader's settings alone."""

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(STYLE):
            figure = function(*args, **kwargs)
            for ax in figure.axes:
                # Lines across a whole panel, such as guides, leave its limits open.
                if ax.axison and not ax.texts and not np.isfinite(ax.dataLim.get_points()).all():
                    instead(ax, "not run")
            return figure

    return wrapper


def instead(ax: Axes, why: str) -> None:
    """Words in a panel that has nothing to show, without ticks unless other panels share them."""
    ax.text(0.5, 0.6, why, transform=ax.transAxes, ha="center", color=QUIET)
    for axis, shared in ((ax.xaxis, ax.get_shared_x_axes()), (ax.yaxis, ax.get_shared_y_axes())):
        if len(shared.get_siblings(ax)) == 1:
            axis.set_ticks([])
