"""How often a search keeps its promise on the test set, over many data sets.

Each data set is searched once, with a few trials, and its row is appended to a CSV file. Stopped, the
same command goes on after the last row. Beside the promise stands what validation alone would have said of the same
pick: points lost there, and whether a standard error was to spare, which was once called *sure*::

    python benchmarks/promises.py ItalyPowerDemand CBF --trials 6 --csv promises.csv
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from tsc_lib.core.errors import UserError, run_command
from tsc_lib.core.files import write_text
from tsc_lib.search.optimize import optimize
from tsc_lib.search.promise import SURE
from tsc_lib.search.request import SearchRequest
from tsc_lib.search.results import SearchResult, promise_row
from tsc_lib.search.selection import CLEAR

NONE = "none"
"""Verdict where nothing kept to the permitted drop on validation, so that nothing was picked."""

MINUTES = 100_000
"""No limit: trials end a search."""


def judge(result: SearchResult) -> dict[str, object]:
    """The row of a search that picked something."""
    pick, scores = result.pick, result.scores.mean()
    return promise_row(result.to_json()) | {
        "valid_drop": pick["drop"],
        "valid_error": pick.error,
        "valid_verdict": pick.verdict,
        "accuracy": scores.accuracy,
        "reference_accuracy": scores.reference_accuracy,
        "plain_accuracy": scores.plain_accuracy,
    }


def run(options: argparse.Namespace) -> None:
    """Search every data set that the file lacks, and print the table."""
    table = pd.read_csv(options.csv) if options.csv.exists() else pd.DataFrame({"dataset": []})
    for name in options.datasets:
        request = SearchRequest(
            name, model=options.model, epochs=options.epochs, objective=options.objective, max_drop=options.max_drop
        )
        if request.resolve().runs[0].data.name in set(table.dataset):
            continue
        try:
            row = judge(optimize(request, MINUTES, options.jobs, options.trials))
        except UserError as nothing:
            row = {"dataset": name, "model": options.model, "objective": options.objective, "verdict": NONE}
            print(f"{name}: {nothing}", flush=True)
        row |= {"max_drop": options.max_drop, "epochs": options.epochs, "trials": options.trials}
        table = pd.concat([table, pd.DataFrame([row])], ignore_index=True)
        write_text(options.csv, table.to_csv(index=False))
    shown = ["dataset", "recipe", "drop", "bound", "verdict", "valid_drop", "valid_error", "valid_verdict", "test_drop"]
    print(table[shown].to_string(index=False, float_format="{:.1f}".format))
    print(count(table))


def count(table: pd.DataFrame) -> str:
    """How often the bounds, the promises called sure, and what validation alone would have said held on test."""
    promised = table[table.bound.notna()]
    kept = promised.test_drop <= promised.max_drop
    sure, clear = promised.verdict == SURE, promised.valid_verdict == CLEAR
    return (
        f"{len(promised)} of {len(table)} searches promised something; {(promised.test_drop <= promised.bound).sum()} "
        f"bounds held on test\n"
        f"{sure.sum()} picks were sure, and {(kept & sure).sum()} of them kept to the permitted drop on test\n"
        f"{clear.sum()} picks were clear of it on validation, and {(kept & clear).sum()} of them kept to it on test\n"
        f"{len(promised)} picks kept to it on validation, and {kept.sum()} of them on test"
    )


def main(arguments: list[str] | None = None) -> int:
    """Count over data sets; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", nargs="+", help="names or folders")
    parser.add_argument("--csv", type=Path, required=True, help="to append to, and to go on from")
    parser.add_argument("--model", default="T1")
    parser.add_argument("--epochs", type=int, default=20, help="of the first training (default: 20)")
    parser.add_argument("--trials", type=int, default=6, help="of each search (default: 6)")
    parser.add_argument("--max-drop", type=float, default=1.0, help="points (default: 1)")
    parser.add_argument("--objective", default="size", help="(default: size, which no other work disturbs)")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args(arguments)
    return run_command(lambda: run(options))


if __name__ == "__main__":
    raise SystemExit(main())
