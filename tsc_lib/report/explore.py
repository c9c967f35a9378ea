"""A page on which a reader sorts, filters and points: a table and a figure that one selection narrows, by Bokeh.

Its scripts are copied into the site, so that the page needs no network.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import bokeh
import numpy as np
import pandas as pd
from bokeh.embed import components
from bokeh.layouts import column, row
from bokeh.models import CDSView, ColumnDataSource, CustomJS, CustomJSFilter, HoverTool
from bokeh.models.widgets import DataTable, Div, MultiChoice, NumberFormatter, StringFormatter, TableColumn
from bokeh.plotting import figure

from tsc_lib.analysis.quantities import add_times_less, find_fronts
from tsc_lib.analysis.rows import CASE_KEYS, batch_kinds, drop_failures
from tsc_lib.analysis.tables import strategy_table
from tsc_lib.analysis.wording import format_estimate
from tsc_lib.figures.palette import COLOURS

LIBRARY = ("bokeh.min.js", "bokeh-widgets.min.js", "bokeh-tables.min.js")
"""Its scripts. They would load MathJax from elsewhere for labels with formulas, which there are none of."""

FILTERS = {"dataset": "data set", "model": "model", "runtime": "runtime", "batch": "series a call"}
"""What a reader may narrow, by column."""

COLUMNS = {
    "dataset": ("data set", "", 150),
    "model": ("model", "", 60),
    "label": ("strategy", "", 230),
    "runtime": ("runtime", "", 100),
    "batch_size": ("series a call", "0", 80),
    "accuracy": ("accuracy, %", "0.0", 80),
    "points_lost": ("points lost", "0.0", 80),
    "cpu_ms_per_sample": ("CPU, ms a series", "0.000", 100),
    "energy_mj_per_sample": ("energy, mJ a series", "0.00", 110),
    "times": ("times less energy", "0.0", 110),
    "front": ("on the front", "", 80),
}
HOVER = [
    ("recipe", "@recipe"),
    ("runs on", "@runtime, @batch_size series a call"),
    ("model", "@model on @dataset"),
    ("accuracy", "@accuracy_text %"),
    ("CPU time", "@cpu_text ms a series"),
    ("energy", "@energy_text mJ a series (@energy_source)"),
    ("less energy", "@times_text times"),
]
CHOOSE = """
const holds = (box, value) => !box.value.length || box.value.includes(String(value))
const boxes = Object.entries(choices)
const rows = [...Array(source.get_length()).keys()]
return rows.filter(i => boxes.every(([name, box]) => holds(box, source.data[name][i])))
"""
"""Which rows of the table all of the selections hold; an empty selection holds all."""


def explorable(results: pd.DataFrame) -> pd.DataFrame:
    """Every variant at every kind of batch: means over the seeds, intervals in words, and whether no other beats it.

    Parameters
    ----------
    results : DataFrame
        The results table; failed rows are left out.

    Returns
    -------
    DataFrame
        The columns of `tsc_lib.analysis.tables.strategy_table`, `batch` ("large" or "small"), `times`, what
        `HOVER` names, and `front`: "yes" where no other variant of the model on the data set is at least as accurate
        and takes less energy.
    """
    parts = [strategy_table(results, which).assign(batch=which) for which in batch_kinds(results)]
    table = add_times_less(pd.concat(parts, ignore_index=True), "energy_ratio")
    for name, value, digits in (
        ("times", "times", 1),
        ("accuracy", "accuracy", 1),
        ("cpu", "cpu_ms_per_sample", 3),
        ("energy", "energy_mj_per_sample", 3),
    ):
        table[f"{name}_text"] = [format_estimate(row, value, digits) for row in table.itertuples()]
    fronts = find_fronts(table, [*CASE_KEYS, "batch"], "energy_ratio")
    table["front"] = np.where(table.index.isin(fronts.index), "yes", "")
    colour = table.family.map(COLOURS).astype(str)
    edge = colour.where(table.front == "", "#000000")  # of marks on the front
    return table.assign(colour=colour, edge=edge, family=table.family.astype(str))


def explore(results: pd.DataFrame, name: str) -> str:
    """The selections, the figure and the table as HTML.

    Parameters
    ----------
    results : DataFrame
        The results table.
    name : str
        Tells the parts of two pages apart.
    """
    if not len(results) or not len(drop_failures(results)):
        return "There are no results yet."
    table = explorable(results)
    keep = [*COLUMNS, "batch", "recipe", "energy_source", "colour", "edge", "family"]
    keep += [column for column in table if column.endswith("_text")]
    source = ColumnDataSource(table[keep].astype({"batch_size": int}), name=name)
    choices = {
        key: MultiChoice(
            title=title, options=[str(value) for value in dict.fromkeys(table[key])], sizing_mode="stretch_width"
        )
        for key, title in FILTERS.items()
    }
    choices["dataset"].value, choices["batch"].value = [table.dataset.iloc[0]], ["large"]
    view = CDSView(filter=CustomJSFilter(args={"choices": choices}, code=CHOOSE))
    for box in choices.values():
        box.js_on_change("value", CustomJS(args={"source": source}, code="source.change.emit()"))
    boxes = list(choices.values())
    selections = column(
        row(*boxes[:2], sizing_mode="stretch_width"),
        row(*boxes[2:], sizing_mode="stretch_width"),
        sizing_mode="stretch_width",
    )
    script, parts = components(
        column(selections, _front(source, view), _legend(table), _table(source, view), sizing_mode="stretch_width")
    )
    loads = "".join(f'<script src="_static/{each}"></script>\n' for each in LIBRARY)
    return f'```{{raw}} html\n{loads}<div class="explorer">{parts}</div>\n{script}\n```'


def _legend(table: pd.DataFrame) -> Div:
    """The colours of the kinds of strategies."""
    kinds = table[["family", "colour"]].drop_duplicates()
    marks = [
        f'<span style="color: {colour}">\N{BLACK CIRCLE}</span>&nbsp;{family}' for family, colour in kinds.to_numpy()
    ]
    return Div(text=" &emsp; ".join(marks), sizing_mode="stretch_width")


def _front(source: ColumnDataSource, view: CDSView) -> figure:
    plot = figure(
        height=380,
        sizing_mode="stretch_width",
        x_axis_type="log",
        x_axis_label="times less energy per inference than the same model as trained, in one session",
        y_axis_label="accuracy on test, %",
        tools="pan,box_zoom,wheel_zoom,reset,tap",
        output_backend="svg",
    )
    looks: dict[str, Any] = {"fill_color": "colour", "line_color": "edge", "line_width": 2, "fill_alpha": 0.8}
    points = plot.scatter("times", "accuracy", source=source, view=view, size=10, **looks)
    plot.add_tools(HoverTool(renderers=[points], tooltips=HOVER))
    plot.toolbar.logo = None
    return plot


def _table(source: ColumnDataSource, view: CDSView) -> DataTable:
    columns = [
        TableColumn(
            field=name,
            title=title,
            width=width,
            formatter=NumberFormatter(format=shape) if shape else StringFormatter(),
        )
        for name, (title, shape, width) in COLUMNS.items()
    ]
    return DataTable(
        source=source,
        columns=columns,
        view=view,
        height=460,
        sizing_mode="stretch_width",
        autosize_mode="none",
        index_position=None,
    )


def ship_library(folder: Path) -> None:
    """Copy the scripts that these pages load."""
    for name in LIBRARY:
        shutil.copy(Path(bokeh.__file__).parent / "server" / "static" / "js" / name, folder)
