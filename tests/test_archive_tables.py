"""Tables, figures and sentences over the data sets of an archive, from made-up results."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import synthetic

from tsc_lib import figures
from tsc_lib.analysis import archive, findings

DATASETS = [f"D{number:02d}" for number in range(20)]
TRAITS = {name: {"longest": 50 + 10 * i, "classes": 2 + i % 5, "train": 80, "valid": 20 + i, "channels": 1}
          for i, name in enumerate(DATASETS)}  # fmt: skip
FORMS = {
    ("T1", "baseline", "eager"): (0.75, 1.0),
    ("T1", "baseline", "onnxruntime"): (0.75, 0.3),
    ("T1", "student(2, 2) > distill(80)", "onnxruntime"): (0.76, 0.03),
    ("ConvTransformer", "baseline", "eager"): (0.84, 0.2),
    ("ConvTransformer", "baseline", "onnxruntime"): (0.84, 0.05),
    ("MiniROCKET", "baseline", "aeon"): (0.83, 1.5),
    ("QUANT", "baseline", "aeon"): (0.80, 0.8),
}


def models() -> pd.DataFrame:
    """A table of models side by side, in which ConvTransformer is the worse against QUANT the longer the series are."""
    rng = np.random.default_rng(0)
    rows = []
    for i, dataset in enumerate(DATASETS):
        for (model, recipe, runtime), (accuracy, ratio) in FORMS.items():
            own = accuracy - 0.008 * i * (model == "ConvTransformer") + rng.normal(0, 0.005)
            own = rows[-1]["accuracy"] if recipe == "baseline" and runtime == "onnxruntime" else own
            cost = ratio * rng.lognormal(0, 0.2) if (model, runtime) != ("T1", "eager") else 1.0
            network = runtime == "eager"
            rows.append({
                "dataset": dataset, "model": model, "kind": "", "recipe": recipe, "runtime": runtime, "seed": 0,
                "batch_size": 64, "status": "ok", "accuracy": own, "accuracy_valid": own + 0.05 if network else None,
                "cpu_ratio": cost, "energy_ratio": cost,
            })  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def standings() -> pd.DataFrame:
    return archive.standings(models())


def test_a_contender_stands_once_with_its_cheapest_form(standings: pd.DataFrame) -> None:
    assert not standings.duplicated(["dataset", "name"]).any()
    first = standings[standings.dataset == "D00"].set_index("name")
    assert list(first.index) == ["T1", "T1 compressed", "ConvTransformer", "MiniROCKET", "QUANT"]
    assert first.cpu_ratio["T1"] < 0.6 < 1.0 and first.kind["ConvTransformer"] == "ours"
    assert archive.choose_ours(standings) == "ConvTransformer"


def test_ours_is_counted_against_each_classic(standings: pd.DataFrame) -> None:
    pairs = archive.beside_classics(standings, "ConvTransformer")
    assert pairs.groupby("classic").size().to_dict() == {"MiniROCKET": 20, "QUANT": 20}
    np.testing.assert_allclose(pairs.points, pairs.accuracy - pairs.classic_accuracy)
    won, lost = int((pairs.points[pairs.classic == "QUANT"] > 0).sum()), int((pairs.points < 0).sum())
    ranking = archive.rank_standings(standings)
    text = findings.beside_classics(pairs, ranking)
    assert f"**Against QUANT** ConvTransformer wins {won}, draws 0 and loses {20 - won} of 20" in text and lost
    own = ranking.pairs[(ranking.pairs[["first", "second"]] == "QUANT").any(axis=1)]
    own = own[(own[["first", "second"]] == "ConvTransformer").any(axis=1)].iloc[0]
    assert f"p = {own.p_holm:.2g} by Wilcoxon" in text


def test_what_a_data_set_tells_beforehand_is_found(standings: pd.DataFrame) -> None:
    table = archive.join_traits(archive.beside_classics(standings, "ConvTransformer"), TRAITS)
    assert table.train.tolist()[:2] == [100, 100]
    found = archive.correlate_traits(table).set_index(["classic", "trait"])
    assert "channels" not in found.index.get_level_values("trait")
    assert found.rho["QUANT", "longest"] < -0.9 and found.p_holm["QUANT", "longest"] < 0.001
    text = findings.where_wrong(table, found.reset_index())
    assert "The more time steps of the longest series, the less the transformer gains on QUANT" in text
    few = archive.correlate_traits(table[table.dataset.isin(DATASETS[:5])])
    assert few.empty and "fewer than 6 data sets" in findings.where_wrong(table, few)


def test_the_front_of_rank_and_energy(standings: pd.DataFrame) -> None:
    front = archive.ranks_and_energy(standings, archive.rank_standings(standings)).set_index("name")
    assert front.front["T1 compressed"] and not front.front["T1"]
    assert (front.energy_ratio_low < front.energy_ratio_high).all()


def test_savings_over_data_sets(results: pd.DataFrame) -> None:
    savings = archive.savings_by_dataset(results)
    summary = archive.summarize_savings(savings).set_index("strategy")
    part = savings[savings.strategy == summary.index[0]]
    assert summary.cpu_ratio.iloc[0] == pytest.approx(part.cpu_ratio.median())
    assert summary.within.iloc[0] == (part.points_lost <= 1).sum()
    assert summary.index[0] in findings.savings_over_datasets(savings)
    least = savings.assign(cpu_ratio=savings.cpu_ratio.where(savings.index % 2 == 0, 0.04), points_lost=0.5)
    both = archive.summarize_savings(least).set_index("strategy").small_too
    assert both.sum() == (least.cpu_ratio <= 0.05).sum() > 0
    assert f"at most 1/20 of the CPU time left, too, on {both.max()}." in findings.savings_over_datasets(least)
    alone = pd.concat([savings, savings.iloc[:1].assign(strategy="of one data set")])
    figure = figures.savings_over_datasets(alone)
    assert len(figure.axes[0].get_yticks()) == savings.strategy.nunique()


def test_validation_is_set_beside_test_and_promises_are_counted() -> None:
    gaps = archive.validation_gaps(models())
    assert len(gaps) == 40 and gaps.points.to_numpy() == pytest.approx(5.0)
    promises = pd.DataFrame({"bound": [1.0, 2.0, np.nan], "drop": [0.5, 0.5, np.nan], "test_drop": [0.8, 2.5, 1.0]})
    text = findings.promises_kept(gaps, promises)
    assert "Of 2 searches, 1 lost no more on test than the bound" in text and "and 1 at most 1 point more" in text


def test_failed_data_sets_are_named_with_their_reason(results: pd.DataFrame) -> None:
    failed = synthetic.failed(results, results.dataset == "PLAID", "failed: one class")
    text = findings.archive_overview(failed, models())
    assert "22 data sets of 23 have results" in text and "PLAID: failed: one class." in text
    assert "join several processors" in findings.archive_processors(["A", "B", "A"])
    assert "several" not in findings.archive_processors(["A"])


def test_figures_are_drawn_with_and_without_rows(standings: pd.DataFrame, results: pd.DataFrame) -> None:
    pairs = archive.beside_classics(standings, "ConvTransformer")
    traits, savings = archive.join_traits(pairs, TRAITS), archive.savings_by_dataset(results)
    front = archive.ranks_and_energy(standings, archive.rank_standings(standings))
    gaps, promises = archive.validation_gaps(models()), pd.DataFrame({"bound": [1.0], "test_drop": [0.5]})
    drawn = [
        (figures.savings_over_datasets, savings),
        (figures.accuracy_beside_classics, pairs),
        (figures.rank_against_energy, front),
        (figures.traits_of_wins, traits),
        (lambda table: figures.promises_kept(table, promises[: len(table)]), gaps),
    ]
    for draw, table in drawn:
        for rows in (table, table.head(0)):
            figure = draw(rows)
            figure.canvas.draw()
            assert figure.get_size_inches()[0] == 7.5
