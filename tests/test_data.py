"""Data sets in memory: class order, validation split, scaling, batches, description."""

from __future__ import annotations

import os

import numpy as np
import pytest

from tsc_lib.analysis.data_tables import channel_spreads
from tsc_lib.analysis.findings import remarks
from tsc_lib.core.errors import UserError
from tsc_lib.data import Split, batches, describe, load, resolve
from tsc_lib.data.preprocess import natural_key


@pytest.fixture
def make(tmp_path):
    """Write a data set from its data lines; return its folder as text."""

    def write(train: list[str], test: list[str] | None = None) -> str:
        folder = tmp_path / "toy"
        folder.mkdir(exist_ok=True)
        for part, lines in (("TRAIN", train), ("TEST", test or train[:2])):
            (folder / f"toy_{part}.ts").write_text("\n".join(["@problemName toy", "@data", *lines, ""]))
        return str(folder)

    return write


def rows(n: int, label: str, length: int = 4, seed: int = 0, channels: int = 1) -> list[str]:
    """Return n random series of one class."""
    rng = np.random.default_rng([seed, *label.encode()])
    series = rng.normal(3, 2, (n, channels, length)).round(6)
    return [":".join(",".join(map(str, channel)) for channel in one) + f":{label}" for one in series]


def same(a: Split, b: Split) -> bool:
    return len(a) == len(b) and np.array_equal(a.y, b.y) and all(map(np.array_equal, a.x, b.x))


def test_labels_are_in_natural_order(make):
    labels = ["10", "2", "0", "1"]
    folder = make([row for label in labels for row in rows(3, label)], rows(2, "10"))
    data = load(resolve(folder))
    assert data.classes == ("0", "1", "2", "10")
    assert data.test.y.tolist() == [3, 3]
    assert data.test.y.dtype == np.int64
    words = ["day10", "b", "-1", "day9", "2.5", "a1b"]
    assert sorted(words, key=natural_key) == ["-1", "2.5", "a1b", "b", "day9", "day10"]
    odd = ["day" + "9" * 5000, "day010", "day9", "-nan", "1e5", "inf", "\u0663"]
    ordered = ["1e5", "-nan", "day9", "day010", "day" + "9" * 5000, "inf", "\u0663"]
    assert sorted(odd, key=natural_key) == ordered
    assert sorted(["inf", "-nan", "2", "x"], key=natural_key) == sorted(["x", "2", "-nan", "inf"], key=natural_key)


# Splitting


def test_validation_is_stratified_and_deterministic_for_its_seed(make):
    folder = make(rows(100, "a") + rows(20, "b") + rows(5, "c"))
    data, again, other = (load(resolve(folder, split_seed=seed, valid_fraction=0.2)) for seed in (0, 0, 1))
    assert np.bincount(data.valid.y).tolist() == [20, 4, 1]
    assert np.bincount(data.train.y).tolist() == [80, 16, 4]
    assert same(data.valid, again.valid)
    assert not same(data.valid, other.valid)
    load.cache_clear()
    assert same(data.valid, load(resolve(folder)).valid)


@pytest.mark.parametrize("seed", range(5))
def test_copies_stay_on_one_side_even_under_different_labels(make, seed):
    series = [row.split(":")[0] for row in rows(30, "a")]
    copies = [f"{one}:{label}" for i, one in enumerate(series) for label in ("aab", "ab", "b", "a")[i % 4]]
    data = load(resolve(make(copies), split_seed=seed))
    sides = [{one.tobytes() for one in split.x} for split in (data.train, data.valid)]
    assert not sides[0] & sides[1]
    assert len(data.train) + len(data.valid) == len(copies)
    assert set(data.train.y) == set(data.valid.y) == {0, 1}


@pytest.mark.parametrize("seed", range(5))
def test_tiny_classes_stay_in_train(make, seed):
    shared = rows(1, "x")[0].split(":")[0]
    tiny = ["1,2,3,4:one", "2,3,4,5:two", "3,4,5,6:two", f"{shared}:a", f"{shared}:copy"]
    data = load(resolve(make(rows(9, "a") + tiny, rows(2, "a")), split_seed=seed, valid_fraction=0.4))
    assert set(data.train.y) == set(range(len(data.classes)))
    assert np.bincount(data.valid.y, minlength=4)[[data.classes.index("one"), data.classes.index("copy")]].sum() == 0


