"""Outputs of cells as a page can show them: very long lines stall what makes the page, and whoever opens it."""

from __future__ import annotations

import re

import nbformat

LINE = 2_000
"""Characters of a line that a page shows."""

OUTPUT = 200_000
"""Characters of an output that a page shows, in whole lines."""

_ANSI = re.compile(r"\x1b(\[[0-9;]*m?)?$")
"""The beginning of an ANSI sequence at the end of a text."""


def shorten_outputs(content: nbformat.NotebookNode) -> None:
    """Cut what is too long for a page from the texts of a notebook's outputs, and say so there."""
    for cell in content.cells:
        if "outputs" in cell:
            cell.outputs = _join_streams(cell.outputs)
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                output.text = shorten(output.text)
            elif output.output_type == "error":
                output.traceback = [shorten(part) for part in output.traceback]
            else:
                for kind in ("text/plain", "text/markdown", "text/latex"):
                    if kind in output.data:
                        output.data[kind] = shorten(output.data[kind])


def _join_streams(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Each of a cell's streams as one output, as the page has it: a line may have been printed in many parts."""
    parts: dict[str, list[str]] = {}
    for output in outputs:
        if output.output_type == "stream":
            parts.setdefault(output.name, []).append(output.text)
    joined = {name: "".join(texts) for name, texts in parts.items()}
    kept = []
    for output in outputs:
        if output.output_type != "stream":
            kept.append(output)
        elif output.name in joined:
            output.text = joined.pop(output.name)
            kept.append(output)
    return kept


def shorten(text: str) -> str:
    """A text without the ends of very long lines and without the last of very many.

    Examples
    --------
    >>> shorten("short"), len(shorten(10**6 * "x"))
    ('short', 2053)
    """
    shown, left = [], OUTPUT
    lines = text.split("\n")
    for number, whole in enumerate(lines):
        line = _cut(whole)
        left -= len(line) + 1
        if left < 0 and number:
            shown.append(f"… [{len(lines) - number:,} more lines in the executed notebook]")
            break
        shown.append(line)
    return "\n".join(shown)


def _cut(line: str) -> str:
    if len(line) <= LINE:
        return line
    line = line.rstrip("\r").rpartition("\r")[2]  # as a terminal shows it: a progress bar is its last state
    if (more := len(line) - LINE) <= 0:
        return line
    kept = _ANSI.sub("", line[:LINE])
    colours = "\x1b[0m" if "\x1b" in kept else ""
    return f"{kept}{colours} … [{more:,} more characters in the executed notebook]"
