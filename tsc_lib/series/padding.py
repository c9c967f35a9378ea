"""Series of any lengths as one array."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def pad(series: Sequence[NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Series (channels, length_i) as x (n, channels, longest), zero beyond their ends, and their lengths (n,)."""
    lengths = np.array([one.shape[1] for one in series], dtype=np.int64)
    if lengths.min() == lengths.max():
        return np.stack(series), lengths
    x = np.zeros((len(series), series[0].shape[0], lengths.max()), dtype=np.float32)
    for row, one in zip(x, series, strict=True):
        row[:, : one.shape[1]] = one
    return x, lengths
