"""What folds of the training series tell of the accuracy on the test set: random folds beside blocks in file order.

Quick classics are fitted on all folds but one and judged on that one, and once on the whole training file and judged on
the test file, which chooses nothing here::

    python -m tsc_lib.study.fold_accuracy RefrigerationDevices ItalyPowerDemand --csv folds.csv
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tsc_lib import data
from tsc_lib.core.errors import UserError, run_command
from tsc_lib.core.files import write_text
from tsc_lib.data import DataSpec, make_folds
from tsc_lib.data.ucr import read
from tsc_lib.models.classic import CLASSICS

FOLDS = 5
"""As `tsc_lib.data.make_folds` takes them."""

RULES = ("random", "blocks")

METHODS = ("QUANT", "MiniROCKET")

Fit = Callable[[np.ndarray, np.ndarray], Any]
"""Takes series (n, channels, length) and labels (n,); returns what has `predict`."""


def _fit(method: str) -> Fit:
    return lambda x, y: CLASSICS[method].build(0).fit(x, y)


def compare_folds(spec: DataSpec, methods: Sequence[str] = METHODS) -> pd.DataFrame:
    """Accuracy by random folds, by blocks and on test, of each method on the series of a data set as they were read.

    Parameters
    ----------
    spec : DataSpec
        From `tsc_lib.data.resolve`; all series have one length.
    methods : sequence of str
        Names in `tsc_lib.models.classic.CLASSICS`.

    Returns
    -------
    DataFrame
        Columns `dataset`, `method`, `rule` (random or blocks), `train` and `test` (how many series), `fold_accuracy`,
        `test_accuracy`, and `error`: percentage points by which the folds promise more than the test set gives.

    Raises
    ------
    UserError
        If the series have several lengths.
    """
    train, test = read(spec)
    if len({x.shape for x in train.x + test.x}) > 1:
        raise UserError(f"the series of {spec.name} have several lengths, which the classics here do not take")
    x, y = np.stack(train.x), np.array(train.labels)
    splits = {"blocks": make_folds(train.x, y, FOLDS)}
    order = np.random.default_rng(0).permutation(len(y))
    splits["random"] = np.empty_like(splits["blocks"])
    splits["random"][order] = make_folds([train.x[i] for i in order], y[order], FOLDS)  # blocks of a shuffled file
    rows = []
    for method in methods:
        fit = _fit(method)
        on_test = float((fit(x, y).predict(np.stack(test.x)) == np.array(test.labels)).mean())
        for rule in RULES:
            right = [_judge_fold(fit, x, y, splits[rule] == fold) for fold in range(splits[rule].max() + 1)]
            accuracy = float(np.concatenate(right).mean())
            sizes = {"train": len(y), "test": len(test.x)}
            found = {"fold_accuracy": accuracy, "test_accuracy": on_test, "error": 100 * (accuracy - on_test)}
            rows.append({"dataset": spec.name, "method": method, "rule": rule} | sizes | found)
    return pd.DataFrame(rows)


def _judge_fold(fit: Fit, x: np.ndarray, y: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Which series of a fold are classified rightly by what is fitted on the others; a class it lacks never is."""
    if len(np.unique(y[~fold])) < 2:
        raise UserError("the training series without one fold hold a single class; name other data")
    return np.asarray(fit(x[~fold], y[~fold]).predict(x[fold]) == y[fold])


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Mean error and mean absolute error of each method and rule over the data sets, in percentage points."""
    groups = table.assign(absolute_error=table.error.abs()).groupby(["method", "rule"])
    return groups[["error", "absolute_error"]].mean().reset_index()


def main(arguments: list[str] | None = None) -> int:
    """Compare on some data sets, each written to the file once it is done; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tsc_lib.study.fold_accuracy", description=__doc__.splitlines()[0])
    parser.add_argument("datasets", nargs="+", help="names or folders")
    parser.add_argument("--csv", type=Path, required=True, help="to write, and to go on from")
    options = parser.parse_args(arguments)

    def run() -> None:
        table = pd.read_csv(options.csv) if options.csv.exists() else pd.DataFrame(columns=["dataset"])
        for name in options.datasets:
            spec = data.resolve(name, gaps="interpolate")
            if spec.name in set(table.dataset):
                continue
            try:
                table = pd.concat([table, compare_folds(spec)], ignore_index=True)
            except UserError as error:
                print(f"{name} is left out: {error}", flush=True)
            write_text(options.csv, table.to_csv(index=False))
        print(table.to_string(index=False), summarise(table).to_string(index=False), sep="\n\n")

    return run_command(run)


if __name__ == "__main__":
    sys.exit(main())