@pytest.mark.parametrize("fraction", [0, 1, -0.1, float("nan")])
def test_an_impossible_validation_fraction_is_refused(make, fraction):
    spec = resolve(make(rows(3, "a") + rows(3, "b")), valid_fraction=fraction)
    with pytest.raises(UserError, match="validation fraction must lie between 0 and 1"):
        load(spec)


@pytest.mark.parametrize("scaling", ["channel", "series", "none"])
def test_nothing_of_the_test_file_reaches_train_or_validation(make, scaling):
    train = rows(20, "a", channels=2) + rows(10, "b", channels=2)
    before = resolve(make(train, rows(5, "a", channels=2)), scaling=scaling)
    data = load(before)
    # Longer, on another scale, partly copied from train, and with another class balance.
    others = ["1e6,-1e6,3e6,0,1:5,5,5,5,5:b", *train[:12], *rows(3, "b", length=40, channels=2)]
    after = resolve(make(train, others), scaling=scaling)
    assert before.sha256 != after.sha256
    assert before.key() != after.key()
    assert same(data.train, load(after).train)
    assert same(data.valid, load(after).valid)
    assert data.classes == load(after).classes


# Scaling


def test_channel_scaling_is_fitted_on_the_training_series_alone(make):
    folder = make(rows(20, "a", channels=2) + rows(20, "b", channels=2), rows(4, "a", seed=1, channels=2))
    raw, scaled = (load(resolve(folder, scaling=scaling)) for scaling in ("none", "channel"))
    steps = np.concatenate(raw.train.x, axis=1).astype(np.float64)
    mean, deviation = steps.mean(axis=1, keepdims=True), steps.std(axis=1, keepdims=True)
    for part in ("train", "valid", "test"):
        for before, after in zip(getattr(raw, part).x, getattr(scaled, part).x, strict=True):
            assert after.dtype == np.float32
            np.testing.assert_allclose(after, (before - mean) / deviation, atol=1e-5)


def test_series_scaling_uses_each_series_alone(make):
    train = rows(10, "a", length=50, channels=3) + rows(10, "b", length=50, channels=3)
    data = load(resolve(make(train, rows(3, "a", length=9, channels=3)), scaling="series"))
    for series in data.train.x + data.test.x:
        np.testing.assert_allclose(series.mean(axis=1), 0, atol=1e-5)
        np.testing.assert_allclose(series.std(axis=1), 1, atol=1e-4)


@pytest.mark.parametrize("scaling", ["channel", "series"])
def test_a_constant_channel_becomes_zero_not_noise(make, scaling):
    constant = ",".join(["0.1"] * 7)
    train = [f"{constant}:{row}" for row in rows(6, "a", length=7) + rows(6, "b", length=7)]
    data = load(resolve(make(train, train[:2]), scaling=scaling))
    for series in data.train.x + data.valid.x + data.test.x:
        np.testing.assert_allclose(series[0], 0, atol=1e-6)
        assert series[1].std() > 0.1


def test_an_unknown_scaling_is_refused(make):
    spec = resolve(make(rows(3, "a") + rows(3, "b")), scaling="minmax")
    with pytest.raises(UserError, match="unknown scaling 'minmax'; choose channel, series or none"):
        load(spec)


# Batching


def unequal(n: int = 150) -> Split:
    rng = np.random.default_rng(3)
    x = [rng.normal(size=(2, length)).astype(np.float32) + 9 for length in rng.integers(5, 300, n)]
    return Split(x, np.zeros(n, dtype=np.int64))


@pytest.mark.parametrize("seed", [None, 0])
def test_unequal_lengths_are_padded_with_zeros_and_never_changed(seed):
    split = unequal()
    seen = []
    for batch in batches(split, 16, equal_length=False, rng=None if seed is None else np.random.default_rng(seed)):
        assert batch.x.dtype == np.float32
        assert batch.lengths.max() == batch.x.shape[2]
        for row, length, i in zip(batch.x, batch.lengths, batch.index, strict=True):
            np.testing.assert_array_equal(row[:, :length], split.x[i])
            assert not row[:, length:].any()
        seen += batch.index.tolist()
    assert sorted(seen) == list(range(len(split)))
    if seed is None:
        assert seen == np.argsort(split.lengths, kind="stable").tolist()


