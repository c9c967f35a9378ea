"""What several test files share."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import exported
import synthetic

# On a machine with counters too, whatever is not about counters is tested with the estimate.
os.environ["TSC_ENERGY"] = "cputime"


MARKS = {"comparison.py": pytest.mark.measures, "estimator.py": pytest.mark.compiles}
"""Marks of the examples in docstrings, by the module's file."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark examples in docstrings."""
    for item in items:
        if isinstance(item, pytest.DoctestItem) and item.path.name in MARKS:
            item.add_marker(MARKS[item.path.name])


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exported models with random weights.

    ``fixed`` takes one channel of 24 steps, ``one`` one channel of any length, ``any-<runtime>`` 24 channels of any.
    """
    root = tmp_path_factory.mktemp("models")
    exported.make(root / "fixed", "onnxruntime")
    exported.make(root / "one", "eager", length=None)
    for runtime in ("eager", "onnxruntime", "openvino"):
        exported.make(root / f"any-{runtime}", runtime, channels=24, length=None)
    return root


@pytest.fixture(scope="session")
def results() -> pd.DataFrame:
    """A whole study's results: three data sets, two models, three seeds, every recipe, two batch sizes."""
    return synthetic.results()
