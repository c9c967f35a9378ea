"""Quantized models looked into, layer by layer: what int8 costs in the graph that runs, and what each layer bears."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tsc_lib import data
from tsc_lib.benchmark.host import describe_machine
from tsc_lib.compress import BASELINE, Variant
from tsc_lib.compress.sensitivity import Sensitivity, measure_sensitivity
from tsc_lib.core.files import Json
from tsc_lib.core.spec import Spec
from tsc_lib.core.store import StageFailed, run_or_load
from tsc_lib.models.number_format import NumberFormat
from tsc_lib.runtimes.onnxruntime.layer_error import REASONS, LayerError, measure_layer_errors
from tsc_lib.study import Study, stages
from tsc_lib.study.runtime_comparison import RuntimeComparison
from tsc_lib.study.specs import EvaluationJob, TrainingRun
from tsc_lib.study.versions import version

SERIES = 64
"""Training series at most that layer errors are measured on."""

CALIBRATION = 128
"""Training series at most that ranges are observed on, as int8(static) does unless it is told another number."""

KINDS = {
    "embedding": "embedding",
    "router": "router",
    **dict.fromkeys(("query_key_value", "query", "key", "value", "key_value"), "query, key, value"),
    "out": "attention output",
    "expand": "expand",
    "contract": "contract",
    "hidden": "classifier",
    "classify": "classifier",
}
"""Kinds of linear layers, by the name that a layer has within its part of the network."""

WHERE = ["dataset", "model", "seed", "layer", "block", "kind"]
ERROR_COLUMNS = [*WHERE, "recipe", "runtime", "sqnr_db", "status"]
SENSITIVITY_COLUMNS = [*WHERE, "divergence", "loss_increase"]


@dataclass(frozen=True)
class SensitivityJob(Spec):
    """A run's uncompressed model, each linear layer of it in int8 alone."""

    run: TrainingRun
    calibration: int


def load_errors(run: TrainingRun, variant: Variant) -> list[LayerError]:
    """The layer errors of a variant in static int8 on training series, measured or loaded.

    Raises
    ------
    StageFailed
        If the variant cannot be evaluated, or its layers not be looked into.
    """

    def work(folder: Path) -> Json:
        executed = stages.evaluate(run, variant).folder
        dataset = data.load(run.data)
        sample, _ = stages.make_context(run, dataset).sample(SERIES)
        return {"layers": measure_layer_errors(executed, variant.runtime, sample, dataset.equal_length)}

    job = EvaluationJob(run, variant.recipe, variant.runtime, describe_machine())
    return run_or_load("layer-errors", version("layer-errors", variant.runtime), run.label, job, work)[1]["layers"]


def load_sensitivity(run: TrainingRun) -> list[Sensitivity]:
    """What int8 of each linear layer alone does to a run's uncompressed model on training series, or load it."""

    def work(folder: Path) -> Json:
        _, model = stages.compress_model(run, BASELINE)
        return {"layers": measure_sensitivity(model, stages.make_context(run, data.load(run.data)), CALIBRATION)}

    job = SensitivityJob(run, CALIBRATION)
    return run_or_load("sensitivity", version("sensitivity"), run.label, job, work)[1]["layers"]


def error_table(comparison: RuntimeComparison) -> pd.DataFrame:
    """Layer errors of static int8 in every runtime that a profile compares: columns `ERROR_COLUMNS`.

    One row per data set, model, variant and linear layer; of a runtime that does not tell one, with its ``status``.
    ``sqnr_db`` is the signal-to-quantization-noise ratio; ``block`` the encoder layer from 1, before which comes
    the embedding, 0, and after the last of which the classifier, and ``kind`` one of `KINDS`.
    """
    rows: list[dict[str, object]] = []
    for run in comparison.runs:
        for variant in comparison.variants:
            if variant.recipe.number_format is not NumberFormat.INT8_STATIC:
                continue
            if variant.runtime in REASONS:  # nothing to try, and so no failure to keep
                rows.append(
                    {**run.names, **variant.names, "status": f"failed: unavailable: {REASONS[variant.runtime]}"}
                )
                continue
            try:
                found = _placed(run, load_errors(run, variant))
                rows += [{**variant.names, **row, "status": "ok"} for row in found]
            except StageFailed as failure:
                rows.append({**run.names, **variant.names, "status": f"failed: {failure}"})
    return pd.DataFrame(rows, columns=ERROR_COLUMNS)


def sensitivity_table(study: Study) -> pd.DataFrame:
    """Sensitivity of every linear layer of the uncompressed models of a study's first seed: `SENSITIVITY_COLUMNS`.

    ``divergence`` and ``loss_increase`` are in nats; see `tsc_lib.compress.sensitivity.sensitivity`, and `error_table`
    for ``block`` and ``kind``.
    """
    runs = [run for run in study.runs if run.seed == study.profile.seeds[0]]
    rows = [row for run in runs for row in _placed(run, load_sensitivity(run))]
    return pd.DataFrame(rows, columns=SENSITIVITY_COLUMNS)


def _placed(run: TrainingRun, layers: Sequence[LayerError] | Sequence[Sensitivity]) -> list[dict[str, object]]:
    """Rows about linear layers with the places of these in the network."""
    numbers = [re.match(r"layers\.(\d+)\.", row["layer"]) for row in layers]
    last = max((int(number[1]) for number in numbers if number), default=-1)
    rows = []
    for row, number in zip(layers, numbers, strict=True):
        kind = next(KINDS[part] for part in row["layer"].split(".") if part in KINDS)
        block = int(number[1]) + 1 if number else 0 if kind == "embedding" else last + 2
        rows.append({**run.names, **row, "block": block, "kind": kind})
    return rows
