"""aeon: a classic is its training series, from which the same seed makes the same classifier."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tsc_lib.core.files import write_bytes, write_json


def write_classic(name: str, x: Sequence[np.ndarray], y: np.ndarray, seed: int, classes: int, folder: Path) -> None:
    """Write what `tsc_lib.runtimes.load` makes a classic of; the parameters are those of `fit_classic`.

    No fitted estimator is stored: that would take a pickle.
    """
    content = io.BytesIO()
    lengths = np.array([one.shape[1] for one in x], dtype=np.int64)
    np.savez(content, allow_pickle=False, x=np.concatenate(x, axis=1), lengths=lengths, y=np.asarray(y))
    write_bytes(folder / "series.npz", content.getvalue())
    write_json(folder / "classic.json", {"name": name, "seed": seed, "classes": classes})
