"""Data sets: found by name or folder, read strictly, split, scaled and batched."""

from __future__ import annotations

from tsc_lib.data.archive import find_datasets, is_pattern, list_datasets
from tsc_lib.data.batching import Batch, batches
from tsc_lib.data.folds import make_folds
from tsc_lib.data.preprocess import Dataset, Split, describe, load, prepare
from tsc_lib.data.ucr import DataSpec, resolve

__all__ = [
    "Batch",
    "DataSpec",
    "Dataset",
    "Split",
    "batches",
    "describe",
    "find_datasets",
    "is_pattern",
    "list_datasets",
    "load",
    "make_folds",
    "prepare",
    "resolve",
]
