"""Transformers beside classics: the table, the front, training paid back, words and figures, from made-up tables."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from tsc_lib import figures
from tsc_lib.analysis import contenders, findings
from tsc_lib.figures.palette import WIDTH

STUDENT = ("student(2, 2) > distill(4)", "onnxruntime")
MODELS = {
    # accuracy, CPU ms a series in a batch, CPU seconds of training
    "T1": (0.60, 1.0, 200.0),
    "ConvTransformer": (0.80, 0.1, 300.0),
    "MiniROCKET": (0.80, 1.0, 10.0),
    "QUANT": (0.70, 0.5, 12.0),
    "1NN-DTW": (0.50, None, 0.1),
}


def variants_of(model: str) -> list[tuple[str, str]]:
    if model not in ("T1", "ConvTransformer"):
        return [("baseline", "aeon")]
    return [("baseline", "eager"), ("baseline", "onnxruntime"), STUDENT]


def made(datasets=("ElectricDevices", "PLAID"), models=tuple(MODELS), seeds=(0, 1, 2)) -> tuple[pd.DataFrame, ...]:
    """The tables of a comparison of models: costs, answers and training."""
    rng = np.random.default_rng(0)
    rows, answers, training = [], [], []
    for dataset, model, seed in itertools.product(datasets, models, seeds):
        accuracy, ms, seconds = MODELS[model]
        names = {"dataset": dataset, "model": model, "seed": seed}
        training.append({**names, "cpu_seconds": seconds, "joules": 5 * seconds})
        for recipe, runtime in variants_of(model):
            own = {**names, "recipe": recipe, "runtime": runtime}
            part = {"aeon": 1, "eager": 1, "onnxruntime": 0.3}[runtime] * (0.1 if recipe != "baseline" else 1)
            right = np.random.default_rng([seed, len(model)]).random(400) < accuracy
            answers.append(
                pd.DataFrame({**own, "series": range(400), "true": "a", "predicted": np.where(right, "a", "b")})
            )
            for size in (1, 64):
                cost = {} if ms is None else costs(ms * part * (3 if size == 1 else 1) * rng.normal(1, 0.02))
                rows.append(
                    {**own, "kind": "network", "batch_size": size, "accuracy": right.mean(), "status": "ok", **cost}
                )
    table = pd.DataFrame(rows)
    for name in contenders.COSTS:
        if name not in table:
            table = table.assign(**{name: np.nan, f"{name}_low": np.nan, f"{name}_high": np.nan, "energy_source": None})
    return table, pd.concat(answers, ignore_index=True), pd.DataFrame(training)


def costs(ms: float) -> dict[str, float | str]:
    ends = {"": 1.0, "_low": 0.9, "_high": 1.1}
    values = {f"cpu_ms_per_sample{end}": factor * ms for end, factor in ends.items()}
    return (
        values
        | {f"energy_mj_per_sample{end}": 5 * factor * ms for end, factor in ends.items()}
        | {"energy_source": "estimated"}
    )


@pytest.fixture(scope="module")
def tables() -> tuple[pd.DataFrame, ...]:
    return made()


@pytest.fixture(scope="module")
def table(tables) -> pd.DataFrame:
    return contenders.contender_table(*tables)


def test_contenders_have_forms_kinds_and_costs(table):
    plaid = table[(table.dataset == "PLAID") & (table.which == "large")].set_index("name")
    assert plaid.form.to_dict() == {
        "T1": "trained", "T1 in onnxruntime": "exported", "T1 compressed": "compressed",
        "ConvTransformer": "trained", "ConvTransformer in onnxruntime": "exported",
        "ConvTransformer compressed": "compressed", "MiniROCKET": "trained", "QUANT": "trained",
        "1NN-DTW": "trained",
    }  # fmt: skip
    assert plaid.kind[["T1", "ConvTransformer", "QUANT"]].tolist() == ["the study's", "ours", "summaries"]
    assert (
        plaid.train_cpu_s["T1 in onnxruntime"] == 200 and plaid.form.eq("compressed").eq(plaid.train_cpu_s.isna()).all()
    )
    assert plaid.cpu_ms_per_sample["QUANT"] == pytest.approx(0.5, rel=0.1) and plaid.batch_size.eq(64).all()
    assert np.isnan(plaid.energy_mj_per_sample["1NN-DTW"]) and plaid.accuracy["1NN-DTW"] == pytest.approx(50, abs=8)
    assert (plaid.accuracy_low < plaid.accuracy).all() and plaid.seeds.eq(3).all()


def test_the_front_is_of_one_data_set_and_batch(table):
    front = contenders.find_front(table)
    assert front.groupby(["dataset", "which"]).ngroups == 4 and "1NN-DTW" not in set(front.name)
    for _, part in front.groupby(["dataset", "which"]):
        assert part.accuracy.is_monotonic_increasing and part.energy_mj_per_sample.is_monotonic_increasing


def test_a_dearer_training_is_paid_back():
    rows = [("small", 10.0, 2.0), ("middle", 20.0, 1.0), ("never", 500.0, 1.5), ("large", 110.0, 0.1)]
    table = pd.DataFrame(rows, columns=["name", "train_cpu_s", "cpu_ms_per_sample"])
    table = table.assign(dataset="d", which="large", accuracy=80.0, model=table.name, kind="kernels")
    found = contenders.cheapest_by_use(table)
    assert found.name.tolist() == ["small", "middle", "large"]
    assert found.since.tolist() == pytest.approx([0, 10_000, 100_000])  # 10 s / 1 ms, 90 s / 0.9 ms
    table.loc[table.name == "middle", "accuracy"] = 78.9  # more than a point below the first classic
    assert contenders.cheapest_by_use(table).name.tolist() == ["small", "large"]


def test_published_numbers_stand_apart_with_their_sources(table):
    found = contenders.beside_published(table)
    electric = found[found.dataset == "ElectricDevices"].set_index("what")
    assert electric.method["best transformer here"] == "ConvTransformer"
    assert electric.accuracy["best published of anything"] == 76.9 and electric.source.iloc[-1] != "run here"
    assert "FreshPRINCE" not in set(table.name)
    assert contenders.beside_published(table.assign(dataset="own")).source.eq("run here").all()


def words(tables: tuple[pd.DataFrame, ...]) -> dict[str, str]:
    """All that is found in the tables."""
    answers, table = tables[1], contenders.contender_table(*tables)
    reference = contenders.choose_reference(table)
    points = contenders.points_beside(answers, reference)
    return {
        "points": findings.beside_reference(points),
        "energy": findings.accuracy_for_energy(table, reference),
        "ranks": findings.models_ranked(contenders.rank_contenders(answers)),
        "published": findings.published(table),
        "training": findings.training_or_use(table),
        "choice": findings.right_choice(table, points),
    }


def test_words_say_what_the_tables_hold(tables):
    said = words(tables)
    assert "2 data sets cannot tell 7 models apart" in said["ranks"]
    assert "PLAID**, surely worse than MiniROCKET, in points: T1 " in said["points"]
    assert "accuracy alone, without costs, of 1NN-DTW" in said["energy"]
    assert "cheapest is ConvTransformer" in said["energy"] or "Nothing that is at least" in said["energy"]
    assert "series on ConvTransformer in onnxruntime costs less in all, at" in said["training"]
    assert "FlatPFN" in said["published"] and "tsml-eval" in said["published"]


def drawn(tables: tuple[pd.DataFrame, ...]) -> dict[str, figures.draw.Figure]:
    """All figures of the tables."""
    answers, table = tables[1], contenders.contender_table(*tables)
    return {
        "points": figures.points_beside(contenders.points_beside(answers, contenders.choose_reference(table))),
        "front": figures.accuracy_against_energy(table),
        "ranks": figures.critical_difference(contenders.rank_contenders(answers)),
        "training": figures.training_paid_back(table),
    }


def test_figures_say_their_message(tables):
    shown = drawn(tables)
    for figure in shown.values():
        figure.draw_without_rendering()
        assert figure.get_size_inches()[0] == WIDTH
    assert shown["front"].get_suptitle().startswith("A classic is on")
    assert "cannot rank" in shown["ranks"].axes[0].get_title()
    assert "mJ per series (estimated)" in shown["front"].axes[-1].get_xlabel()


CASES = {
    "one model": made(("PLAID",), ("T1",), (0,)),
    "a classic alone is slow": made(("own",), ("T1", "1NN-DTW"), (0, 1)),
    "nothing measured": made(("own",), ("1NN-DTW",), (0,)),
}


@pytest.mark.parametrize("case", CASES)
def test_little_to_compare_is_said_and_drawn(case):
    assert all(words(CASES[case]).values())
    for figure in drawn(CASES[case]).values():
        figure.draw_without_rendering()
