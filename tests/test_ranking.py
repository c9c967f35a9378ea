"""Statistics over models and data sets: known answers, and honest ones where data sets are few."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from aeon.benchmarking.stats import check_friedman
from aeon.visualisation import plot_critical_difference

from tsc_lib.analysis import ranking
from tsc_lib.analysis.references import best_published, reference_accuracies
from tsc_lib.core.errors import UserError


def accuracies(datasets: int, gaps: tuple[float, ...], noise: float = 1.0) -> pd.DataFrame:
    """Models A, B, ... with these mean accuracies (%) on so many data sets, two seeds each."""
    rng = np.random.default_rng(0)
    rows = [
        (f"d{number}", model, seed, gap + rng.normal(0, noise) + number)
        for number in range(datasets)
        for model, gap in zip("ABCDE", gaps, strict=False)
        for seed in (0, 1)
    ]
    return pd.DataFrame(rows, columns=["dataset", "model", "seed", "accuracy"])


def predictions(right: dict[str, np.ndarray], dataset: str = "d") -> pd.DataFrame:
    """Predictions of models that are right (seeds, series) as told, of two classes."""
    rows = [
        (dataset, model, seed, series, "a", "a" if hit else "b")
        for model, seeds in right.items()
        for seed, hits in enumerate(seeds)
        for series, hit in enumerate(hits)
    ]
    return pd.DataFrame(rows, columns=["dataset", "model", "seed", "series", "true", "predicted"])


def test_accuracy_has_an_interval_over_seeds_and_series():
    rng = np.random.default_rng(1)
    right = {"A": rng.random((5, 200)) < 0.8, "B": np.ones((2, 200), bool)}
    table = ranking.accuracy_by_model(predictions(right)).set_index("model")
    assert table.accuracy["A"] == pytest.approx(100 * right["A"].mean())
    wilson = scipy.stats.binomtest(int(right["A"].sum()), 1000).proportion_ci(method="wilson")
    assert table.accuracy_high["A"] - table.accuracy_low["A"] > 100 * (wilson.high - wilson.low)  # series repeat
    assert table.loc["B", ["accuracy", "accuracy_low", "accuracy_high"]].tolist() == [100, 100, 100]
    assert table.seeds.tolist() == [5, 2]


def test_models_are_compared_on_the_series_and_seeds_that_they_share():
    rng = np.random.default_rng(2)
    reference = rng.random((3, 300)) < 0.6
    right = {"R": reference, "same": reference[:2], "worse": reference & (rng.random((3, 300)) < 0.7)}
    table = ranking.beside(predictions(right), "R").set_index("model")
    assert table.loc["same", ["seeds", "points", "points_low", "points_high"]].tolist() == [2, 0, 0, 0]
    assert table.verdict.to_dict() == {"same": "not told apart", "worse": "worse"}
    assert table.points["worse"] == pytest.approx(100 * (right["worse"].mean() - reference.mean()))
    assert ranking.beside(predictions(right), "absent").empty


def test_holm_by_hand():
    assert ranking.correct_by_holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert ranking.correct_by_holm([0.5, 0.9]).tolist() == [1, 1]
    assert ranking.correct_by_holm([]).tolist() == []


def test_pairs_have_the_p_values_of_scipy():
    found = ranking.rank(accuracies(12, (70, 71, 74)))
    assert list(found.ranks.index) == ["C", "B", "A"] and found.datasets == 12
    for pair in found.pairs.itertuples():
        first, second = found.accuracy[pair.first], found.accuracy[pair.second]
        assert pair.p == pytest.approx(scipy.stats.wilcoxon(first, second).pvalue)
        assert (pair.wins, pair.losses) == ((first > second).sum(), (first < second).sum())
        assert pair.points == pytest.approx((first - second).mean())
    assert found.friedman == pytest.approx(check_friedman(found.accuracy.rank(axis=1, ascending=False).to_numpy()))


def test_draws_share_their_rank_and_are_no_difference():
    table = accuracies(8, (70, 80)).assign(model=lambda t: t.model)
    twin = table[table.model == "B"].assign(model="C", accuracy=lambda t: t.accuracy + 1e-12)
    found = ranking.rank(pd.concat([table, twin]))
    assert found.ranks.to_dict() == {"B": 1.5, "C": 1.5, "A": 3}
    same = found.pairs.set_index(["first", "second"]).loc[("B", "C")]
    assert (same.draws, same.p, same.p_holm) == (8, 1, 1) and same.alike > 0.99


def test_the_posterior_knows_better_alike_and_worse():
    pairs = ranking.rank(accuracies(15, (70, 70.2, 75), noise=0.2)).pairs.set_index(["first", "second"])
    assert pairs.alike[("B", "A")] > 0.95  # within a point
    assert pairs.first_better[("C", "A")] > 0.95
    chances = pairs[["first_better", "alike", "second_better"]]
    assert np.allclose(chances.sum(axis=1), 1)


def test_groups_are_those_of_aeon_where_differences_are_clear():
    table = accuracies(25, (60, 60, 75, 75), noise=3)
    found = ranking.rank(table)
    assert [set(group) for group in found.cliques] == [{"C", "D"}, {"A", "B"}]
    _, ax, p_values = plot_critical_difference(
        found.accuracy.to_numpy(), list(found.accuracy), correction="holm", return_p_values=True
    )
    apart = p_values[:2, 2:]
    assert (apart < 0.05 / 3).all() and p_values[0, 1] > 0.05 and p_values[2, 3] > 0.05
    ax.figure.clear()


@pytest.mark.parametrize("datasets", [1, 2, 3])
def test_few_data_sets_tell_no_models_apart(datasets):
    found = ranking.rank(accuracies(datasets, (50, 60, 70, 80)))
    assert found.needed == 8 > found.datasets == datasets
    assert found.cliques == [("D", "C", "B", "A")]
    assert (found.pairs.p >= 0.25).all() and np.isnan(found.friedman)
    assert found.pairs[["first_better", "alike", "second_better"]].isna().all(axis=None)


def test_the_fewest_data_sets_are_enough():
    for models in (2, 3, 4):
        needed = ranking.fewest_datasets(models)
        for datasets, told in ((needed, True), (needed - 1, False)):
            found = ranking.rank(accuracies(datasets, (50, 60, 70, 80)[:models]))
            assert (found.pairs.p_holm.min() <= ranking.LEVEL) == told


def test_data_sets_that_lack_a_model_have_no_part_in_the_ranks():
    table = accuracies(7, (60, 80, 70))
    found = ranking.rank(table[(table.model != "A") | (table.dataset != "d3")])
    assert found.datasets == 6 and "d3" not in found.accuracy.index
    assert found.pairs.set_index(["first", "second"]).datasets.to_dict() == {
        ("B", "C"): 7,
        ("B", "A"): 6,
        ("C", "A"): 6,
    }


@pytest.mark.parametrize("table", [accuracies(3, (70,)), accuracies(1, (70, 80)).iloc[:0]])
def test_nothing_to_rank_is_said_in_one_sentence(table):
    with pytest.raises(UserError, match="from two on"):
        ranking.rank(table)


def test_published_accuracies_have_a_source_each_and_their_best():
    table = reference_accuracies()
    assert table.source.str.len().gt(5).all() and not table.duplicated(["dataset", "method"]).any()
    assert table.accuracy.between(0, 1).all()
    best = {name: (best_published(name).method, best_published(name).accuracy) for name in table.dataset.unique()}
    assert best["ElectricDevices"] == ("FreshPRINCE", 0.769) and best["RefrigerationDevices"] == ("RIST", 0.611)
    assert best_published("PLAID").accuracy == 0.948
    assert best_published("ElectricDevices", transformers=True).method == "FlatPFN (pretrained)"
    assert best_published("PLAID", transformers=True).accuracy == 0.729
    assert best_published("GunPoint") is None
