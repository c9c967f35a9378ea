"""What several test files share."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import synthetic

# On a machine with counters too, whatever is not about counters is tested with the estimate.
os.environ["TSC_ENERGY"] = "cputime"


@pytest.fixture(scope="session")
def results() -> pd.DataFrame:
    """A whole study's results: three data sets, two models, three seeds, every recipe, two batch sizes."""
    return synthetic.results()
