"""Classify the series of a file with an exported model; neither torch nor the training data is needed.

All that is imported here is numpy and the runtime of the model.
"""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from tsc_lib.core.cpus import count_usable_cpus
from tsc_lib.core.errors import UserError, shorten
from tsc_lib.core.limits import THREADS, check_whole
from tsc_lib.export import bundle
from tsc_lib.export.bundle import Bundle
from tsc_lib.runtimes import Predictor
from tsc_lib.runtimes.predictor import group_by_length
from tsc_lib.series.csvfile import FIND_OUT, CsvLayout
from tsc_lib.series.formats import read, series_of
from tsc_lib.series.scaling import pad
from tsc_lib.series.values import Series, is_missing

logger = logging.getLogger(__name__)

TOKENS_PER_CALL = 4096
"""Unless a batch size is given, a call has as many series as make so many tokens: more are not faster, and attention
over a batch of long series would take gigabytes."""


def probabilities_of(logits: np.ndarray) -> np.ndarray:
    """Softmax of logits (n, classes), float64."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    return shifted / shifted.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class Prediction:
    """What a model says of the series of a file, in file order.

    Attributes
    ----------
    labels : tuple of str
        The classes' labels.
    logits : ndarray of float32, shape (n, classes)
        The model's output.
    given : list of str
        The labels in the file; empty if it has none.
    """

    labels: tuple[str, ...]
    logits: np.ndarray
    given: list[str]

    @cached_property
    def probabilities(self) -> np.ndarray:
        """Softmax of the logits, float64 (n, classes)."""
        return probabilities_of(self.logits)

    @cached_property
    def predicted(self) -> list[str]:
        """The most probable label of each series."""
        return [self.labels[i] for i in self.logits.argmax(axis=1)]

    def count_correct(self) -> tuple[int, int]:
        """How many series were given the label that the file has for them, of those with a label the model knows."""
        known = [(guess, own) for guess, own in zip(self.predicted, self.given, strict=False) if own in self.labels]
        return sum(guess == own for guess, own in known), len(known)

    def describe_accuracy(self) -> str:
        """The accuracy by the labels in the file, and of which of them it is none; empty if the file has no labels."""
        right, known = self.count_correct()
        unknown = sum(own not in self.labels and not is_missing(own) for own in self.given)
        texts = [f"accuracy by the labels in the file: {right / known:.4f} ({right} of {known})"] if known else []
        if unknown:
            texts.append(f"{unknown} of {len(self.given)} series have a label that the model does not know")
        return "; ".join(texts)

    def to_csv(self) -> str:
        """A line for each series: its number in the file, from 1, its label, the probability of every class."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["series", "label", *(f"p_{label}" for label in self.labels)])
        for number, (label, row) in enumerate(zip(self.predicted, self.probabilities.tolist(), strict=True), 1):
            writer.writerow([number, label, *(f"{probability:.6f}" for probability in row)])
        return text.getvalue()


def predict(
    folder: Path,
    file: Path,
    *,
    layout: CsvLayout = FIND_OUT,
    batch_size: int | None = None,
    threads: int | None = None,
    trust_native_code: bool = False,
) -> Prediction:
    """Classify the series of a file.

    Parameters
    ----------
    folder : Path
        An exported model.
    file : Path
        Series as ``.ts``, ``.csv`` or ``.npz``; see `tsc_lib.series.formats.read`.
    layout : CsvLayout
        What is known of the lines and columns of a ``.csv`` file; the rest is found out from what the model reads.
    batch_size : int, optional
        Series per call; by default as many as make `TOKENS_PER_CALL` tokens.
    threads : int, optional
        Threads to run on; by default one for each CPU that this process may use, as far as its CPU quota goes.
    trust_native_code : bool
        See `load`.

    Raises
    ------
    UserError
        If the folder is no sound export, its runtime is not installed, or the file holds what the model cannot read.
    """
    if batch_size is not None:
        check_whole(batch_size, "the batch size", 1, 1_000_000)
    model = load(folder, threads, trust_native_code=trust_native_code)
    reads = model.bundle
    series = read(file, reads.gaps, layout, reads.shortest if reads.equal_length else None, reads.labels)
    return Prediction(reads.labels, model.logits(series, batch_size), series.labels)


def load(folder: Path | str, threads: int | None = None, *, trust_native_code: bool = False) -> ExportedModel:
    """Load an exported model.

    Parameters
    ----------
    folder : Path or str
        What ``python -m tsc_lib export`` or `tsc_lib.TransformerClassifier.export` wrote.
    threads : int, optional
        Threads to run on; by default one for each CPU that this process may use, as far as its CPU quota goes.
    trust_native_code : bool
        Whether a model for inductor may be loaded. It is native code, which may do anything on this computer as soon as
        it is loaded; checksums tell that it is as it was written, not by whom.

    Raises
    ------
    UserError
        If the folder is no sound export, there are less than 1 threads, or it is native code that is not trusted or was
        made for another processor.

    Examples
    --------
    >>> import tempfile
    >>> from aeon.datasets import load_classification
    >>> import tsc_lib
    >>> X, y = load_classification("ItalyPowerDemand", split="train")
    >>> classifier = tsc_lib.TransformerClassifier(epochs=1, random_state=0).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     classifier.export(folder)
    ...     predicted = tsc_lib.load(folder).predict(X)
    >>> bool((predicted == classifier.predict(X)).all())
    True
    """
    if threads is not None:
        check_whole(threads, "the number of threads", *THREADS)
    folder = Path(folder)
    described = bundle.read(folder)
    bundle.check_native(folder, described, trust_native_code)
    return ExportedModel(folder, described, threads or count_usable_cpus())


