"""Folds and validation series: blocks of each class in file order, copies together, nothing lost."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsc_lib.core.errors import UserError
from tsc_lib.data import DataSpec, make_folds, prepare, resolve
from tsc_lib.data.folds import hold_out
from tsc_lib.series.values import Series


def make(labels: str, values: list[int] | None = None) -> list[np.ndarray]:
    return [np.full((1, 4), value, np.float32) for value in values or range(len(labels))]


def as_series(labels: str, tmp_path) -> Series:
    return Series(tmp_path / "toy", make(labels), list(labels), list(range(1, len(labels) + 1)))


def test_folds_are_blocks_of_each_class_in_file_order():
    labels = "abab" * 6 + "a" * 8
    folds = make_folds(make(labels), list(labels), 4)
    for label, sizes in (("a", [5, 5, 5, 5]), ("b", [3, 3, 3, 3])):
        own = folds[np.array(list(labels)) == label]
        assert np.bincount(own).tolist() == sizes
        assert (np.diff(own) >= 0).all()


def test_copies_share_a_fold_whatever_their_label():
    values = [0, 1, 2, 3, 4, 5, 0, 1]
    folds = make_folds(make("aaabbbba", values), list("aaabbbba"), 3)
    assert folds[6] == folds[0] and folds[7] == folds[1]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 30)), min_size=2, max_size=60), st.integers(2, 6))
def test_every_fold_has_series(series, k):
    y, values = np.array(series).T
    folds = make_folds(make("", values.tolist()), y, k)
    assert set(folds) == set(range(folds.max() + 1)) and folds.max() < k
    together = {value: set(folds[values == value]) for value in values}
    assert all(len(each) == 1 for each in together.values())


def test_one_fold_is_refused():
    with pytest.raises(UserError, match="at least 2 folds, not 1"):
        make_folds(make("ab"), list("ab"), 1)


def test_validation_series_of_a_class_are_neighbours_and_the_seed_says_which(tmp_path):
    labels = "aabbb" * 10
    taken = []
    for seed in range(5):
        held_out = hold_out(as_series(labels, tmp_path), ("a", "b"), 0.2, seed)
        for label, size in (("a", 4), ("b", 6)):
            places = np.flatnonzero(held_out[np.array(list(labels)) == label])
            assert places.tolist() == list(range(places[0], places[0] + size))
        taken.append(held_out)
    assert np.array_equal(np.sum(taken, axis=0), np.ones(50))
    assert np.array_equal(hold_out(as_series(labels, tmp_path), ("a", "b"), 0.2, 5), taken[0])


def test_random_validation_series_are_an_option(tmp_path):
    series = as_series("aabbb" * 10, tmp_path)
    held_out = hold_out(series, ("a", "b"), 0.2, 0, "random")
    assert [int(held_out[np.array(series.labels) == label].sum()) for label in "ab"] == [4, 6]
    assert not np.array_equal(held_out, hold_out(series, ("a", "b"), 0.2, 0))
    assert resolve("GunPoint", validation="random").key() != resolve("GunPoint").key()
    with pytest.raises(UserError, match="unknown rule of validation 'luck'; choose blocks or random"):
        resolve("GunPoint", validation="luck")


def test_a_fold_is_kept_out_of_train_and_of_validation(tmp_path):
    labels = "aabbb" * 10 + "cc" + "d"
    series = as_series(labels, tmp_path)
    spec = DataSpec("toy", "", scaling="none", folds=3)
    whole = prepare(dataclasses.replace(spec, folds=0), series, series, ("a", "b", "c", "d"))
    assert len(whole.kept) == 0
    kept = []
    for fold in range(3):
        dataset = prepare(dataclasses.replace(spec, fold=fold), series, series, ("a", "b", "c", "d"))
        assert np.array_equal(dataset.valid.x, whole.valid.x)
        own, rest = ({float(x[0, 0]) for x in split.x} for split in (dataset.kept, dataset.train))
        assert not own & rest and own | rest == {float(x[0, 0]) for x in whole.train.x}
        assert set(dataset.train.y) == {0, 1, 2, 3}
        kept += sorted(own)
    assert len(kept) == len(set(kept)) == len(whole.train) - 2  # the only series of two classes stay in train
