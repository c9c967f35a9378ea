"""What the data sets are like."""

from __future__ import annotations

import pandas as pd

from tsc_lib.analysis.wording import bullet_list, pluralize


def overview(table: pd.DataFrame) -> str:
    """Size, chance level and duplicates of every data set, from rows of `tsc_lib.data.describe`."""
    return bullet_list(
        f"**{row.dataset}**: {row.train} series to train on, {row.valid} held out of the training file to choose the "
        f"epoch, {row.test} to test on; always answering its largest class is right for "
        f"{100 * row.largest_class_share:.0f} % of the training file. {_copies(row.test_in_train, row.test)}"
        for row in table.itertuples()
    )


def _copies(repeated: int, test: int) -> str:
    if not repeated:
        return "No test series is also a training series."
    count, verb = pluralize(repeated, "test series", "test series"), "is" if repeated == 1 else "are"
    return f"{count} ({100 * repeated / test:.1f} %) {verb} also in the training file."


def balance(counts: pd.DataFrame) -> str:
    """The rarest class, and where the test set's classes are distributed otherwise than the training set's."""
    lines = []
    for dataset, part in counts.groupby("dataset", sort=False):
        shares = part.pivot_table("share", "class", "split", sort=False)
        rarest = part[part.split == "train"].sort_values("series", kind="stable").iloc[0]
        shift = (shares.test - shares.train).abs()
        lines.append(
            f"**{dataset}**: the rarest class, {rarest['class']}, has {rarest.series} training series; "
            f"the share of a class differs between train and test by at most {shift.max():.1f} points"
            + (f" (class {shift.idxmax()})." if shift.max() >= 0.05 else ".")
        )
    return bullet_list(lines)


def lengths(table: pd.DataFrame) -> str:
    """Equal or unequal lengths, and how unequal."""
    lines = []
    for dataset, part in table.groupby("dataset", sort=False):
        shortest, longest = part.length.min(), part.length.max()
        if shortest == longest:
            lines.append(f"**{dataset}**: all series have {longest} steps.")
        else:
            lines.append(
                f"**{dataset}**: {shortest} to {longest} steps, median {part.length.median():.0f}. Padding all to the "
                f"longest would make {100 * (1 - part.length.mean() / longest):.0f} % of the input padding; series of "
                "similar length are batched together, padded to the longest of their batch, and the padding is masked."
            )
    return bullet_list(lines)
