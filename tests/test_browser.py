"""Notebooks in a real JupyterLab: run it, change its parameters, define a variable, run it again."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tsc_lib.core.files import shipped

NOTEBOOKS = [shipped("notebooks") / f"{name}.ipynb" for name in ("01_data_loading", "03_pruning")]
"""The first one, and one that lets a reader name a recipe; the batch executes all."""

SETTINGS = {
    # Cells that are scrolled away stay in the page, where the test looks for them.
    "notebook-extension/tracker": '{"windowingMode": "none"}',
    "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
}
PARAMETERS = "\n".join(["profile: str = {!r}", "datasets: list = []", "models: list = []", "seeds: list = []"])
FINISH_S = 600


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copies of the notebooks, which JupyterLab may save, beside a profile even smaller than `smoke`."""
    folder = tmp_path_factory.mktemp("lab")
    for notebook in NOTEBOOKS:
        shutil.copy(notebook, folder)
    smoke = (shipped("profiles") / "smoke.yaml").read_text()
    assert "seeds: [0, 1]" in smoke
    (folder / "tiny.yaml").write_text(smoke.replace("seeds: [0, 1]", "seeds: [0]"))
    for name, content in SETTINGS.items():
        path = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


@pytest.fixture(scope="module")
def address(browser: Any, folder: Path) -> Iterator[str]:
    """A running JupyterLab that serves the folder; without a browser it need not start."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"TSC_OUTPUTS": str(folder / "outputs"), "TSC_ENERGY": "cputime"}
    environment |= {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"), "JUPYTER_RUNTIME_DIR": str(folder / "runtime")}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        "--IdentityProvider.token=",
        f"--port={port}",
    ]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(120):
            with suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api/status", timeout=5).close()
                break
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


def rewrite(page: Any, cell: Any, text: str) -> None:
    """Type a text in place of what a cell has."""
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(text)


def run_all(page: Any) -> None:
    """Run all cells by the menu, and wait until each has a number that it did not have before."""
    cells = page.locator(".jp-Notebook .jp-CodeCell")
    before = cells.locator(".jp-InputPrompt").all_inner_texts()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    finish = time.monotonic() + FINISH_S
    while time.monotonic() < finish:
        now = cells.locator(".jp-InputPrompt").all_inner_texts()
        errors = page.locator('[data-mime-type="application/vnd.jupyter.error"]').all_inner_texts()
        assert errors == []
        numbers = [text.strip("[]: \n") for text in now]
        if all(number.isdigit() for number in numbers) and not set(now) & set(before):
            return
        time.sleep(0.5)
    raise AssertionError(f"not finished after {FINISH_S} s: {now}")


@pytest.mark.notebooks
@pytest.mark.parametrize("name", [path.stem for path in NOTEBOOKS])
def test_a_notebook_can_be_used(name: str, page: Any, address: str, folder: Path) -> None:
    page.goto(f"{address}/lab/tree/{name}.ipynb?reset")
    parameters = page.locator(".jp-Notebook .jp-CodeCell", has_text="profile: str").first
    parameters.wait_for(timeout=60_000)
    page.locator("#jp-main-statusbar", has_text="Idle").wait_for(timeout=60_000)
    try:
        rewrite(page, parameters, PARAMETERS.format("smoke"))
        run_all(page)
        page.screenshot(path=folder / f"{name}-1.png")
        rewrite(page, parameters, PARAMETERS.format(str(folder / "tiny.yaml")))
        page.keyboard.press("Escape")
        page.keyboard.press("b")
        page.keyboard.press("Enter")
        page.keyboard.insert_text("recipe, ratio, mine = 'prune(l1, 0.5)', 0.5, {'anything': [1]}")
        run_all(page)
        page.screenshot(path=folder / f"{name}-2.png")
        assert page.locator(".jp-Notebook .jp-RenderedImage img").count() > 0
    finally:
        for session in page.request.get(f"{address}/api/sessions").json():
            page.request.delete(f"{address}/api/sessions/{session['id']}")
