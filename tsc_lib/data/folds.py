"""Which training series are held out together: contiguous blocks of each class in file order, or random ones.

Files of an archive are often written household by household, or person by person, so that neighbours in a file come
from one source. Series held out at random then have siblings among those that a model was trained on, and look easier
than a test set from other sources. A block of neighbours has few. Where the order tells nothing, a block is as good as
random.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tsc_lib.core.errors import UserError
from tsc_lib.data.facts import content
from tsc_lib.series.values import Series

RULES = ("blocks", "random")
"""How validation series are chosen."""


def make_folds(x: Sequence[np.ndarray], y: Sequence[object] | np.ndarray, k: int) -> NDArray[np.int64]:
    """Cut series into folds: contiguous blocks of each class in file order, exact copies of a series in one fold.

    Blocks of the same number belong to one fold, since a source often contributes to several classes.

    Parameters
    ----------
    x : sequence of ndarray of shape (channels, length)
        The series, in file order.
    y : sequence
        The class of each; copies under several labels belong to the class of the first of them.
    k : int
        Folds, at least 2.

    Returns
    -------
    ndarray of int, shape (series,)
        The fold of each series, from 0. There are fewer than `k` folds where no class has `k` different series. A
        class of one different series lies in one fold whole, so what is trained on the others does not know it.

    Raises
    ------
    UserError
        If `k` is less than 2.

    Examples
    --------
    >>> import numpy as np
    >>> x = [np.full((1, 3), value) for value in (1, 2, 3, 4, 5, 5)]
    >>> make_folds(x, ["a", "b", "a", "b", "a", "a"], 2).tolist()
    [0, 0, 1, 1, 1, 1]
    """
    if k < 2:
        raise UserError(f"series are cut into at least 2 folds, not {k}")
    groups = _group_copies(x)
    labels = np.asarray(y)
    first = labels[[group[0] for group in groups]]
    sizes = {label: int((first == label).sum()) for label in np.unique(first)}
    k = min(k, max(sizes.values()))
    folds = np.zeros(len(labels), dtype=np.int64)
    for label, size in sizes.items():
        for place, number in enumerate(np.flatnonzero(first == label)):
            folds[groups[number]] = (2 * place + 1) * k // (2 * size)
    return folds


def hold_out(train: Series, classes: tuple[str, ...], fraction: float, seed: int, rule: str = "blocks") -> np.ndarray:
    """Choose the validation series: some of every class, copies on one side, no class taken from train altogether.

    Parameters
    ----------
    train : Series
        The training file.
    classes : tuple of str
        Its labels.
    fraction : float
        Share of each class to hold out, at least one series where the class has two different ones.
    seed : int
        Which ones. Of blocks, 0 is the first of each class, and so on; after the last comes the first again.
    rule : {"blocks", "random"}
        Whether those of a class are neighbours in the file.

    Returns
    -------
    numpy.ndarray
        True for each held-out series, bool (n,); there may be none.

    Raises
    ------
    UserError
        If the fraction is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise UserError(f"the validation fraction must lie between 0 and 1, not {fraction}")
    groups = _group_copies(train.x)
    y = np.array([classes.index(label) for label in train.labels])
    # Copies may carry different labels, so a group is counted in every class it belongs to.
    counts = np.stack([np.bincount(y[group], minlength=len(classes)) for group in groups])
    choose = _choose_blocks if rule == "blocks" else _choose_at_random
    chosen = np.zeros(len(y), dtype=bool)
    for number in choose(counts, fraction, seed):
        chosen[groups[number]] = True
    return chosen


def _choose_blocks(counts: np.ndarray, fraction: float, seed: int) -> list[int]:
    """A block of the groups of each class; `counts` are of series, shape (groups, classes)."""
    left, chosen = counts.sum(axis=0), set[int]()
    blocks = max(2, round(1 / fraction))
    for column in counts.T:
        own = np.flatnonzero(column)
        wanted = max(1, round(fraction * len(own))) - len(chosen & set(own.tolist()))
        start = round(seed % blocks / (blocks - 1) * (len(own) - wanted))
        for group in np.roll(own, -start).tolist():
            spared = (left > counts[group]) | (counts[group] == 0)
            if wanted > 0 and group not in chosen and spared.all():
                chosen.add(group)
                left, wanted = left - counts[group], wanted - 1
    return sorted(chosen)


def _choose_at_random(counts: np.ndarray, fraction: float, seed: int) -> list[int]:
    left, chosen = counts.sum(axis=0), []
    wanted = np.maximum(1, np.rint(fraction * left)).astype(int)
    for group in np.random.default_rng(seed).permutation(len(counts)).tolist():
        count = counts[group]
        if np.all(count <= wanted) and np.all((left > count) | (count == 0)):
            chosen.append(group)
            wanted, left = wanted - count, left - count
    return chosen


def _group_copies(x: Sequence[np.ndarray]) -> list[list[int]]:
    """Positions of equal series, in the order of the first of each."""
    groups: dict[tuple[tuple[int, ...], bytes], list[int]] = {}
    for position, series in enumerate(x):
        groups.setdefault(content(series), []).append(position)
    return list(groups.values())
