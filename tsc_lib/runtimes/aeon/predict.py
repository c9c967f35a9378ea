"""aeon: classic classifiers, fitted again whenever they are loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from tsc_lib.core.files import read_json
from tsc_lib.models.classic import fit_classic
from tsc_lib.runtimes.predictor import Predictor

FILES = ("classic.json", "series.npz")
PARTS: tuple[str, ...] = ()
PACKAGES = ("aeon", "scikit-learn", "torch")


def load(folder: Path, threads: int) -> Predictor:
    """The classic whose training series lie in `folder`; what is left to torch or a linear algebra has `threads`."""
    import torch  # QUANT and Hydra compute with it

    torch.set_num_threads(threads)
    facts = read_json(folder / "classic.json")
    with np.load(folder / "series.npz", allow_pickle=False) as file:
        series = np.split(file["x"], np.cumsum(file["lengths"])[:-1], axis=1)
        with threadpool_limits(threads):
            return fit_classic(facts["name"], series, file["y"], facts["seed"], facts["classes"])
