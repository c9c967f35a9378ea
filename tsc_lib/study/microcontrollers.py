"""Variants of models on imitated microcontrollers: memory, instructions, and whether they answer as they do here."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tsc_lib import data, runtimes
from tsc_lib.compress import Recipe, Variant
from tsc_lib.core.errors import UserError
from tsc_lib.core.files import Json
from tsc_lib.core.spec import Spec
from tsc_lib.core.store import StageFailed, run_or_load
from tsc_lib.microcontroller import emulate, find_missing, find_processor
from tsc_lib.microcontroller.emulation import describe_tools
from tsc_lib.study import stages
from tsc_lib.study.evaluation import Evaluation
from tsc_lib.study.schema import accuracies
from tsc_lib.study.sections import IN_C
from tsc_lib.study.specs import TrainingRun
from tsc_lib.study.study import Study
from tsc_lib.study.versions import version

logger = logging.getLogger(__name__)

EMULATED = [
    *["flash_bytes", "static_bytes", "stack_bytes", "ram_bytes", "instructions"],
    *["largest_difference", "largest_relative_difference", "series"],
]

COLUMNS = [
    *["dataset", "model", "seed", "recipe", "params", "macs", "accuracy", "accuracy_low", "accuracy_high"],
    *["processor", *EMULATED, "status"],
]


@dataclass(frozen=True)
class EmulationJob(Spec):
    """A variant in C on an imitated processor, compiled and executed by tools of some versions."""

    run: TrainingRun
    recipe: Recipe
    processor: str
    series: int
    tools: dict[str, str]


def emulate_variants(study: Study) -> pd.DataFrame:
    """Compile and execute what a profile's section `microcontrollers` names, or load what is stored.

    Parameters
    ----------
    study : Study
        Whose data sets and seeds are used.

    Returns
    -------
    DataFrame
        `COLUMNS`: a row for each data set, model, seed, recipe and processor; none where this machine lacks a tool.
        ``accuracy`` is that of the same C code on this machine, on all test series, with Wilson's 95 % interval.
        ``flash_bytes`` and ``ram_bytes`` are those of a whole program, ``ram_bytes`` being ``static_bytes`` and
        ``stack_bytes`` together; ``instructions`` the mean over so many ``series``; ``largest_difference`` that of a
        logit from this machine's, and ``largest_relative_difference`` the same over 1 and the size of the logit.
    """
    if find_missing():
        return pd.DataFrame(columns=COLUMNS)
    return pd.DataFrame(_rows(study), columns=COLUMNS)


def _rows(study: Study) -> Iterator[dict[str, object]]:
    grid = study.profile.microcontrollers
    chosen = [
        (TrainingRun(spec, model, study.profile.train_of(choice, model), seed), Recipe.parse(recipe))
        for spec, choice, seed in study.list_seeded(grid.datasets)
        for model, recipes in grid.variants.items()
        for recipe in recipes
    ]
    for place, (run, recipe) in enumerate(chosen):
        logger.info("microcontrollers: %s", run.label, extra={"runs": (place, len(chosen))})
        row: dict[str, object] = {**run.names, "recipe": str(recipe)}
        try:
            found = stages.evaluate(run, Variant(recipe, IN_C))
        except StageFailed as failure:
            yield row | {"status": f"failed: {failure}"}
            continue
        row |= {"params": found.size.params, "macs": found.size.macs}
        row |= accuracies(found.true, found.predicted, None)
        for processor in grid.processors:
            try:
                record = emulate_variant(run, recipe, found, processor, grid.series)
                yield row | {"processor": processor, "status": "ok"} | {name: record[name] for name in EMULATED}
            except StageFailed as failure:
                yield row | {"processor": processor, "status": f"failed: {failure}"}


def emulate_variant(run: TrainingRun, recipe: Recipe, found: Evaluation, processor: str, count: int) -> Json:
    """Execute the first `count` test series on an imitated processor, or load the record.

    Raises
    ------
    StageFailed
        If the model does not fit, or failed there.
    """
    dataset = data.load(run.data)
    series = [np.asarray(each, np.float32) for each in dataset.test.x[:count]]

    def work(_: Path) -> Json:
        logger.info("%s: %s on an imitated %s", run.label, recipe, processor)
        predict = runtimes.load(found.folder, IN_C)
        lengths = [None if dataset.equal_length else np.array([each.shape[1]]) for each in series]
        own = np.concatenate([predict(each[None], length) for each, length in zip(series, lengths, strict=True)])
        try:
            ran = emulate(found.folder, series, find_processor(processor))
        except UserError as refusal:  # it does not fit, say, and would not the next time
            return {"refused": str(refusal)}
        differences = np.abs(ran.logits - own)
        return {
            "flash_bytes": ran.footprint.flash_bytes,
            "static_bytes": ran.footprint.static_bytes,
            "stack_bytes": ran.stack_bytes,
            "ram_bytes": ran.ram_bytes,
            "instructions": float(np.mean(ran.instructions)),
            "largest_difference": float(differences.max()),
            "largest_relative_difference": float((differences / (1 + np.abs(own))).max()),
            "series": len(series),
        }

    job = EmulationJob(run, recipe, processor, len(series), describe_tools())
    label = f"{run.label}-{processor}"
    _, record = run_or_load("microcontroller", version("microcontroller", IN_C), label, job, work)
    if "refused" in record:
        raise StageFailed(record["refused"])
    return record
