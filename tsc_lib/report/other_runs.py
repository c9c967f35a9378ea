"""One table of what other runs of the study found: on other processors, with older code, with more seeds.

::

    python -m tsc_lib.report.other_runs results.csv --run vnni --processor "AMD EPYC (avx512_vnni)" --date 2026-11-23 \
        --command "make report PROFILE=paper" --code "as of that day"

replaces the rows of a run in ``outputs/published/other_runs/results.csv`` by those of a results table.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from tsc_lib.analysis.claims import judge
from tsc_lib.analysis.quantities import control_deviations, over_seeds, pool, select_for_claim
from tsc_lib.analysis.rows import CASE_KEYS, select_batch, select_variant
from tsc_lib.compress import Family
from tsc_lib.core.errors import UserError, run_command
from tsc_lib.core.files import write_text
from tsc_lib.report.published import OTHER_RUNS, ROOT, STATIC_RATIO, STUDENT, STUDENT_LOST

STUDENT_TIME = "student: CPU time ÷ eager fp32"
CONTROL = "the model against itself: most it is off, %"

NUMBERS = ["quantity", "dataset", "model", "runtime", "value", "low", "high", "unit", "verdict", "seeds", "datasets"]

ALL = "all"
"""In place of a data set or a model: the mean over all of them."""


class Origin(NamedTuple):
    """Where a run's numbers come from: columns of the table.

    Attributes
    ----------
    run, processor, date, command, code : str
        A name for it; what it ran on, when its first session was, what was called, and how its code differed.
    """

    run: str
    processor: str
    date: str
    command: str
    code: str


def summarize_run(results: pd.DataFrame, origin: Origin) -> pd.DataFrame:
    """The headline numbers of a run at the large batch, with 95 % intervals.

    Parameters
    ----------
    results : DataFrame
        Its results table.
    origin : Origin
        Becomes the first columns of every row.

    Returns
    -------
    DataFrame
        The columns of `Origin` and `NUMBERS`: a row for each claim that could be tested, for static int8 in every
        runtime, for the student on each data set and model, and for the control.
    """
    seeds, datasets = results.seed.nunique(), results.dataset.nunique()
    whole = {"dataset": ALL, "model": ALL, "seeds": seeds, "datasets": datasets}
    rows = []
    for row in judge(results).dropna(subset="ours").itertuples():
        found = {"value": row.ours, "low": row.ours_low, "high": row.ours_high, "unit": row.unit}
        rows.append({**whole, "quantity": row.claim, "runtime": row.runtime, **found, "verdict": row.verdict})
    for runtime, part in select_for_claim(results, [Family.STATIC], None).groupby("runtime"):
        ends = pool(part, "cpu_ratio_to_fp32", geometric=True).interval
        found = dict(zip(("value", "low", "high"), ends, strict=True))
        rows.append({**whole, "quantity": STATIC_RATIO, "runtime": runtime, **found, "unit": "ratio"})
    rows += _summarize_student(select_variant(select_batch(results), STUDENT))
    off = control_deviations(results).percent
    rows.append({**whole, "quantity": CONTROL, "runtime": "eager", "value": off.max(), "unit": "%"})
    table = pd.DataFrame(rows, columns=NUMBERS).fillna({"runtime": "", "verdict": ""})
    for place, (name, value) in enumerate(origin._asdict().items()):
        table.insert(place, name, value)
    return table


def _summarize_student(rows: pd.DataFrame) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for quantity, value, unit in ((STUDENT_LOST, "accuracy_drop", "points"), (STUDENT_TIME, "cpu_ratio", "ratio")):
        kind = "ratios" if unit == "ratio" else "means"
        for case in over_seeds(rows, CASE_KEYS, **{kind: [value]}).to_dict("records"):
            numbers = {"value": case[value], "low": case[f"{value}_low"], "high": case[f"{value}_high"]}
            named = {"quantity": quantity, **{name: case[name] for name in (*CASE_KEYS, "seeds")}}
            found.append({**named, "runtime": STUDENT.runtime, **numbers, "unit": unit, "datasets": 1})
    return found


def add_run(table: Path, results: pd.DataFrame, origin: Origin) -> int:
    """Put a run's rows into the table, in place of earlier ones of its name; returns how many they are."""
    own = summarize_run(results, origin)
    earlier = pd.read_csv(table, keep_default_na=False) if table.is_file() else own.iloc[:0]
    whole = pd.concat([earlier[earlier.run != origin.run], own.round(5)], ignore_index=True)
    write_text(table, whole.to_csv(index=False))
    return len(own)


def main(arguments: list[str] | None = None) -> int:
    """Add a run to the table; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tsc_lib.report.other_runs", description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="results.csv of the run")
    for name in Origin._fields:
        parser.add_argument(f"--{name}", required=True)
    return run_command(_main, parser.parse_args(arguments))


def _main(chosen: argparse.Namespace) -> None:
    if not chosen.results.is_file():
        raise UserError(f"there is no file {chosen.results}; give the results.csv of a run")
    results = pd.read_csv(chosen.results)
    if missing := [name for name in ("dataset", "model", "recipe", "cpu_ratio") if name not in results]:
        raise UserError(f"{chosen.results} has no column {missing[0]!r}, so it is no results table")
    origin = Origin(*(getattr(chosen, name) for name in Origin._fields))
    rows = add_run(ROOT / "outputs" / "published" / OTHER_RUNS / "results.csv", results, origin)
    print(f"{rows} rows of {origin.run} in outputs/published/{OTHER_RUNS}/results.csv")


if __name__ == "__main__":
    sys.exit(main())
