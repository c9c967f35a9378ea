"""Colours, markers and text sizes: one colour per family of strategies throughout, told apart by the colour-blind too.

The colours of families are those of Okabe and Ito ("Color Universal Design", 2008) and a brown, an olive, a purple, a
wine red and a slate that are darker than all of them but black; the colours of the splits are from Paul Tol's "muted"
scheme, so that no split looks like a strategy.
"""

from __future__ import annotations

from typing import Any

from tsc_lib.compress import Family

WIDTH = 7.5
"""Inches of every figure: 750 pixels at 100 dots per inch, the width of a page of the report."""

Looks = dict[str, Any]
"""Colour, marker and what else matplotlib is told of a mark, a line or a text."""

LOOKS: dict[Family, Looks] = {
    Family.BASELINE: {"color": "#000000", "marker": "*"},
    Family.RUNTIME: {"color": "#56B4E9", "marker": "P"},
    Family.DYNAMIC: {"color": "#E69F00", "marker": "v"},
    Family.STATIC: {"color": "#D55E00", "marker": "^"},
    Family.QUANTIZED: {"color": "#7B2D8B", "marker": ">"},
    Family.MASKS: {"color": "#CC79A7", "marker": "s"},
    Family.REMOVAL: {"color": "#009E73", "marker": "o"},
    Family.COMBINED: {"color": "#0072B2", "marker": "D"},
    Family.SMALLER: {"color": "#6B3E12", "marker": "h"},
    Family.STUDENT: {"color": "#6E6A00", "marker": "p"},
    Family.FEWER: {"color": "#7A0C4E", "marker": "<"},
    Family.EARLY: {"color": "#2F4F5F", "marker": "d"},
    Family.OTHER: {"color": "#999999", "marker": "X"},
}
"""Colour and marker of every family of strategies."""

COLOURS = {family: looks["color"] for family, looks in LOOKS.items()}
TITLES = {Family.BASELINE: "fp32", Family.RUNTIME: "fp32, other runtime", Family.COMBINED: "removal and int8"}
"""What legends call a family where that says more than its name."""

SPLIT_COLOURS = {"train": "#332288", "valid": "#44AA99", "test": "#AA4499"}
SPLIT_MARKERS = {"train": "o", "valid": "D", "test": "s"}
SEQUENCE = ("#332288", "#44AA99", "#AA4499", "#999933", "#88CCEE", "#882255", "#661100")
"""Colours of things that are neither strategies nor splits."""

KIND_COLOURS = {
    "the study's": "#222222",
    "ours": "#882255",
    "kernels": "#44AA99",
    "summaries": "#999933",
    "distances": "#88CCEE",
    "other classics": "#332288",
}
"""Colour of every kind of model that is set beside others: transformers first, then classics."""

MODEL_LOOKS: tuple[Looks, ...] = (
    {"color": "#222222", "marker": "o", "linestyle": "-"},
    {"color": "#8C8C8C", "marker": "s", "linestyle": "--"},
    {"color": "#BBBBBB", "marker": "D", "linestyle": ":"},
    {"color": "#882255", "marker": "v", "linestyle": "-."},
    {"color": "#44AA99", "marker": "^", "linestyle": (0, (5, 1))},
    {"color": "#999933", "marker": "P", "linestyle": (0, (1, 4))},
)
"""Looks of the first models; see `look_of_model`."""

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


def look_of_model(place: int) -> Looks:
    """Colour, marker and line of the model at a place in the results; they begin anew where there are many models."""
    return MODEL_LOOKS[place % len(MODEL_LOOKS)]