def test_buckets_spare_padding_and_change_with_every_epoch():
    split, rng = unequal(), np.random.default_rng(0)
    epochs = [list(batches(split, 16, equal_length=False, rng=rng)) for _ in range(2)]
    padded = sum(batch.x[:, 0].size for batch in epochs[0])
    at_random = split.lengths[: 16 * 9].reshape(9, 16).max(axis=1).sum() * 16
    assert padded < 0.9 * at_random
    members = [{frozenset(batch.index.tolist()) for batch in epoch} for epoch in epochs]
    assert not members[0] & members[1]
    longest = [batch.x.shape[2] for batch in epochs[0]]
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.7


def test_equal_lengths_are_stacked_without_lengths(make):
    data = load(resolve(make(rows(30, "a") + rows(30, "b"), rows(9, "a"))))
    assert data.equal_length
    fixed = list(batches(data.train, 32, equal_length=True))
    assert np.concatenate([batch.index for batch in fixed]).tolist() == list(range(len(data.train)))
    assert all(batch.lengths is None for batch in fixed)
    np.testing.assert_array_equal(np.concatenate([batch.x for batch in fixed]), np.stack(data.train.x))
    mixed = [
        np.concatenate([batch.index for batch in batches(data.train, 32, equal_length=True, rng=rng)]).tolist()
        for rng in (np.random.default_rng(0), np.random.default_rng(0), np.random.default_rng(1))
    ]
    assert mixed[0] == mixed[1] != mixed[2]
    assert sorted(mixed[0]) == list(range(len(data.train)))


def test_another_length_in_the_test_file_does_not_reorder_training(make):
    train = rows(30, "a") + rows(30, "b")
    orders = []
    for test in (rows(2, "a"), rows(2, "a", length=9)):
        data = load(resolve(make(train, test)))
        rng = np.random.default_rng(0)
        epoch = list(batches(data.train, 16, equal_length=data.equal_length, rng=rng))
        assert all((batch.lengths is None) == data.equal_length for batch in epoch)
        orders.append(np.concatenate([batch.index for batch in epoch]).tolist())
    assert not data.equal_length
    assert orders[0] == orders[1]


# Describing


def test_describe_is_one_row_with_lengths_and_repeats(make):
    train = [*rows(6, "a", length=5), *rows(3, "b", length=9)]
    folder = make([*train, train[0]], [train[0], train[0], *rows(2, "b", seed=7)])
    (row,) = describe(load(resolve(folder))).to_dict("records")
    assert (row["train"] + row["valid"], row["test"], row["classes"], row["channels"]) == (10, 4, 2, 1)
    assert (row["shortest"], row["median_length"], row["longest"], row["equal_length"]) == (4, 5, 9, False)
    assert (row["repeated_in_train"], row["repeated_in_test"], row["test_in_train"]) == (1, 1, 2)
    assert row["largest_class_share"] == 0.7


def test_copies_are_counted_as_the_files_have_them_not_as_fp32_sees_them(make):
    giant = "1e15,1e15,1e15,2e15:c"  # beside it all others are the same number in fp32
    train = [giant, *rows(6, "a"), *rows(6, "b")]
    dataset = load(resolve(make(train, [train[3], "-0.0,1,2,3:a", "0,1,2,3:b", *rows(4, "b", seed=7)])))
    assert len({x.tobytes() for x in dataset.test.x}) < 3
    assert (dataset.facts.repeated_in_train, dataset.facts.repeated_in_test) == (0, 1)
    assert dataset.facts.test_in_train.tolist() == [True] + [False] * 6


def test_copies_up_to_offset_and_scale_count_where_each_series_is_scaled_by_itself(make):
    train = ["1,2,4,8:a", "1,5,2,0:b", *rows(6, "a"), *rows(6, "b")]
    test = ["5,7,11,19:a", "1,5,2,0:b", "8,4,2,1:a"]
    for scaling, copied in (("channel", [False, True, False]), ("series", [True, True, False])):
        dataset = load(resolve(make(train, test), scaling=scaling))
        assert dataset.facts.test_in_train.tolist() == copied


