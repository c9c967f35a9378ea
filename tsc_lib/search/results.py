"""What finished searches left, as one table and as text."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import pandas as pd

from tsc_lib.core import store

SHOWN = {
    "recipe": "recipe",
    "runtime": "runtime",
    "cost": "cost",
    "cpu_ratio_large": "CPU, large",
    "cpu_ratio_batch_1": "CPU, one",
    "drop": "lost",
    "error": "±",
    "expected_drop": "expected",
    "verdict": "verdict",
}


def searches(datasets: Container[str]) -> pd.DataFrame:
    """One row for every trained recipe of the finished searches under the outputs; empty if there are none.

    Of several searches for the same objective on the same data set and model the latest counts.

    Parameters
    ----------
    datasets : container of str
        Names of the data sets whose searches are wanted.

    Returns
    -------
    DataFrame
        The columns of ``trials.csv``: dataset, model, objective, recipe, runtime, macs and cost (shares of the
        uncompressed model's), valid_accuracy, drop and error (points on validation), expected_drop, expected_error,
        verdict, front, and measured (in a session, not by the short benchmark).
    """
    found = sorted((store.OUTPUTS / "search").glob("*/trials.csv"), key=lambda path: path.stat().st_mtime)
    tables = [pd.read_csv(path) for path in found]
    latest = {(*table.loc[0, ["dataset", "model", "objective"]],): table for table in tables}
    wanted = [latest[key] for key in sorted(latest) if key[0] in datasets]
    return pd.concat(wanted, ignore_index=True) if wanted else pd.DataFrame()


def front_text(table: pd.DataFrame) -> str:
    """The Pareto front among the measured finalists, cheapest first, as lines of text."""
    front = table[table.front].sort_values("cost")[list(SHOWN)].rename(columns=SHOWN)
    return front.to_string(index=False, float_format="{:.3g}".format)


def pick_text(pick: dict[str, Any], max_drop: float) -> str:
    """The pick in a few lines: what it is, what it saves, how sure that is, how to ship it, and its test score."""
    facts, scores = pick["pick"], pick["test_score"]
    accuracy, drop = (sum(score[name] for score in scores) / len(scores) for name in ("accuracy", "accuracy_drop"))
    lines = [
        f"Pick: {facts['recipe']} in {facts['runtime']}",
        f"  1/{1 / facts['cost']:.1f} of the uncompressed model's {pick['search']['objective']} in eager PyTorch",
        f"  {facts['expected_drop']:.1f} ± {facts['expected_error']:.1f} points expected to be lost "
        f"({facts['drop']:.1f} ± {facts['error']:.1f} seen on validation), {max_drop:g} permitted:",
        f"  it {pick['meaning']}",
        f"  test score, which decided nothing: accuracy {accuracy:.3f}, {drop:.1f} points lost",
        "",
        f"  {pick['export']}",
    ]
    return "\n".join(lines)
