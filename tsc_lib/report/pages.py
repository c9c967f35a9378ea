"""Executed notebooks as pages: plumbing collapsed, pictures described, columns with readable names."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat

from tsc_lib import figures
from tsc_lib.report.shorten import shorten_outputs

PLUMBING = {"parameters", "injected-parameters"}
"""Tags of cells whose code a reader of the report opens if he wants to."""

_IMPORTS = re.compile(r"\s*(import |from |#|\)|[\w.]+( as \w+)?,?$|$)")
_FIGURE = re.compile(r"\bfigures\.(\w+)\(")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_COLUMN = re.compile(r"<th>([a-z][a-z0-9]*(?:_[a-z0-9]+)+)</th>")
_UNITS = {"cpu": "CPU", "mj": "mJ", "macs": "MACs", "fp32": "fp32"}


def write_page(notebook: Path, target: Path) -> None:
    """Copy an executed notebook as a page of the report shows it."""
    content = nbformat.read(notebook, as_version=4)
    shorten_outputs(content)
    heading = ""
    for cell in content.cells:
        if cell.cell_type == "markdown":
            heading = ([heading, *_HEADING.findall(cell.source)])[-1]
        if cell.cell_type != "code":
            continue
        tags = set(cell.metadata.get("tags", []))
        if tags & PLUMBING or all(map(_IMPORTS.match, cell.source.splitlines())):
            cell.metadata["tags"] = sorted(tags | {"hide-input"})
        cell.metadata["mystnb"] = {"image": {"alt": describe_picture(cell.source, heading)}}
        for output in cell.outputs:
            if "text/html" in output.get("data", {}):
                output.data["text/html"] = _COLUMN.sub(_name_column, output.data["text/html"])
    nbformat.write(content, target)


def describe_picture(source: str, heading: str) -> str:
    """The alternative text of a cell's figures: what the function says that draws them, else the heading above."""
    for name in _FIGURE.findall(source):
        if about := getattr(figures, name, None):
            return str(about.__doc__).splitlines()[0]
    return heading


def _name_column(match: re.Match[str]) -> str:
    return f"<th>{' '.join(_UNITS.get(word, word) for word in match.group(1).split('_'))}</th>"
