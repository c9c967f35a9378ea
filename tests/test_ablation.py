"""What a step contributes is read off the measured variants, by pairs within a session."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import synthetic

from tsc_lib import figures
from tsc_lib.analysis import ablation, findings
from tsc_lib.compress import REFERENCE, Variant

RECIPE, RUNTIME = "student > distill(60, 2.0, 0.5, 0.001) > int8(static)", "onnxruntime"
VARIANT = Variant.parse(RECIPE, RUNTIME)
COSTS = {
    ("baseline", "eager"): 1.0,
    ("baseline", RUNTIME): 0.5,
    ("student > distill(60, 2.0, 0.5, 0.001)", RUNTIME): 0.05,
    (RECIPE, RUNTIME): 0.04,
    (RECIPE, "eager"): 0.1,
    ("student > finetune(60, 0.001) > int8(static)", RUNTIME): 0.04,
    ("prune(random, 0.5)", "eager"): 0.4,
    ("prune(taylor, 0.5)", "eager"): 0.4,
    ("prune(taylor, 0.2)", "eager"): 0.8,
    ("prune(taylor, 0.5) > finetune(4)", "eager"): 0.4,
    ("prune(random, 0.5) > finetune(4)", "eager"): 0.4,
    ("prune(random, 0.5) > finetune(4) > int8(static)", "inductor"): 0.3,
}
LOST = {"random": 9.0, "taylor": 4.0, "finetune(60": 3.0}


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """A table in which every ratio and every loss is known."""
    recipes: dict[str, tuple[str, ...]] = {}
    for recipe, runtime in COSTS:
        recipes[recipe] = (*recipes.get(recipe, ()), runtime)

    def effect(recipe: str, runtime: str, rng: np.random.Generator) -> tuple[float, float, float]:
        lost = next((points for name, points in LOST.items() if name in recipe), 0.25 * (recipe != "baseline"))
        return lost, COSTS[recipe, runtime], 1.0

    monkeypatch.setattr(synthetic, "variants", lambda: recipes)
    monkeypatch.setattr(synthetic, "effect", effect)
    return synthetic.results(("PLAID", "ElectricDevices"))


def test_the_way_names_what_each_place_has_more_and_its_factor(results: pd.DataFrame) -> None:
    way = ablation.way_to(results, VARIANT).query("dataset == 'PLAID' and model == 'T1'")
    assert way.step.tolist() == ["fp32, eager", "fp32, onnxruntime", "student, distilled", "static int8"]
    np.testing.assert_allclose(way.factor, [1, 0.5, 0.1, 0.8])
    np.testing.assert_allclose(way.factor.prod(), way.cpu_ratio.iloc[-1])


def test_a_recipe_beside_itself_without_each_step(results: pd.DataFrame) -> None:
    table = ablation.without_each(results, VARIANT).query("dataset == 'PLAID' and model == 'T2'")
    assert table.left_out.tolist() == ["nothing", "the teacher", "static int8", "onnxruntime, in eager"]
    np.testing.assert_allclose(table.cpu_ratio, [0.04, 0.04, 0.05, 0.1])
    np.testing.assert_allclose(table.points_lost, [0.25, 3.0, 0.25, 0.25])


def test_criteria_are_compared_where_chance_was_tried(results: pd.DataFrame) -> None:
    table = ablation.criteria(results)
    assert set(table.ratio) == {0.5}
    one = table.query("dataset == 'PLAID' and model == 'T1'").set_index(["criterion", "training"]).points_lost
    assert one.to_dict() == {
        ("random", "as pruned"): 9.0,
        ("taylor", "as pruned"): 4.0,
        ("random", "fine-tuned"): 9.0,
        ("taylor", "fine-tuned"): 4.0,
    }
    assert "taylor, as pruned**: 5.0 points better than random" in findings.criteria(table)


def points_lost(results: pd.DataFrame, points: float, high: float) -> pd.DataFrame:
    """As many points lost on every data set by every model."""
    cells = results[["dataset", "model"]].drop_duplicates()
    return cells.assign(points_lost=points, points_lost_low=2 * points - high, points_lost_high=high, seeds=3)


def test_the_headline_is_judged_by_its_intervals(results: pd.DataFrame) -> None:
    sure = points_lost(results, 0.3, 0.9)
    assert findings.combined_savings(results, sure, VARIANT).count("**reached**") == 8
    short = results.copy()
    short.loc[short.recipe == RECIPE, "cpu_ratio"] = 0.06
    said = findings.combined_savings(short, sure, VARIANT)
    assert said.count("**not reached** (less than 20 times)") == 4
    said = findings.combined_savings(results, points_lost(results, 1.5, 1.9), VARIANT)
    assert said.count("(more than 1 point)") == 8
    said = findings.combined_savings(results, points_lost(results, 0.3, 1.1), VARIANT)
    assert said.count("0.3 [-0.5, 1.1]") == said.count("not beyond doubt in accuracy") == 8


def test_savings_multiply_or_not(results: pd.DataFrame) -> None:
    assert "0.80 of the product" in findings.product_of_savings(results, VARIANT)
    assert "without the teacher" in findings.ablation(results, VARIANT).lower()
    assert "2.0 times less" in findings.savings_by_step(results, VARIANT)


def test_a_profile_without_a_recipe_says_so(results: pd.DataFrame) -> None:
    nothing = REFERENCE
    for text in (
        findings.ablated_variant(nothing),
        findings.combined_savings(results, points_lost(results, 0.0, 0.0), nothing),
        findings.product_of_savings(results, nothing),
        findings.savings_by_step(results, nothing),
        findings.ablation(results, nothing),
    ):
        assert text.startswith("This profile names no recipe")
    way, parts = ablation.ways_to(results, nothing), ablation.without_each(results, nothing)
    for figure in (figures.savings_by_step(way), figures.ablation(parts)):
        assert "does not run the recipe" in figure.texts[0].get_text()


def test_figures_show_every_data_set_and_model(results: pd.DataFrame) -> None:
    drawn = (
        figures.savings_by_step(ablation.ways_to(results, VARIANT)),
        figures.ablation(ablation.without_each(results, VARIANT)),
        figures.importance_criteria(ablation.criteria(results)),
        figures.front_beside_study(results),
    )
    for figure in drawn:
        assert [ax.get_title() for ax in figure.axes[:2]] == ["PLAID", "ElectricDevices"]
        assert len(figure.axes) == 4


def test_a_front_that_was_not_run_says_so(results: pd.DataFrame) -> None:
    lacking = results[(results.dataset != "PLAID") | (results.model != "T2")]
    said = [[text.get_text() for text in ax.texts] for ax in figures.front_beside_study(lacking).axes]
    assert [texts.count("not run") for texts in said] == [0, 0, 1, 0]
