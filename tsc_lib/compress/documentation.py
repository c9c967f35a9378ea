"""What the steps tell of themselves: a table for the documentation, and a list for the command line's help."""

from __future__ import annotations

import textwrap

from tsc_lib.compress.step import STEPS
from tsc_lib.core.calls import write_signature


def steps_table() -> str:
    """Every step with its parameters and what it does, as a table in Markdown.

    Examples
    --------
    >>> print(steps_table().splitlines()[0])
    | step | what it does |
    """
    rows = [f"| `{write_signature(name, STEPS[name])}` | {STEPS[name].summary} |" for name in sorted(STEPS)]
    return "\n".join(["| step | what it does |", "| --- | --- |", *rows])


def help_text() -> str:
    """The examples of every step, each with its explanation beside it, in lines of at most 120 columns."""
    examples = [example for name in sorted(STEPS) for example in STEPS[name].examples.items()]
    margin = 4 + max(len(recipe) for recipe, _ in examples)
    return "\n".join(
        textwrap.fill(text, 120, initial_indent=f"  {recipe:{margin - 2}}", subsequent_indent=" " * margin)
        for recipe, text in examples
    )
