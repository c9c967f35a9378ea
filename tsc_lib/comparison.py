"""Classifiers side by side on a test set: accuracy, CPU time and energy."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tsc_lib.benchmark import BenchmarkSettings, Candidate, run_session, save_inputs
from tsc_lib.core.errors import UserError
from tsc_lib.core.limits import quote
from tsc_lib.estimator import TransformerClassifier
from tsc_lib.study.schema import accuracies, costs


def compare(
    classifiers: Sequence[TransformerClassifier] | Mapping[str, TransformerClassifier],
    X: Any,
    y: Any,
    settings: BenchmarkSettings | None = None,
) -> pd.DataFrame:
    """Test and measure fitted classifiers on the same series, in one benchmark session.

    Parameters
    ----------
    classifiers : sequence or mapping of TransformerClassifier
        Variants of one model, or models that were fitted with the same scaling on the same series. The first is the
        reference of all drops and ratios. In a mapping, the keys name them; otherwise their recipes and runtimes do.
    X, y
        Test series and their labels, as `TransformerClassifier.predict` takes them.
    settings : BenchmarkSettings, optional
        Batch sizes, repeats and threads of the session.

    Returns
    -------
    DataFrame
        A row for each classifier and batch size: ``name``, ``recipe``, ``runtime``, ``batch_size`` and ``status``;
        ``accuracy`` with Wilson's interval, ``f1_macro``, and ``accuracy_drop``, the percentage points lost, with a
        paired bootstrap over the series; then what `tsc_lib.benchmark.Measurement` describes: CPU time in ms and energy
        in mJ for each series, with their ratios to the reference and the ratios' intervals.

    Raises
    ------
    UserError
        If there is no classifier, two have one name or differ in scaling, the labels do not belong to the series or are
        none that the classifiers know, or the reference cannot be measured.
    NotFittedError
        If a classifier was not fitted.

    Examples
    --------
    >>> from aeon.datasets import load_classification
    >>> from tsc_lib import TransformerClassifier, compare
    >>> from tsc_lib.benchmark import BenchmarkSettings
    >>> X, y = load_classification("ItalyPowerDemand", split="train")
    >>> classifier = TransformerClassifier(epochs=1, random_state=0).fit(X, y)
    >>> X_test, y_test = load_classification("ItalyPowerDemand", split="test")
    >>> variants = [classifier, classifier.compress("prune(l1, 0.5)")]
    >>> quick = BenchmarkSettings(batch_sizes=(64,), blocks=5, min_window_s=0.005, warmup_s=0.01)
    >>> table = compare(variants, X_test[:100], y_test[:100], quick)
    >>> table[["name", "batch_size", "status"]]
                          name  batch_size status
    0        baseline in eager          64     ok
    1  prune(l1, 0.5) in eager          64     ok
    >>> bool(table.cpu_ratio[1] < 1)
    True
    """
    settings = settings or BenchmarkSettings()
    if not isinstance(settings, BenchmarkSettings):
        raise UserError(
            f"settings must be BenchmarkSettings, such as BenchmarkSettings(blocks=20), not {quote(settings)}"
        )
    if not isinstance(classifiers, Sequence | Mapping) or not classifiers:
        raise UserError("there is nothing to compare; give a list of one fitted classifier or more")
    for one in classifiers.values() if isinstance(classifiers, Mapping) else classifiers:
        if not isinstance(one, TransformerClassifier):
            raise UserError(f"what is compared is a TransformerClassifier, not {quote(one)}")
        one._check_is_fitted()
    if not isinstance(classifiers, Mapping):
        named = {str(one.variant_): one for one in classifiers}
        if len(named) < len(classifiers):
            raise UserError("two classifiers have the same recipe and runtime; name them: compare({'one': ...}, X, y)")
        classifiers = named
    first, *others = classifiers.values()
    for one in others:
        if one.dataset_.scaler.to_json() != first.dataset_.scaler.to_json():
            raise UserError("classifiers are compared on the same scaled series; fit them with one scaling on one set")
    sample, true = first.scaled(X), np.atleast_1d(y)
    if len(sample.x) != len(true):
        raise UserError(f"X holds {len(sample.x)} series and y {len(true)} labels; give every series its label")
    if set(true.tolist()).isdisjoint(known := first.classes_.tolist()):
        raise UserError(f"no label in y is among those that the classifiers know, such as {known[0]!r}; give those")
    predicted = {name: one.predict(X) for name, one in classifiers.items()}
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        save_inputs(scratch / "inputs.npz", sample.x, equal_length=first.dataset_.equal_length, settings=settings)
        candidates = []
        for name, one in classifiers.items():
            folder = stack.enter_context(one.converted())
            candidates.append(Candidate.of_model(name, folder, one.variant_.runtime, settings.threads))
        session = run_session(candidates[0], candidates[1:], scratch / "inputs.npz", settings)
    reference = predicted[candidates[0].name] == true
    rows: list[dict[str, object]] = []
    for name, one in classifiers.items():
        tested = accuracies(true, predicted[name], reference)
        for measurement in session.measurements:
            if measurement.name == name:
                row = {"name": name, **one.variant_.names, "batch_size": measurement.batch_size}
                rows.append({**row, **tested, **costs(measurement), "status": measurement.status})
    return pd.DataFrame(rows)
