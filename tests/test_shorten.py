"""Pages show the beginning of an output that is very long, and say so."""

from __future__ import annotations

import time
from pathlib import Path

import nbformat
import pytest
from myst_nb.core.utils import coalesce_streams

from tsc_lib.report.pages import write_page
from tsc_lib.report.shorten import LINE, OUTPUT, shorten

TEN_MEGABYTES = 10_000_000
RED, PLAIN = "\x1b[31m", "\x1b[0m"


@pytest.mark.parametrize("text", ["", "\n", "a\nb\n", "x" * LINE, "\n".join(["x" * 99] * (OUTPUT // 100))])
def test_what_fits_stays_as_it_is(text: str) -> None:
    assert shorten(text) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x" * TEN_MEGABYTES, "9,998,000 more characters in the executed notebook"),
        ("[1, 2]\n" * (TEN_MEGABYTES // 7), "more lines in the executed notebook"),
        ("\n" * TEN_MEGABYTES, "9,800,001 more lines in the executed notebook"),
        (f"before\n{' ' * TEN_MEGABYTES}\nafter", "9,998,000 more characters in the executed notebook]\nafter"),
        (f"{RED}{'é' * TEN_MEGABYTES}", f"{PLAIN} … [9,998,005 more characters in the executed notebook"),
    ],
    ids=["one line", "many lines", "empty lines", "between others", "coloured"],
)
def test_what_is_too_long_is_cut_and_said(text: str, said: str) -> None:
    short = shorten(text)
    assert said in short and len(short) < OUTPUT + 100


def test_a_colour_is_not_cut_in_two() -> None:
    assert shorten(f"{'x' * (LINE - 2)}{RED}{'y' * 100}").startswith(f"{'x' * (LINE - 2)} … [")


def test_a_progress_bar_is_its_last_state() -> None:
    assert shorten("\r".join(f"{done:4} of 5000" for done in range(5001)) + "\n") == "5000 of 5000\n"


def test_every_text_of_an_output_is_cut_in_the_copy_alone_and_quickly(tmp_path: Path) -> None:
    text, v4 = "x" * TEN_MEGABYTES, nbformat.v4
    outputs = [
        *(v4.new_output("stream", name="stdout", text="x" * 10_000) for _ in range(1_000)),
        v4.new_output("stream", name="stderr", text=text),
        v4.new_output("execute_result", {"text/plain": text, "image/png": "aaaa"}, execution_count=1),
        v4.new_output("display_data", {"text/markdown": text}),
        v4.new_output("error", ename="ValueError", evalue="long", traceback=[text, "ValueError: long"]),
    ]
    executed, page = tmp_path / "executed.ipynb", tmp_path / "page.ipynb"
    cells = [v4.new_markdown_cell("# x"), v4.new_code_cell("1", outputs=outputs)]
    nbformat.write(v4.new_notebook(cells=cells), executed)
    write_page(executed, page)
    assert executed.stat().st_size > 4 * TEN_MEGABYTES and page.stat().st_size < 6 * (LINE + 500)
    kept = nbformat.read(page, 4).cells[1].outputs
    assert kept[2].data["image/png"] == "aaaa" and kept[4].traceback[1] == "ValueError: long"
    began = time.process_time()
    coalesce_streams(kept)  # what took minutes, in time as the square of a line's length
    assert time.process_time() - began < 1
