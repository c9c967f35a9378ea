"""The comparison of runtimes: complete, paired, and honest about what could not run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tsc_lib import figures
from tsc_lib.analysis import findings, runtime_tables
from tsc_lib.benchmark.operator_times import ATTENTION, KINDS, LINEAR
from tsc_lib.core import store
from tsc_lib.core.cpus import count_usable_cpus
from tsc_lib.runtimes import processor
from tsc_lib.study import Study
from tsc_lib.study.operator_shares import COLUMNS as COLUMNS_OF_OPERATORS
from tsc_lib.study.operator_shares import operator_table
from tsc_lib.study.profiles import load_profile
from tsc_lib.study.runtime_comparison import COLUMNS, RuntimeComparison
from tsc_lib.study.sections import RuntimeGrid

pytestmark = pytest.mark.sessions

VARIANTS = {
    "baseline": ("eager", "onnxruntime"),
    "int8(dynamic)": ("eager",),
    "bf16": ("openvino",),
}


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> RuntimeComparison:
    patch = pytest.MonkeyPatch()
    patch.setattr(store, "OUTPUTS", tmp_path_factory.mktemp("outputs"))
    grid = RuntimeGrid(variants=VARIANTS, batch_sizes=(1, 16), threads=(1,), blocks=5, max_seconds=2.0)
    yield RuntimeComparison(Study(replace(load_profile("smoke"), seeds=(0,), runtimes=grid)))
    patch.undo()


@pytest.fixture(scope="module")
def table(comparison: RuntimeComparison) -> pd.DataFrame:
    return comparison.table()


def test_one_row_for_every_variant_and_batch_size(table: pd.DataFrame) -> None:
    assert list(table.columns) == COLUMNS
    assert len(table) == 4 * 2
    rows = table[table.status == "ok"].set_index(["recipe", "runtime", "batch_size"])
    reference, onnx = rows.loc["baseline", "eager"], rows.loc["baseline", "onnxruntime"]
    assert (reference.cpu_ratio == 1).all() and (reference.fp32_ratio == 1).all() and (reference.agreement == 1).all()
    assert (onnx.agreement > 0.99).all() and (onnx.prepare_seconds > 0).all()
    assert (onnx.fp32_ratio == 1).all(), "beside fp32 in its own runtime"
    int8 = rows.loc["int8(dynamic)", "eager"]
    np.testing.assert_allclose(int8.fp32_ratio, int8.cpu_ratio, rtol=1e-6)
    assert (rows.latency_p50_ms <= rows.latency_p99_ms).all() and (rows.series_per_second > 0).all()


@pytest.mark.skipif(processor.has_bf16(), reason="this processor has bf16")
def test_what_the_processor_lacks_is_told(table: pd.DataFrame) -> None:
    [status] = table[table.recipe == "bf16"].status.unique()
    assert status.startswith("failed: unavailable: this processor has no instructions for bf16")
    assert "no instructions for bf16" in findings.availability(table)


def test_the_peak_is_measured(comparison: RuntimeComparison, table: pd.DataFrame) -> None:
    peaks = comparison.peaks().set_index("number_format")
    assert list(peaks.index) == ["fp32", "bf16", "int8"]
    rates = runtime_tables.effective_rates(table)
    assert (rates.batch_size == 16).all()
    expected = 2 * rates.reference_macs / (rates.cpu_ms_per_sample * 1e-3) / 1e9
    np.testing.assert_allclose(rates.gflops, expected)
    assert (rates.gflops < 1.2 * peaks.gflops.max()).all()
    # Paired with products of the same session, where the other peak is of another minute: the same, but for noise.
    assert (rates.peak_share / (rates.gflops / peaks.gflops["fp32"])).between(1 / 3, 3).all()
    assert ((rates.peak_share_low <= rates.peak_share) & (rates.peak_share <= rates.peak_share_high)).all()
    assert "of the fp32 peak" in findings.rate(table, comparison.peaks())


def test_the_time_of_operators_and_their_arithmetic(comparison: RuntimeComparison) -> None:
    operators = operator_table(comparison)
    assert list(operators.columns) == COLUMNS_OF_OPERATORS and (operators.status == "ok").all()
    [(_, part)] = operators.groupby(["dataset", "model"])
    part = part.set_index("kind")
    assert tuple(part.index) == KINDS and (part.operators > 0).all() and (part.ms > 0).all()
    assert part.share.between(0, 100, inclusive="neither").all()
    assert ((part.share_low <= part.share) & (part.share <= part.share_high)).all()
    reference = comparison.table().reference_macs.iloc[0]
    # The class token's row alone of the last layer, and positions and biases that are no product.
    assert 0.8 * reference < part.macs.sum() <= reference
    np.testing.assert_allclose(part.gflops.dropna(), (2 * part.macs / part.ms / 1e6)[part.macs > 0])
    assert set(part.index[part.macs > 0]) == {LINEAR, ATTENTION}
    assert operator_table(comparison).equals(operators), "loaded the second time"
    said = findings.rate_bound(operators, comparison.peaks())
    assert "of the fp32 peak and take" in said and "nan" not in said.lower().split()
    figures.operator_shares(operators).canvas.draw()


def test_no_operators_without_the_runtime_that_tells(comparison: RuntimeComparison) -> None:
    grid = replace(comparison.grid, variants={"baseline": ("eager",)})
    silent = RuntimeComparison(Study(replace(comparison.study.profile, runtimes=grid)))
    operators = operator_table(silent)
    assert operators.empty and list(operators.columns) == COLUMNS_OF_OPERATORS
    figures.operator_shares(operators).canvas.draw()
    assert findings.rate_bound(operators, comparison.peaks()).startswith("No runtime of this profile tells")


@pytest.mark.parametrize("empty", [False, True])
def test_figures_and_findings(comparison: RuntimeComparison, table: pd.DataFrame, empty: bool) -> None:
    peaks, latencies = comparison.peaks(), comparison.latencies()
    if empty:
        table, latencies = table.iloc[:0], latencies.iloc[:0]
    for figure in (
        figures.runtime_cost(table),
        figures.int8_beside_fp32(table),
        figures.second_thread(table),
        figures.latency_distribution(latencies, table),
        figures.effective_rate(table, peaks),
    ):
        figure.canvas.draw()
    for text in (
        findings.availability(table),
        findings.runtime_saving(table),
        findings.int8_losses(table, peaks),
        findings.tail(table),
        findings.threads(table),
        findings.rate(table, peaks),
    ):
        assert text and "nan" not in text.lower().split()


def test_more_threads_than_the_machine_has_are_failed_rows(comparison: RuntimeComparison, table: pd.DataFrame) -> None:
    more = count_usable_cpus() + 1
    grid = replace(comparison.grid, threads=(1, more), variants={"baseline": ("eager",)})
    rows = RuntimeComparison(Study(replace(comparison.study.profile, runtimes=grid))).table().set_index("threads")
    assert (rows.loc[[1]].status == "ok").all()
    [status] = rows.loc[[more]].status.unique()
    assert status.startswith(f"failed: the benchmark asks for {more} threads, but ")


def test_a_profile_may_compare_nothing(comparison: RuntimeComparison) -> None:
    nothing = RuntimeComparison(Study(replace(comparison.study.profile, runtimes=RuntimeGrid())))
    elsewhere = RuntimeGrid(variants=VARIANTS, datasets=("ACSF1",))
    assert RuntimeComparison(Study(replace(comparison.study.profile, runtimes=elsewhere))).runs == []
    assert nothing.runs == [] and nothing.table().empty and nothing.latencies().empty


def test_the_speed_up_of_threads_compares_the_same_variant() -> None:
    rows = [("eager", 1, 4.0), ("eager", 2, 2.0), ("openvino", 1, 1.0), ("openvino", 2, 2.0)]
    table = pd.DataFrame(rows, columns=["runtime", "threads", "latency_p50_ms"])
    table = table.assign(dataset="A", model="T1", number_format="fp32", recipe="baseline", batch_size=1, status="ok")
    sped = runtime_tables.speed_up_by_threads(table).set_index("runtime").speed_up
    assert sped.to_dict() == {"eager": 2.0, "openvino": 0.5}
