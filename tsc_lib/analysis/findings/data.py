"""What the data sets are like."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from tsc_lib.analysis.wording import bullet_list, join_items, pluralize
from tsc_lib.data import Dataset
from tsc_lib.models.embedding import MAX_TOKENS, fit_patch
from tsc_lib.models.zoo import T1

NAMED = 8
"""Classes or channels that are named; of more it is said how many there are."""


def remarks(dataset: Dataset) -> list[str]:
    """What about a data set could mislead whoever trains or tests a model on it; empty if there is nothing to say."""
    facts, test = dataset.facts, len(dataset.test)
    found = [_copies(int(facts.test_in_train.sum()), test)] if facts.test_in_train.any() else []
    found += _unvalidated(dataset)
    still = [number for number, channel in enumerate(facts.channels, 1) if channel.constant and not channel.moves]
    moving = [number for number, channel in enumerate(facts.channels, 1) if channel.moves]
    if still:
        found.append(f"{_name('channel', still)} constant in the training file and in the test file.")
    if moving:
        found.append(
            f"{_name('channel', moving)} constant in the training series, but not in validation or test: no model can "
            "have learned what another value means."
        )
    patch = T1().patch
    if (longer := fit_patch(patch, dataset.longest)) > patch:
        found.append(
            f"The longest series has {dataset.longest} time steps, too many for patches of {patch} time steps and "
            f"{MAX_TOKENS} tokens, so T1 and T2 read it in patches of {longer}; students need such "
            f"patches too, as in student(layers=2, patch={longer})."
        )
    uneven = {number: channel for number, channel in enumerate(facts.channels, 1) if channel.is_uneven}
    if uneven and dataset.scaler.kind != "series":
        worst = max(uneven.values(), key=lambda channel: channel.deviation / channel.spread)
        found.append(
            f"Some training series lie far from the rest in {_name('channel', list(uneven), verb=False)}: the "
            f"deviation is up to {worst.deviation / worst.spread:.0f} times the usual spread, and series "
            f"{worst.farthest} of the training file lies farthest out. They decide on the scaling by channel and on "
            "the ranges of int8, and the others become small; mend or leave out what is wrong, or scale each series "
            "by itself (--scaling series)."
        )
    return found


def _unvalidated(dataset: Dataset) -> list[str]:
    """That classes have no validation series."""
    if not len(dataset.valid):
        return [
            "No class has two different training series, so none is held out for validation: nothing chooses an "
            "epoch, and the last one is kept."
        ]
    counts = np.bincount(dataset.valid.y, minlength=len(dataset.classes))
    missing = [label for label, count in zip(dataset.classes, counts, strict=True) if not count]
    if not missing:
        return []
    return [f"{_name('class', missing)} without a validation series, for want of a second training series."]


def _name(what: str, items: Sequence[object], verb: bool = True) -> str:
    """Items by name, or how many there are, and a verb: "Channel 2 is", "classes a and b are"."""
    plural = {"class": "classes"}.get(what, f"{what}s")
    many = len(items) > 1
    text = f"{plural if many else what} {join_items(items)}" if len(items) <= NAMED else f"{len(items)} {plural}"
    return f"{text[0].upper()}{text[1:]} {'are' if many else 'is'}" if verb else text


def overview(table: pd.DataFrame) -> str:
    """Size and chance level of every data set, from rows of `tsc_lib.data.describe`."""
    return bullet_list(
        f"**{row.dataset}**: {row.train} series to train on, {row.valid} held out of the training file to choose the "
        f"epoch, {row.test} to test on; always answering its largest class is right for "
        f"{100 * row.largest_class_share:.0f} % of the training file."
        for row in table.itertuples()
    )


def cautions(datasets: Iterable[Dataset]) -> str:
    """What about each data set could mislead."""
    found = [f"**{dataset.name}**: {text}" for dataset in datasets for text in remarks(dataset)]
    return bullet_list(
        found
        or ["No test series is also a training series, no class is without validation, and no channel stands out."]
    )


def _copies(repeated: int, test: int) -> str:
    count, verb = pluralize(repeated, "test series", "test series"), "is" if repeated == 1 else "are"
    share = 100 * repeated / test
    return f"{count} of {test} ({share:.1f} %) {verb} also in the training file; accuracy is given without them, too."


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
