"""What several test files share."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from filelock import FileLock

sys.path.insert(0, str(Path(__file__).parent))

import exported
import synthetic

# On a machine with counters too, whatever is not about counters is tested with the estimate.
os.environ["TSC_ENERGY"] = "cputime"


MARKS = {"comparison.py": pytest.mark.measures, "estimator.py": pytest.mark.compiles}
"""Marks of the examples in docstrings, by the module's file."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark examples in docstrings."""
    if isinstance(item, pytest.DoctestItem) and item.path.name in MARKS:
        item.add_marker(MARKS[item.path.name])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: notebooks, then what compiles; the tests of a file stay together."""
    slow = {mark: {item.path for item in items if item.get_closest_marker(mark)} for mark in ("notebooks", "compiles")}
    items.sort(key=lambda item: (item.path not in slow["notebooks"], item.path not in slow["compiles"]))


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that one of the workers makes, and all read."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            scratch = folder.with_suffix(".new")
            make(scratch)
            scratch.rename(folder)
    return folder


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
BROWSER_OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
BROWSER_OPTIONS += ["--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, driven by playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("needs Chromium, which is not installed")
    with playwright.sync_playwright() as tools:
        chromium = tools.chromium.launch(executable_path=CHROMIUM, args=BROWSER_OPTIONS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A new page, as wide as that of a small laptop."""
    page = browser.new_page(viewport={"width": 1366, "height": 900})
    yield page
    page.close()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exported models with random weights.

    ``fixed`` takes one channel of 24 steps, ``one`` one channel of any length, ``any-<runtime>`` 24 channels of any.
    """

    def make(root: Path) -> None:
        exported.make(root / "fixed", "onnxruntime")
        exported.make(root / "one", "eager", length=None)
        for runtime in ("eager", "onnxruntime", "openvino"):
            exported.make(root / f"any-{runtime}", runtime, channels=24, length=None)

    return made_once(tmp_path_factory, "models", make)


@pytest.fixture
def library_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inductor compiles one program, with PyTorch's matrix products, and not another one to choose from."""
    monkeypatch.setattr("tsc_lib.runtimes.inductor.convert.PRODUCTS", {"library": {}})


@pytest.fixture(scope="session")
def results() -> pd.DataFrame:
    """A whole study's results: three data sets, two models, three seeds, every recipe, two batch sizes."""
    return synthetic.results()
