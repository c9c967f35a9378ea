"""What the pick of a search costs, as a table."""

from __future__ import annotations

import numpy as np
import pandas as pd

MEASURED = {
    "energy_ratio_large": "energy, large batch",
    "cpu_ratio_large": "CPU time, large batch",
    "cpu_ratio_batch_1": "CPU time, one series",
    "latency_ratio": "time of a call, one series",
    "size_ratio": "bytes of the weights",
}
"""The costs of a finalist, and what they are called."""


def list_costs(pick: pd.Series) -> pd.DataFrame:
    """The costs of a pick beside those of the uncompressed model in eager PyTorch.

    Parameters
    ----------
    pick : Series
        The best of the measured finalists.

    Returns
    -------
    DataFrame
        Columns `cost`, `share` (of the uncompressed model's), `share_low` and `share_high` (95 % interval of the
        session; none of the latency, which is a median, and of the size, which is counted) and `source`: "measured",
        "counted" or, of energy, its own.
    """
    rows = []
    for name, title in MEASURED.items():
        if pd.isna(pick[name]):
            continue
        ends = [pick.get(f"{name}_{end}", np.nan) for end in ("low", "high")]
        sources = {"energy_ratio_large": pick.energy_source, "size_ratio": "counted"}
        rows.append([title, pick[name], *ends, sources.get(name, "measured")])
    return pd.DataFrame(rows, columns=["cost", "share", "share_low", "share_high", "source"])
