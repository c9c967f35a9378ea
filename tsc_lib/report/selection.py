"""Tables of the documentation on how selection transfers: what folds tell of test, and how searches keep promises."""

from __future__ import annotations

import pandas as pd

from tsc_lib.analysis.wording import format_number, markdown_table
from tsc_lib.report.published import signed
from tsc_lib.study.fold_accuracy import RULES


def render_folds(table: pd.DataFrame) -> str:
    """The errors of random folds and of blocks on each data set, the most optimistic random folds first.

    Parameters
    ----------
    table : DataFrame
        From `tsc_lib.study.fold_accuracy.compare_folds`.
    """
    methods = list(dict.fromkeys(table.method))
    wide = table.pivot_table(index="dataset", columns=["method", "rule"], values=["error", "test_accuracy"])
    wide = wide.sort_values(("error", methods[0], "random"), ascending=False)
    rows = []
    for name, row in wide.iterrows():
        cells = [str(name)]
        for method in methods:
            cells.append(f"{row['test_accuracy', method, 'random']:.3f}")
            cells += [format_number(row["error", method, rule]) for rule in RULES]
        rows.append(cells)
    means, last = wide.error.abs().mean(), ["mean size of the error"]
    for method in methods:
        last += ["", *(f"{means[method, rule]:.1f}" for rule in RULES)]
    head = [f"{method}, test: | random: | blocks:" for method in methods]
    return signed(markdown_table(" | ".join(["", *head]), [*rows, last]))


def render_promises(table: pd.DataFrame) -> str:
    """What each search promised of its pick, and what it lost on test.

    Parameters
    ----------
    table : DataFrame
        Of ``benchmarks/promises.py``.
    """
    rows = []
    for row in table.to_dict("records"):
        if pd.isna(row["drop"]):
            rows.append([row["dataset"], "nothing within the drop on validation", *[""] * 5])
            continue
        seen = f"{format_number(row['valid_drop'])} ± {row['valid_error']:.1f}, {row['valid_verdict']}"
        lost = [format_number(row[name]) for name in ("drop", "bound", "test_drop")]
        rows.append([row["dataset"], f"`{row['recipe']}`", seen, *lost[:2], row["verdict"], lost[2]])
    head = " | pick | on validation: | chose nothing: | at most: | verdict | on test:"
    return signed(markdown_table(head, rows))
