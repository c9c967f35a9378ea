from __future__ import annotations

import math

import numpy as np
import pytest

from tsc_lib.core import stats


def test_ratio_of_noisy_blocks_with_bad_neighbours():
    rng = np.random.default_rng(0)
    machine = np.exp(rng.normal(0, 0.5, 40))  # what both sides of a block share
    reference = machine * np.exp(rng.normal(0, 0.02, 40))
    variant = 0.5 * machine * np.exp(rng.normal(0, 0.02, 40))
    variant[:4] *= 5  # disturbed windows
    ratio = stats.ratio_interval(variant, reference)
    assert ratio.estimate == pytest.approx(0.5, rel=0.03)
    assert ratio.low <= 0.5 <= ratio.high
    assert ratio.high - ratio.low < 0.05
    assert stats.ratio_interval(variant, reference) == ratio


def test_ratio_is_reciprocal_when_sides_are_exchanged():
    a, b = np.random.default_rng(1).lognormal(size=(2, 12))
    ab, ba = stats.ratio_interval(a, b), stats.ratio_interval(b, a)
    assert ab.estimate == pytest.approx(1 / ba.estimate)
    assert (ab.low, ab.high) == pytest.approx((1 / ba.high, 1 / ba.low))


@pytest.mark.parametrize("blocks", [3, 5, 9, 15, 40])
def test_ratio_interval_covers_the_truth_as_often_as_it_says(blocks):
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(2000):
        a, b = rng.lognormal(0, 0.1, size=(2, blocks))
        ratio = stats.ratio_interval(a, b)
        hits += ratio.low <= 1 <= ratio.high
    assert 0.93 <= hits / 2000 <= 0.98


def test_a_ratio_of_one_block_has_no_interval():
    ratio = stats.ratio_interval([2], [1])
    assert ratio.estimate == 2 and math.isnan(ratio.low) and math.isnan(ratio.high)


@pytest.mark.parametrize(("a", "b"), [([1, 2], [1]), ([], []), ([1, 0], [1, 1]), ([1, math.nan], [1, 1])])
def test_ratio_refuses_costs_that_cannot_be(a, b):
    with pytest.raises(ValueError, match=r"cost"):
        stats.ratio_interval(a, b)


def test_mean_intervals():
    assert stats.mean_interval([1, 2, 3]) == pytest.approx((2, 2 - 2.4841, 2 + 2.4841), abs=1e-4)  # t = 4.3027
    single = stats.mean_interval([4])
    assert single.estimate == 4
    assert math.isnan(single.low)
    assert math.isnan(single.high)
    centre, low, high = stats.geometric_mean_interval([0.5, 2.0, 1.0])
    assert centre == pytest.approx(1)
    assert low * high == pytest.approx(1)


def test_a_crossed_interval_holds_the_doubt_of_both_kinds_of_repeats():
    rng = np.random.default_rng(3)
    hits = narrow = 0
    for _ in range(300):
        x = rng.normal(0, 1, (4, 1)) + rng.normal(0, 5, 40) + rng.normal(0, 2, (4, 40))
        _, low, high = stats.crossed_mean_interval(x)
        hits += low <= 0 <= high
        _, low, high = stats.mean_interval(x.mean(axis=1))
        narrow += low <= 0 <= high
    assert 0.91 <= hits / 300 <= 1 and hits > narrow


def test_a_crossed_interval_of_one_seed_is_over_the_series():
    x = np.random.default_rng(4).normal(size=(1, 50))
    assert stats.crossed_mean_interval(x) == pytest.approx(stats.mean_interval(x[0]))
    assert stats.crossed_mean_interval(np.ones((3, 5))) == (1, 1, 1)


def test_proportion_interval_is_wilsons():
    assert stats.proportion_interval(8, 10) == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-4)
    none = stats.proportion_interval(0, 10)
    assert none.low == pytest.approx(0, abs=1e-12)
    assert none.high == pytest.approx(0.2775, abs=1e-4)
    for wrong in ((3, 2), (-1, 2), (0, 0)):
        with pytest.raises(ValueError, match="proportion"):
            stats.proportion_interval(*wrong)


def test_paired_difference_is_the_bootstrap_over_series():
    rng = np.random.default_rng(3)
    a = rng.random(400) < 0.8
    b = np.where(rng.random(400) < 0.1, ~a, a)  # agree on nine of ten series
    result = stats.paired_difference_interval(a, b)
    drawn = rng.integers(400, size=(4000, 400))
    direct = np.quantile(a[drawn].mean(1) - b[drawn].mean(1), [0.025, 0.975])
    assert result.estimate == pytest.approx(a.mean() - b.mean())
    assert (result.low, result.high) == pytest.approx(tuple(direct), abs=0.004)
    assert stats.paired_difference_interval(a, a) == (0, 0, 0)
    with pytest.raises(ValueError, match="both sides"):
        stats.paired_difference_interval(a, b[:-1])


def test_pareto_front():
    cost = [1, 2, 2, 3, 1, math.nan, 4]
    score = [0.5, 0.7, 0.6, 0.7, 0.5, 0.9, 0.8]
    assert stats.pareto_front(cost, score).tolist() == [True, True, False, False, True, False, True]
    assert stats.pareto_front([], []).tolist() == []