@dataclass(frozen=True)
class ExportedModel:
    """An exported model that classifies arrays; `load` checks and makes it.

    Attributes
    ----------
    folder : Path
        Where it is; its files are read at the first prediction.
    bundle : Bundle
        What the folder says of it.
    threads : int
        Threads that it runs on.
    """

    folder: Path
    bundle: Bundle
    threads: int
    _predictors: list[Predictor] = field(default_factory=list, repr=False, compare=False)

    @property
    def classes_(self) -> np.ndarray:
        """The labels, in the order of the columns of `predict_proba`."""
        return np.array(self.bundle.labels)

    def predict(self, X: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
        """The most probable label of each series, str (n,); see `predict_proba`."""
        return self.classes_[self.logits(series_of(X, self.bundle.gaps)).argmax(axis=1)]

    def predict_proba(self, X: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
        """Probability of every label for each series.

        Parameters
        ----------
        X : ndarray of shape (n, channels, length) or (n, length), or sequence of ndarray of shape (channels, length_i)
            Series as they were recorded: what the model was trained with is done to them.

        Returns
        -------
        ndarray of float64, shape (n, classes)

        Raises
        ------
        UserError
            If the runtime is not installed, or a series is none that the model reads.
        """
        return probabilities_of(self.logits(series_of(X, self.bundle.gaps)))

    def logits(self, series: Series, batch_size: int | None = None) -> np.ndarray:
        """The model's output, float32 (n, classes), with so many series in a call.

        Raises
        ------
        UserError
            As `predict_proba`.
        """
        model = self.bundle
        _check(model, series)
        for note in series.notes:
            logger.warning(note)
        calls = calls_of(model, series.x, batch_size)
        workers = min(self.threads, len(calls))
        if len(self._predictors) != workers:
            self._predictors[:] = [bundle.load(self.folder, model, self.threads // workers) for _ in range(workers)]
        try:
            logits = logits_of(model, self._predictors, series.x, calls)
        except UserError:
            raise
        except Exception as error:  # every runtime has errors of its own
            raise UserError(
                f"{model.runtime} cannot execute {self.folder} ({shorten(error)}); if memory is short give a smaller "
                "batch size, otherwise export the model again"
            ) from None
        if not np.isfinite(logits).all():
            worst = int(np.argmin(np.isfinite(logits).all(axis=1)))
            raise UserError(
                f"{series.where(worst)} has values so large that the model has no finite answer, or the model has "
                "weights that are not finite; give series in the runs of the training data, or export the model again"
            )
        return logits


def calls_of(model: Bundle, series: list[np.ndarray], batch_size: int | None = None) -> list[np.ndarray]:
    """The series that share a call, as their positions, the longest first.

    Where lengths differ, series of similar length share a call, so that little of it is padding.
    """
    lengths = np.array([one.shape[1] for one in series])
    return group_by_length(lengths, lambda longest: batch_size or TOKENS_PER_CALL * model.patch // longest)


def logits_of(
    model: Bundle, predictors: list[Predictor], series: list[np.ndarray], calls: list[np.ndarray]
) -> np.ndarray:
    """Logits (n, classes) of unscaled series (channels, length), in their order.

    Each predictor takes the next of the `calls` as soon as it is free, in a thread of its own. Threads within a call
    would spend a fifth more CPU time and be hardly faster, so short are the operators of a small model.
    """
    idle: SimpleQueue[Predictor] = SimpleQueue()
    for predictor in predictors:
        idle.put(predictor)

    def answer(call: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):  # what overflows has no finite logits, which the caller is told
            x, lengths = pad([model.scaling(series[i], f"series {i + 1}") for i in call])
        predictor = idle.get()
        try:
            found = predictor(x, None if model.equal_length else lengths)
        finally:
            idle.put(predictor)
        if found.shape != (len(call), len(model.labels)):
            raise UserError(
                f"the model answers {len(call)} series with {' by '.join(map(str, found.shape))} numbers, but its "
                f"description has {len(model.labels)} labels; export the model again"
            )
        return found

    logits = np.empty((len(series), len(model.labels)), dtype=np.float32)
    with ThreadPoolExecutor(len(predictors)) as pool:
        for call, found in zip(calls, pool.map(answer, calls), strict=True):
            logits[call] = found
    return logits


def _check(model: Bundle, series: Series) -> None:
    """Refuse series that the model cannot read."""
    for i, one in enumerate(series.x):
        channels, length = one.shape
        if channels != model.channels:
            raise UserError(
                f"{series.where(i)} has {channels} channel(s), but the model reads {model.channels}; "
                f"give the channels of {model.dataset}, in their order"
            )
        if not model.shortest <= length <= model.longest:
            advice = "it was made for series of one length" if model.equal_length else "pad or cut the series"
            ended = " before the missing values at its end" if i in series.padded else ""
            raise UserError(
                f"{series.where(i)} has {length} time steps{ended}, but the model reads {model.lengths}; {advice}"
            )
