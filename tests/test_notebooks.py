"""The notebooks are thin and clean, and every one runs to its end on the smallest profile."""

from __future__ import annotations

import ast
import inspect
import logging
from pathlib import Path

import nbformat
import pytest

from tsc_lib.notebook import StatusLine, open_study

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
NAMES = [
    "01_data_loading",
    "02_baseline_training",
    "03_pruning",
    "04_quantization",
    "05_energy_analysis",
    "06_combining_strategies",
    "07_runtimes",
    "08_against_the_classics",
    "09_which_transformer",
    "10_archive",
    "11_on_a_microcontroller",
    "12_the_study",
    "13_your_own_data",
]

PARAMETERS = {"13_your_own_data": ("profile", "dataset", "minutes")}
"""Of notebooks that are about one data set; all others have those of `open_study`."""

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code(path: Path) -> list[nbformat.NotebookNode]:
    """The code cells of a notebook."""
    return [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


def test_the_notebooks_of_the_study_are_there():
    assert [path.stem for path in NOTEBOOKS][: len(NAMES)] == NAMES


@each
def test_first_three_cells(path):
    title, imports, parameters = nbformat.read(path, 4).cells[:3]
    assert title.cell_type == "markdown" and title.source.startswith("# ")
    assert "?**" in title.source, "the question"
    assert all(name in title.source for name in ("smoke", "quick", "paper")), "how long it takes on each profile"
    assert all(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.parse(imports.source).body)
    assert parameters.metadata.tags == ["parameters"]


@each
def test_parameters_are_annotated_literals_with_a_comment(path):
    source = code(path)[1].source
    body = ast.parse(source).body
    assert all(isinstance(node, ast.AnnAssign) for node in body)
    usual = tuple(inspect.signature(open_study).parameters)
    assert tuple(node.target.id for node in body) == PARAMETERS.get(path.stem, usual)
    for node in body:
        ast.literal_eval(node.value)
    assert all("  # " in line for line in source.splitlines())


@each
def test_cells_are_few_short_and_hold_no_logic(path):
    cells = code(path)
    assert len(cells) <= 30
    for cell in cells:
        assert len(cell.source.splitlines()) <= 15
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.While)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("open", "exec", "eval", "print")
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not node.value.startswith(("/", "~", "C:"))


@each
def test_the_last_cells_invite_to_try(path):
    cells = nbformat.read(path, 4).cells
    headings = [cell.source.splitlines()[0] for cell in cells if cell.cell_type == "markdown"]
    assert [heading for heading in headings if heading.startswith("## ")][-1] == "## Try it"
    assert cells[-1].cell_type == "code"


@each
def test_figures_are_last_expressions(path):
    for cell in code(path):
        statements = ast.parse(cell.source).body
        for statement in statements[:-1]:
            calls = [node for node in ast.walk(statement) if isinstance(node, ast.Call)]
            assert not any(ast.unparse(call.func) in ("study.show", "display") for call in calls)


@each
def test_no_number_is_written_into_what_was_found(path):
    """Prose after a result is computed, so a code cell that shows Markdown gets it from `findings`."""
    for cell in code(path):
        if "Markdown(" in cell.source:
            assert "Markdown(findings." in cell.source


@each
def test_committed_without_outputs(path):
    notebook = nbformat.read(path, 4)
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"
    for number, cell in enumerate(notebook.cells):
        assert cell.id == str(number)
        assert set(cell.metadata) <= {"tags"}
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None


def test_the_status_line_tells_run_step_and_what_is_left(monkeypatch):
    shown = []
    monkeypatch.setattr(StatusLine, "_show", lambda status, text: shown.append(text))
    status = StatusLine()

    def log(message, **counts):
        status.emit(logging.makeLogRecord({"msg": message, "levelno": logging.INFO, **counts}))

    log("results of A-T1-s0", runs=(0, 3))
    assert shown == [], "it may be loaded at once"
    log("epoch 5/20", steps=(5, 20))
    assert shown[-1] == "results of A-T1-s0 · epoch 5/20 · 0 s · about 0 s left of this step"
    status._cell.run_since -= 60  # the first run took a minute
    log("results of A-T1-s1", runs=(1, 3))
    log("waiting for another benchmark")
    assert shown[-1] == "results of A-T1-s1 · waiting for another benchmark · 0 s · about 2 min 0 s left"


def test_an_unknown_parameter_is_refused(tmp_path):
    from tsc_lib.core.errors import UserError
    from tsc_lib.report.execute import run_notebook

    with pytest.raises(UserError, match="seed"):
        run_notebook(NOTEBOOKS[0], tmp_path / "refused.ipynb", {"seed": 1})
