"""Quantized models looked into, layer by layer: what int8 costs in the graph that runs, and what each layer bears."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tsc_lib import data, deploy, stages
from tsc_lib.benchmark.host import machine
from tsc_lib.compress import number_format, parse
from tsc_lib.compress.sensitivity import sensitivity
from tsc_lib.deploy.layer_error import REASONS, layer_errors
from tsc_lib.spec import Spec
from tsc_lib.stages import COMPRESS_VERSION, DEPLOY_VERSION, DeployJob, Unit
from tsc_lib.store import StageFailed, run_or_load
from tsc_lib.study import Study
from tsc_lib.study.comparison import RuntimeComparison

LAYER_ERROR_VERSION = (*DEPLOY_VERSION, 1)
SENSITIVITY_VERSION = (*COMPRESS_VERSION, 1)

SERIES = 64
"""Training series at most that layer errors are measured on."""

CALIBRATION = 128
"""Training series at most that ranges are observed on, as int8(static) does unless it is told another number."""

KINDS = {
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
    """A unit's uncompressed model, each linear layer of it in int8 alone."""

    unit: Unit
    calibration: int


def errors_of(unit: Unit, recipe: str, runtime: str) -> list[dict[str, Any]]:
    """The layer errors of a variant in static int8 on training series, measured or loaded.

    Raises
    ------
    StageFailed
        If the variant cannot be deployed, or its layers not be looked into.
    """

    def work(folder: Path) -> dict[str, Any]:
        deployed, _ = stages.deployed(unit, recipe, runtime)
        dataset = data.load(unit.data)
        sample, _ = stages.material_of(unit, dataset).sample(SERIES)
        return {"layers": layer_errors(deployed, runtime, sample, dataset.equal_length)}

    job = DeployJob(unit, recipe, runtime, machine())
    version = (*LAYER_ERROR_VERSION, *deploy.version(runtime))
    return run_or_load("layer-errors", version, unit.label, job, work)[1]["layers"]


def sensitivity_of(unit: Unit) -> list[dict[str, Any]]:
    """What int8 of each linear layer alone does to a unit's uncompressed model on training series, or load it."""

    def work(folder: Path) -> dict[str, Any]:
        _, model = stages.compressed(unit, "baseline")
        return {"layers": sensitivity(model, stages.material_of(unit, data.load(unit.data)), CALIBRATION)}

    job = SensitivityJob(unit, CALIBRATION)
    return run_or_load("sensitivity", SENSITIVITY_VERSION, unit.label, job, work)[1]["layers"]


def error_table(comparison: RuntimeComparison) -> pd.DataFrame:
    """Layer errors of static int8 in every runtime that a profile compares: columns `ERROR_COLUMNS`.

    One row per data set, model, variant and linear layer; of a runtime that does not tell one, with its ``status``.
    ``sqnr_db`` is the signal-to-quantization-noise ratio; ``block`` the encoder layer from 1, after the last of which
    comes the classifier, and ``kind`` one of `KINDS`.
    """
    rows = []
    for unit in comparison.units:
        for recipe, runtime in comparison.variants:
            if number_format(parse(recipe)) != "int8 static":
                continue
            variant = {"recipe": recipe, "runtime": runtime}
            if runtime in REASONS:  # nothing to try, and so no failure to keep
                rows.append({**unit.names, **variant, "status": f"failed: unavailable: {REASONS[runtime]}"})
                continue
            try:
                found = _placed(unit, errors_of(unit, recipe, runtime))
                rows += [{**variant, **row, "status": "ok"} for row in found]
            except StageFailed as failure:
                rows.append({**unit.names, **variant, "status": f"failed: {failure}"})
    return pd.DataFrame(rows, columns=ERROR_COLUMNS)


def sensitivity_table(study: Study) -> pd.DataFrame:
    """Sensitivity of every linear layer of the uncompressed models of a study's first seed: `SENSITIVITY_COLUMNS`.

    ``divergence`` and ``loss_increase`` are in nats; see `tsc_lib.compress.sensitivity.sensitivity`, and `error_table`
    for ``block`` and ``kind``.
    """
    units = [unit for unit in study.units if unit.seed == study.profile.seeds[0]]
    rows = [row for unit in units for row in _placed(unit, sensitivity_of(unit))]
    return pd.DataFrame(rows, columns=SENSITIVITY_COLUMNS)


def _placed(unit: Unit, layers: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows about linear layers with the places of these in the network."""
    layers = list(layers)
    numbers = [re.match(r"layers\.(\d+)\.", row["layer"]) for row in layers]
    last = max((int(number[1]) for number in numbers if number), default=-1)
    rows = []
    for row, number in zip(layers, numbers, strict=True):
        kind = next(KINDS[part] for part in row["layer"].split(".") if part in KINDS)
        rows.append({**unit.names, **row, "block": int(number[1]) + 1 if number else last + 2, "kind": kind})
    return rows
