"""Classics in the study: fitted on the training series, the test set classified, and what either cost."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from tsc_lib import data, runtimes, training
from tsc_lib.benchmark.host import Machine
from tsc_lib.benchmark.place import find_place
from tsc_lib.core.files import Json
from tsc_lib.core.spec import Spec
from tsc_lib.core.store import run_or_load
from tsc_lib.data import Dataset, DataSpec
from tsc_lib.energy import EnergyMeter, Reading
from tsc_lib.models.classic import CLASSICS, check_work, fit_classic
from tsc_lib.runtimes.aeon.convert import write_classic
from tsc_lib.study.specs import TrainingRun
from tsc_lib.study.versions import version

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClassicJob(Spec):
    """A classic on a data set: `content` is a hash of the scaled series that it is fitted on."""

    data: DataSpec
    model: str
    seed: int
    content: str
    machine: Machine
    energy: dict[str, object]


@dataclass(frozen=True)
class ClassicEvaluation:
    """A classic, and how it classifies the test set.

    Attributes
    ----------
    true, predicted : ndarray of int, shape (series,)
        Positions of the classes, one for each test series.
    fitting, answering : Reading
        What it cost to fit it, and to classify the test set in batches of 64, without what numba compiles at first.
    folder : Path
        What `tsc_lib.runtimes.load` makes it of.
    """

    true: np.ndarray
    predicted: np.ndarray
    fitting: Reading
    answering: Reading
    folder: Path

    status: ClassVar[str] = "ok"

    @property
    def correct(self) -> np.ndarray:
        """Whether each test series is classified rightly, bool (series,)."""
        return np.asarray(self.predicted == self.true)


def evaluate_classic(run: TrainingRun) -> ClassicEvaluation:
    """Fit a run's classic and classify the test set, or load the result.

    It is fitted on the series of the training file, those for validation among them: it has nothing to choose by them.

    Raises
    ------
    StageFailed
        If aeon fails.
    UserError
        If the classic cannot take the series, or would take hours.
    """
    dataset, seed = data.load(run.data), run.seed if CLASSICS[run.model].seeded else 0
    x, y = [*dataset.train.x, *dataset.valid.x], np.concatenate([dataset.train.y, dataset.valid.y])
    check_work(run.model, x, dataset.test.x)

    def work(folder: Path) -> Json:
        logger.info("%s: fitting", run.label)
        write_classic(run.model, x, y, seed, len(dataset.classes), folder)
        _compile(run.model, x, y, dataset)
        meter = EnergyMeter.auto()
        with meter.measure(f"{run.label}, fitting") as fitting:
            predictor = runtimes.load(folder, runtimes.CLASSIC)
        with meter.measure(f"{run.label}, answering", inferences=len(dataset.test)) as answering:
            logits = training.classify(predictor, dataset.test, dataset.equal_length)
        if not np.isfinite(logits).all():
            raise RuntimeError("the logits of the test set are not finite")
        costs = {"fitting": fitting.reading.to_json(), "answering": answering.reading.to_json()}
        return {"true": dataset.test.y.tolist(), "predicted": logits.argmax(axis=1).tolist(), **costs}

    hashed = hashlib.sha256(b"".join(part.tobytes() for part in [*x, y])).hexdigest()
    place = find_place()
    job = ClassicJob(run.data, run.model, seed, hashed, place.machine, place.energy)
    label = f"{run.data.name}-{run.model}-s{seed}"  # one for all seeds where these have no say
    folder, record = run_or_load("classic", version("classic"), label, job, work)
    costs = {name: Reading.from_json(record[name]) for name in ("fitting", "answering")}
    return ClassicEvaluation(np.array(record["true"]), np.array(record["predicted"]), folder=folder, **costs)


def _compile(name: str, x: Sequence[np.ndarray], y: np.ndarray, dataset: Dataset) -> None:
    """Let numba compile what a classic needs, which is no part of its cost, on a few series of each class."""
    few = np.concatenate([np.flatnonzero(y == label)[:4] for label in np.unique(y)])
    fitted = fit_classic(name, [x[i] for i in few], y[few], 0, len(dataset.classes))
    fitted(x[0][None], None if dataset.equal_length else np.array([x[0].shape[1]]))