def test_nothing_is_remarked_where_nothing_could_mislead(make):
    assert remarks(load(resolve(make(rows(10, "a") + rows(10, "b"), rows(5, "a", seed=7))))) == []


def test_copies_in_the_test_file_are_remarked(make):
    train = rows(10, "a") + rows(10, "b")
    (told,) = remarks(load(resolve(make(train, [*train[:2], *rows(2, "a", seed=7)]))))
    assert told.startswith("2 test series of 4 (50.0 %) are also in the training file")


@pytest.mark.parametrize("outliers", [1, 3])
def test_few_series_that_decide_on_the_deviation_are_remarked(make, outliers):
    plain = rows(15, "a") + rows(15, "b")
    giants = [",".join(str(1000 * float(v)) for v in row.split(":")[0].split(",")) + ":a" for row in plain[:outliers]]
    folder = make([*plain, *giants], rows(4, "b", seed=7))
    dataset = load(resolve(folder, valid_fraction=0.01))
    (told,) = [text for text in remarks(dataset) if "far from the rest" in text]
    assert "in channel 1: " in told and "--scaling series" in told
    (channel,) = dataset.facts.channels
    assert channel.deviation > 50 * channel.spread and channel.farthest > len(plain)
    spreads = channel_spreads(dataset)
    assert spreads.columns.tolist() == ["channel", "mean", "deviation", "spread"] and 1 < spreads.spread[0] < 10
    assert not [text for text in remarks(load(resolve(folder, scaling="series"))) if "far from the rest" in text]


def test_a_channel_that_is_silent_in_most_series_is_no_outlier(make):
    silent = [f"0,0,0,0:{row}" for row in rows(14, "a") + rows(14, "b")]
    alive = [f"0,1,0,1:{row}" for row in rows(5, "a", seed=3) + rows(5, "b", seed=3)]
    assert remarks(load(resolve(make(silent + alive, silent[:1] + alive[:1])))) != []  # copies, and nothing else
    assert len(remarks(load(resolve(make(silent + alive, silent[:1] + alive[:1]))))) == 1


def test_channels_without_a_value_of_their_own_are_remarked(make):
    still = [f"7,7,7,7:3,3,3,3:{row}" for row in rows(6, "a") + rows(6, "b")]
    (told,) = remarks(load(resolve(make(still, [f"7,7,7,7:3,3,3,3:{row}" for row in rows(2, "a", seed=7)]))))
    assert told == "Channels 1 and 2 are constant in the training file and in the test file."
    moved = [f"7,7,7,7:3,3,3,9:{row}" for row in rows(2, "a", seed=7)]
    told = remarks(load(resolve(make(still, moved))))
    assert told[0] == "Channel 1 is constant in the training file and in the test file."
    assert told[1].startswith("Channel 2 is constant in the training series, but not in validation or test")


@pytest.mark.skipif(not os.environ.get("AEON_DATA"), reason="AEON_DATA does not name a folder with the study's data")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("RefrigerationDevices", (375, 375, 3, 720, 720, 0, 0, 0)),
        ("ElectricDevices", (8926, 7711, 7, 96, 96, 169, 251, 208)),
        ("PLAID", (537, 537, 11, 100, 1344, 0, 0, 5)),
    ],
)
def test_the_data_sets_of_the_study_are_the_published_ones(name, expected):
    data = load(resolve(name))
    (row,) = describe(data).to_dict("records")
    columns = ["test", "classes", "shortest", "longest", "repeated_in_train", "repeated_in_test", "test_in_train"]
    assert (row["train"] + row["valid"], *(row[column] for column in columns)) == expected
    assert data.classes[-1] == {"RefrigerationDevices": "3", "ElectricDevices": "7", "PLAID": "10"}[name]
    assert {x.tobytes() for x in data.train.x}.isdisjoint(x.tobytes() for x in data.valid.x)
    share = np.bincount(data.valid.y) / np.bincount(np.concatenate([data.train.y, data.valid.y]))
    np.testing.assert_allclose(share, 0.2, atol=0.04)
