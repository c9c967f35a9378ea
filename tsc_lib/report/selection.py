"""Tables of the documentation on how selection transfers: what folds tell of test, and how searches keep promises."""

from __future__ import annotations

import pandas as pd

from tsc_lib.analysis.wording import format_number, markdown_table


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
        cells = [
            text
            for method in methods
            for text in (
                f"{row['test_accuracy', method, 'random']:.3f}",
                *(_points(row["error", method, rule]) for rule in ("random", "blocks")),
            )
        ]
        rows.append([str(name), *cells])
    means = wide.error.abs().mean()
    mean = [
        text for method in methods for text in ("", *(f"{means[method, rule]:.1f}" for rule in ("random", "blocks")))
    ]
    head = [f"{method}, test: | random: | blocks:" for method in methods]
    return markdown_table(" | ".join(["", *head]), [*rows, ["mean size of the error", *mean]])


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
        seen = f"{_points(row['valid_drop'])} ± {row['valid_error']:.1f}, {row['valid_verdict']}"
        lost = [_points(row[name]) for name in ("drop", "bound", "test_drop")]
        rows.append([row["dataset"], f"`{row['recipe']}`", seen, *lost[:2], row["verdict"], lost[2]])
    head = " | pick | on validation: | chose nothing: | at most: | verdict | on test:"
    return markdown_table(head, rows)


def _points(value: float) -> str:
    return format_number(value).replace("-", "\N{MINUS SIGN}")
