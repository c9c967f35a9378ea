"""Every figure is drawn, with runs and without overlaps, from whole, small and broken tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest
import synthetic
from matplotlib.figure import Figure

from tsc_lib import figures
from tsc_lib.analysis import data_tables, findings, tables
from tsc_lib.analysis.claims import judge
from tsc_lib.analysis.references import reference_accuracies
from tsc_lib.analysis.rows import annotate
from tsc_lib.compress import Family, Variant
from tsc_lib.data import Dataset, Split
from tsc_lib.data.facts import Facts
from tsc_lib.energy import SourceMismatchError
from tsc_lib.figures.draw import format_change, model_handles
from tsc_lib.figures.palette import LOOKS, WIDTH
from tsc_lib.figures.scales import plain_log
from tsc_lib.series.scaling import Scaler

RECIPE = "prune(l1, 0.5)"


def of_results(results: pd.DataFrame) -> dict[str, Callable[[], Figure]]:
    """Every figure that is made from results and what belongs to them."""
    dataset = results.dataset.iloc[0]
    return {
        "learning_curves": lambda: figures.learning_curves(synthetic.histories(results)),
        "accuracy": lambda: figures.accuracy_beside_references(results, reference_accuracies()),
        "confusion": lambda: figures.confusion_matrices(synthetic.predictions(results), dataset),
        "cost": lambda: figures.model_cost(results),
        "accuracy_against_ratio": lambda: figures.accuracy_against_ratio(results),
        "speed_against_ratio": lambda: figures.speed_against_ratio(results),
        "removed": lambda: figures.kept_structure(synthetic.removed(results), RECIPE),
        "quantized_accuracy": lambda: figures.int8_accuracy(results),
        "quantized_cost": lambda: figures.int8_cost(results, "cpu_ms_per_sample", "CPU ms/series"),
        "energy": lambda: figures.energy_by_strategy(results),
        "views": lambda: figures.energy_beside_model(results),
        "saving": lambda: figures.saving_against_loss(results),
        "pareto": lambda: figures.pareto(results),
        "control": lambda: figures.aa_control(synthetic.aa_windows(results), results),
        "main": lambda: figures.main_differences(results),
        "claims": lambda: figures.claims_beside_ours(judge(results)),
    }


NAMES = list(of_results(synthetic.results(datasets=("PLAID",), models=("T1",), seeds=(0,))))
SMOKE = ["baseline", "int8(dynamic)", "mask(l1, 0.5)", "prune(l1, 0.5)", "prune(l1, 0.5) > finetune(4)"]


def texts(figure: Figure) -> Iterator[str]:
    """All words on a figure."""
    for ax in figure.axes:
        yield from (ax.get_title(), ax.get_title(loc="left"), ax.get_xlabel(), ax.get_ylabel())
        yield from (t.get_text() for t in ax.texts)
        yield from (t.get_text() for t in ax.get_yticklabels())
    yield from (t.get_text() for legend in figure.legends for t in legend.get_texts())


def overlapping_titles(figure: Figure) -> list[tuple[str, str]]:
    """Titles and axis labels that run into each other or off the figure."""
    figure.draw_without_rendering()
    page = figure.bbox
    shown = [t for ax in figure.axes for t in (ax.title, ax.xaxis.label, ax.yaxis.label) if t.get_text()]
    boxes = [(t.get_text(), t.get_window_extent()) for t in shown]
    bad = [(a, "the margin") for a, box in boxes if box.x0 < page.x0 - 2 or box.x1 > page.x1 + 2]
    pairs = [(a, b) for i, (a, first) in enumerate(boxes) for b, second in boxes[:i] if first.overlaps(second)]
    return bad + pairs


@pytest.mark.parametrize("name", NAMES)
def test_figure_of_a_whole_study(results, name):
    figure = of_results(results)[name]()
    assert isinstance(figure, Figure) and figure.get_size_inches()[0] == WIDTH
    assert not overlapping_titles(figure)
    data = [ax for ax in figure.axes if ax.axison]
    assert all(ax.has_data() for ax in data)
    assert "not run" not in texts(figure)


@pytest.mark.parametrize("name", NAMES)
def test_figure_of_a_smoke_run(name):
    small = synthetic.results(datasets=("ItalyPowerDemand",), models=("T1",), seeds=(0, 1))
    small = small[small.recipe.isin(SMOKE) & (small.runtime == "eager")]
    figure = of_results(small)[name]()
    figure.draw_without_rendering()
    assert "nan" not in " ".join(texts(figure)).lower()


@pytest.mark.parametrize("name", NAMES)
def test_figure_with_failed_runs_and_one_seed(name):
    table = synthetic.results(datasets=("PLAID",), seeds=(0,))
    table = synthetic.failed(table, table.recipe.str.contains("int8") | (table.model == "T2"))
    of_results(table)[name]().draw_without_rendering()


def test_four_models_are_told_apart_by_their_marks() -> None:
    marks = model_handles(["a", "b", "c", "d"])
    assert len({(str(mark.get_markerfacecolor()), mark.get_fillstyle()) for mark in marks}) == 4


@pytest.mark.parametrize("name", NAMES)
def test_figure_of_many_models(name):
    one = synthetic.results(datasets=("PLAID",), models=("T1",), seeds=(0,))
    many = pd.concat([one.assign(model=f"T1(layers={number})") for number in range(1, 9)], ignore_index=True)
    assert of_results(many)[name]().axes


@pytest.mark.parametrize("name", NAMES)
def test_figure_where_a_data_set_lacks_a_model(name):
    table = synthetic.results(datasets=("PLAID", "ElectricDevices"), seeds=(0,))
    lacking = (table.dataset == "PLAID") & (table.model == "T2")
    figure = of_results(table[~lacking].reset_index(drop=True))[name]()
    figure.draw_without_rendering()
    empty = [ax for ax in figure.axes if ax.axison and not (ax.lines or ax.collections or ax.patches or ax.images)]
    assert all("not run" in [text.get_text() for text in ax.texts] for ax in empty)


def by_layer(value: str) -> pd.DataFrame:
    """A table by layer: PLAID has no T2, and one runtime tells nothing."""
    runs = [("ElectricDevices", "T1"), ("ElectricDevices", "T2"), ("PLAID", "T1")]
    rows = [(*run, block, "expand", 0.1 * block) for run in runs for block in (1, 2, 3)]
    table = pd.DataFrame(rows, columns=["dataset", "model", "block", "kind", value])
    table = table.assign(recipe="int8(static)", runtime="onnxruntime", status="ok")
    silent = {"dataset": "PLAID", "model": "T1", "recipe": "int8(static)", "runtime": "inductor", "status": "ok"}
    return pd.concat([table, pd.DataFrame([silent])], ignore_index=True)


def test_layers_are_drawn_where_a_data_set_lacks_a_model_or_a_runtime_tells_nothing():
    sensitivity = by_layer("divergence").dropna(subset="block")
    assert list(texts(figures.sensitivity_map(sensitivity))).count("not run") == 1
    words = list(texts(figures.layer_errors(by_layer("sqnr_db"))))
    assert words.count("not told") == 1  # PLAID in inductor
    assert words.count("not run") == 2  # PLAID's T2; ElectricDevices in inductor


@pytest.mark.parametrize("name", ["accuracy_against_ratio", "removed", "quantized_accuracy", "quantized_cost"])
def test_a_figure_says_that_there_is_nothing_to_draw(results, name):
    figure = of_results(results[results.recipe == "baseline"])[name]()
    assert "this profile" in figure.texts[0].get_text()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("pareto", r"^\d+ of \d+ variants are beaten by no other; "),
        ("control", r"off by at most \d+\.\d %, and \d+ % of"),
    ],
)
def test_a_title_says_what_its_numbers_show(results, name, said):
    assert re.search(said, of_results(results)[name]().get_suptitle())


def test_axes_carry_units(results):
    words = " ".join(texts(figures.energy_by_strategy(results)))
    assert "mJ/series (estimated)" in words
    words = " ".join(texts(figures.pareto(results)))
    assert "ms per series" in words and "accuracy, %" in words


def test_a_cost_in_joules_names_its_source(results):
    counted = results.assign(energy_source="measured")
    words = " ".join(texts(figures.int8_cost(counted, "energy_mj_per_sample", "mJ/series")))
    assert "mJ/series (measured)" in words


def test_intervals_fit_above_the_bars(results):
    for ax in figures.int8_cost(results, "cpu_ms_per_sample", "CPU ms/series").axes:
        low, high = ax.get_ylim()
        assert low == 0 and all(patch.get_height() < high for patch in ax.patches)


@pytest.mark.parametrize(("low", "high"), [(0.17, 0.92), (0.3, 12), (1, 1000), (0.013, 0.05), (4.7, 9)])
def test_a_logarithmic_axis_has_few_round_ticks(low, high):
    ax = Figure().subplots()
    plain_log(ax)
    ax.set_xlim(low, high)
    ticks = ax.get_xticks()
    assert 2 <= len(ticks) <= 5 and all(low <= tick <= high for tick in ticks)
    assert [float(label.get_text()) for label in ax.get_xticklabels()] == pytest.approx(list(ticks))


def test_a_change_of_nothing_has_no_sign():
    assert [format_change(ratio) for ratio in (0.46, 1.17, 1.002, 0.998)] == ["−54 %", "+17 %", "0 %", "0 %"]


def test_energies_of_two_sources_are_not_drawn_together(results):
    mixed = results.assign(energy_source=results.model.map({"T1": "estimated", "T2": "measured"}))

    def quantized(table: pd.DataFrame) -> Figure:
        return figures.int8_cost(table, "energy_mj_per_sample", "mJ/series")

    for draw in (figures.energy_by_strategy, figures.main_differences, figures.model_cost, quantized):
        with pytest.raises(SourceMismatchError):
            draw(mixed)


def test_every_strategy_has_its_own_colour_and_marker():
    assert set(LOOKS) == set(Family)
    for trait in ("color", "marker"):
        assert len({looks[trait] for looks in LOOKS.values()}) == len(Family)


@pytest.mark.parametrize(
    ("recipe", "runtime", "family", "label"),
    [
        ("baseline", "eager", "baseline", "fp32"),
        ("baseline", "inductor", "runtime only", "fp32, inductor"),
        ("int8(dynamic)", "eager", "dynamic int8", "Dynamic int8"),
        ("int8(static)", "inductor", "static int8", "Static int8, inductor"),
        ("mask(l2, 0.25)", "eager", "masks", "Mask L2 25 %"),
        ("prune(l1, 0.5) > finetune(4)", "eager", "removal", "Remove L1 50 %, tuned"),
        ("prune(l1, 0.5) > int8(static)", "inductor", "combined", "Remove L1 50 %, static int8, inductor"),
        ("prune(taylor, 0.5)", "eager", "removal", "Remove Taylor 50 %"),
        ("prune(l1, 0.5, heads, global)", "eager", "smaller shape", "Remove L1 50 % (heads, global)"),
        ("prune(l1, 0.5) > distill(4)", "eager", "smaller shape", "Remove L1 50 %, distilled"),
        ("gradual(l2, 0.5)", "eager", "smaller shape", "Remove L2 50 % in rounds"),
        ("layers(2, first) > width(activation, 16)", "eager", "smaller shape", "2 layers (first), width 16 activation"),
        ("int8(static, 128, percentile)", "openvino", "other quantization", "Static int8 (percentile), openvino"),
        ("int8(weights)", "onnxruntime", "other quantization", "Int8 weights, onnxruntime"),
        ("int4(16)", "onnxruntime", "other quantization", "Int4 weights (16), onnxruntime"),
        ("qat(4) > int8(static)", "inductor", "other quantization", "Trained for int8, static int8, inductor"),
        ("layers(1) > int8(static)", "inductor", "smaller shape", "1 layer, static int8, inductor"),
        ("lowrank(0.9)", "openvino", "smaller shape", "Low rank 90 %, openvino"),
        ("patch(16) > distill(4)", "eager", "smaller shape", "Patches of 16, distilled"),
        ("student > distill(20)", "eager", "student", "Student, distilled"),
        ("student(2, 8)", "eager", "student", "Student (2, 8)"),
        ("merge(0.5) > distill(4)", "eager", "fewer tokens", "Merge tokens to 50 %, distilled"),
        ("prune(l1, 0.5) > drop(0.3, 1)", "eager", "fewer tokens", "Remove L1 50 %, drop tokens to 30 % (layer 1)"),
        ("exits(2) > exits(4, 1.0)", "openvino", "early exit", "Exit after 2, exit after 4 (1.0 points), openvino"),
        ("distill(20)", "eager", "other", "Distilled"),
    ],
)
def test_names_of_strategies(recipe, runtime, family, label):
    variant = Variant.parse(recipe, runtime)
    assert (variant.family, variant.label) == (family, label)


def test_annotated_results_keep_every_row(results):
    table = annotate(results)
    assert len(table) == len(results) and table.ratio.dropna().isin(synthetic.RATIOS).all()


def a_dataset(name: str, channels: int, lengths: tuple[int, ...], classes: tuple[str, ...]) -> Dataset:
    """A small data set of noise."""
    rng = np.random.default_rng(0)
    y = np.arange(4 * len(classes)) % len(classes)
    x = [rng.normal(size=(channels, lengths[i % len(lengths)])).astype(np.float32) for i in range(len(y))]
    split = Split(x, y)
    facts = Facts(0, 0, np.zeros(len(y), dtype=bool), ())
    kept = Split([], y[:0])
    return Dataset(name, classes, channels, len(lengths) == 1, split, split, split, facts, Scaler("none"), kept)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("lengths", [(96,), (100, 300, 1344)])
def test_figures_of_data(channels, lengths):
    dataset = a_dataset("PLAID", channels, lengths, tuple(map(str, range(11))))
    datasets = {"PLAID": dataset, "Other": a_dataset("Other", 1, (24,), ("a", "b"))}
    counts = data_tables.class_counts(datasets)
    assert counts.groupby(["dataset", "split"]).share.sum().round(6).eq(100).all()
    for figure in (
        figures.class_balance(counts),
        figures.series_lengths(data_tables.series_lengths(datasets)),
        figures.example_series(data_tables.example_series(dataset), "PLAID"),
    ):
        assert not overlapping_titles(figure)


def test_tables_average_over_seeds(results):
    table = tables.strategy_table(results)
    one = table[(table.dataset == "PLAID") & (table.model == "T1") & (table.recipe == "int8(dynamic)")].iloc[0]
    chosen = results.query("dataset == 'PLAID' and model == 'T1' and recipe == 'int8(dynamic)' and batch_size == 64")
    assert one.points_lost == pytest.approx(chosen.accuracy_drop.mean()) and one.seeds == 3
    assert one.cpu_ratio == pytest.approx(np.exp(np.log(chosen.cpu_ratio).mean()))
    assert one.points_lost_low < one.points_lost < one.points_lost_high


def test_a_recipe_in_two_runtimes_is_told_once_for_each() -> None:
    results = synthetic.results(datasets=("PLAID",), models=("T1",))
    of_inductor = results[(results.recipe == "baseline") & (results.runtime == "inductor")]
    other = of_inductor.assign(runtime="onnxruntime", cpu_ratio=0.2, energy_ratio=0.2)
    results = pd.concat([results[results.recipe == "baseline"], other], ignore_index=True)
    table = tables.representatives(results).set_index("label")
    assert table.energy_ratio["fp32, onnxruntime"] == pytest.approx(0.2)
    assert table.energy_ratio["fp32, inductor"] == pytest.approx(0.76, abs=0.03)
    assert (table.energy_low_mj_per_sample < table.energy_mj_per_sample).all()
    assert tables.representatives(synthetic.results()).family.cat.categories.tolist() == list(Family)
    for said in (findings.energy(results), findings.energy_and_model(results)):
        assert "**fp32, onnxruntime**: saves 80.0 %" in said and "**fp32, inductor**: saves 2" in said


def test_main_table_has_the_strategies_of_the_study(results):
    table = tables.main_table(results)
    assert set(table.label) == {
        "fp32", "fp32, inductor", "Dynamic int8", "Static int8, inductor",
        "Mask L1 20 %", "Mask L2 20 %", "Remove L1 20 %", "Remove L2 20 %",
    }  # fmt: skip
    assert len(table) == 8 * 6
    assert tables.readable(table)["Points lost"].str.contains(r"\[").all()


def test_confusions_are_whole_per_cent_and_none_below_one() -> None:
    predictions = synthetic.predictions(synthetic.results(datasets=("PLAID",), models=("T1",), seeds=(0,)))
    shown = [text.get_text() for text in figures.confusion_matrices(predictions, "PLAID").axes[0].texts]
    assert len(shown) == 11**2 and all(text == "" or text.isdigit() for text in shown)
    assert all(95 <= sum(int(text or 0) for text in shown[start : start + 11]) <= 105 for start in range(0, 121, 11))


def test_an_empty_panel_says_why_it_is_empty() -> None:
    results = synthetic.results(datasets=("PLAID", "ElectricDevices"), seeds=(0,))
    absent = (results.dataset == "PLAID") & (results.model == "T2")
    one_class = (results.dataset == "PLAID") & (results.model == "T1")
    results.loc[one_class, "classes_predicted"] = 1
    words = list(texts(figures.saving_against_loss(results[~absent].reset_index(drop=True))))
    assert words.count("not run") == words.count("collapsed to one class") == 1


def test_int8_is_compared_with_fp32_of_its_own_runtime() -> None:
    results = synthetic.results(datasets=("PLAID",), models=("T1",))
    results = results[results.recipe.isin(["baseline", "int8(static)"])]
    of_inductor = results[results.runtime == "inductor"].assign(accuracy_drop=0.5)
    other = of_inductor.assign(runtime="onnxruntime", cpu_ratio=of_inductor.recipe.map({"baseline": 0.2}).fillna(0.5))
    results = pd.concat([results[results.runtime == "eager"], of_inductor, other], ignore_index=True)

    said = findings.int8_time(results)
    assert "**static int8 in onnxruntime, batches of 1**: 2.50 of the CPU time of fp32 there" in said
    assert "**static int8 in inductor, batches of 1**: 2.50" not in said
    assert findings.int8_accuracy(results).count("**static int8 in ") == 2

    figure = figures.int8_cost(results, "cpu_ms_per_sample", "CPU ms/series")
    assert [tick.get_text() for tick in figure.axes[-1].get_xticklabels()] == ["inductor", "onnxruntime"]
    assert list(texts(figure)).count("×2.50") == 2
    assert "T1, static int8, onnxruntime" in texts(figures.int8_accuracy(results))
