"""The page of all results: every row, or of very many what a page can hold."""

from __future__ import annotations

import pandas as pd

from tsc_lib.analysis.archive import savings_by_dataset, summarize_savings
from tsc_lib.analysis.rows import select_batch
from tsc_lib.analysis.tables import readable_results
from tsc_lib.compress import BASELINE

MOST_ROWS = 4_000
"""That a page shows; of more it has a summary, so that it stays below 3 MB."""


def render_results(results: pd.DataFrame) -> str:
    """The results as one table per data set and model, or in sum where they are very many; Markdown with HTML."""
    if not len(results):
        return "There are no results yet."
    if len(results) > MOST_ROWS:
        return _summary_of_many(results)
    parts = []
    for (dataset, model), rows in results.groupby(["dataset", "model"], sort=False):
        parts.append(_show(f"{model} on {dataset}", readable_results(rows)))
    return "\n\n".join(parts)


def _summary_of_many(results: pd.DataFrame) -> str:
    """What a page can show of a whole archive's results: strategies over the data sets, and the models as trained."""
    over = summarize_savings(savings_by_dataset(results)).drop(columns="family", errors="ignore")
    first = select_batch(results[(results.recipe == str(BASELINE)) & (results.seed == results.seed.min())])
    trained = readable_results(first).assign(Model=first.model.to_numpy())
    trained.insert(0, "Data set", first.dataset.to_numpy())
    texts = [
        f"There are {len(results):,} rows, too many for a page; the file above has them all.",
        _show("Strategies over the data sets", over),
        _show("Models as trained, first seed", trained),
    ]
    return "\n\n".join(texts)


def _show(title: str, table: pd.DataFrame) -> str:
    html = table.to_html(index=False, border=0, na_rep="", float_format="{:.4g}".format)
    return f'## {title}\n\n<div class="wide-table">\n{html}\n</div>'
