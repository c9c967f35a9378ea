"""The estimator: the study's transformers as an aeon classifier, which can be compressed, moved and exported."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from aeon.classification.base import BaseClassifier
from aeon.utils.validation import check_n_jobs
from sklearn.utils import check_random_state

from tsc_lib import data, runtimes, training
from tsc_lib.compress import BASELINE, Recipe, TrainingContext, Variant, apply
from tsc_lib.core.cpus import count_usable_cpus
from tsc_lib.core.errors import UserError
from tsc_lib.core.limits import SEEDS, THREADS, check_number, check_whole, quote
from tsc_lib.data import Dataset, DataSpec, Split
from tsc_lib.export import write
from tsc_lib.export.card import unmeasured_card
from tsc_lib.export.predict import probabilities_of
from tsc_lib.models import zoo
from tsc_lib.models.transformer import TransformerConfig, check_length
from tsc_lib.runtimes import Predictor, convert
from tsc_lib.runtimes.conversion import Conversion
from tsc_lib.series.formats import series_of
from tsc_lib.study.specs import TrainingRun
from tsc_lib.training import TrainSpec

EMPTY = Split([], np.zeros(0, dtype=np.int64))
"""A split without series."""


class TransformerClassifier(BaseClassifier):
    """A transformer for time series, trained as the study trains it.

    With the same series, settings and `random_state` as seed, its weights are those of the study, bit for bit.

    Parameters
    ----------
    model : str or TransformerConfig
        "T1" or "T2", or sizes of one's own; the channels and classes of a configuration are replaced by the data's.
    epochs, batch_size : int, optional
        Rounds of the training, and series in a step of the optimiser; by default the model's own.
    learning_rate : float, optional
        Of the optimiser; by default the model's own.
    scaling : {"channel", "series", "none"}
        What is done to every series first: it is standardised per channel by the mean and deviation of the training
        series, or by its own, or left alone.
    valid_fraction : float
        Share of the training series that is held out to choose the epoch.
    random_state : int, RandomState or None
        Of the first weights and the order of the series.
    n_jobs : int
        Threads; -1 for one on each usable CPU. More than one changes the order of sums, and so the last digits of
        weights.
    training : dict, optional
        Other settings of the training that differ from the model's own, such as
        ``{"optimizer": "adamw", "schedule": "cosine", "augment": "shift(0.1) > noise"}``; see
        `tsc_lib.training.TrainSpec`.

    Attributes
    ----------
    variant_ : Variant
        The recipe that made the model, and the runtime that executes it.
    model_ : CompressedModel
        The network with its number format and the evidence of every step.
    history_ : list of dict
        One entry for each epoch; see `tsc_lib.training.fit`.
    dataset_ : Dataset
        The training series as `fit` split and scaled them. Pickles and deep copies leave the series out.

    See Also
    --------
    tsc_lib.compare : Measures several of them on a test set.

    Examples
    --------
    >>> from aeon.datasets import load_classification
    >>> from tsc_lib import TransformerClassifier
    >>> X, y = load_classification("ItalyPowerDemand", split="train")
    >>> classifier = TransformerClassifier("T1", epochs=2, random_state=0).fit(X, y)
    >>> classifier.predict_proba(X[:3]).shape
    (3, 2)

    Half of its heads and neurons are removed, and ONNX Runtime executes the rest:

    >>> small = classifier.compress("prune(l1, 0.5)").to("onnxruntime")
    >>> small.variant_.label
    'Remove L1 50 %, onnxruntime'
    >>> len(small.predict(X))
    67
    """

    _tags: ClassVar[dict[str, object]] = {
        "X_inner_type": ["np-list", "numpy3D"],
        "capability:multivariate": True,
        "capability:unequal_length": True,
        "capability:multithreading": True,
        "algorithm_type": "deeplearning",
        "python_dependencies": ["torch", "safetensors"],
    }

    _conversion: Conversion | None
    _files: dict[str, bytes]
    _loaded: Predictor | None

    def __init__(
        self,
        model: str | TransformerConfig = "T1",
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        scaling: str = "channel",
        valid_fraction: float = 0.2,
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int = 1,
        training: dict[str, object] | None = None,
    ) -> None:
        self.model = model
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.scaling = scaling
        self.valid_fraction = valid_fraction
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.training = training
        super().__init__()

    def compress(self, recipe: str | Recipe, X: Any = None, y: Any = None) -> Self:
        """A fitted copy whose model went through a recipe; this one is left alone.

        The copy keeps its runtime if that executes the recipe's number format, and else has the first that does.

        Parameters
        ----------
        recipe : str or Recipe
            Steps such as ``"prune(l1, 0.5) > finetune(4) > int8(static)"``; ``tsc-lib run --help`` lists them.
        X, y : optional
            The training series and their labels again, which only a classifier that was unpickled needs.

        Raises
        ------
        UserError
            If the recipe is not well formed or cannot treat the model, or the training series are not there.
        """
        self._check_is_fitted()
        steps = Recipe.parse(recipe)
        dataset = self.dataset_
        if X is not None:
            labels = set() if y is None else set(map(str, y))
            if not labels or len(X) != len(y) or not labels <= set(map(str, self.classes_)):
                raise UserError("the training series come with a label for each, of those that fit saw; give them as y")
            dataset = self._prepare(self._preprocess_collection(X, store_metadata=False), y)
        if not len(dataset.train):
            raise UserError("a pickle does not hold the training series; give them again: compress(recipe, X, y)")
        context = TrainingContext(
            dataset.train, dataset.valid, dataset.equal_length, self._settings(), self._seed, teacher=self._teacher
        )
        with _torch_of_its_own(self._threads):
            model = apply(self.model_, steps, context)
        training.check_lengths(model.network.config, dataset)
        variant = Variant(self.variant_.recipe + steps, self.variant_.runtime)
        able = convert.list_supporting(variant.recipe.number_format, variant.recipe.observer)
        if variant.runtime not in able:
            variant = dataclasses.replace(variant, runtime=able[0])
        return self._copy(model_=model, dataset_=dataset, variant_=variant)

    def to(self, runtime: str) -> Self:
        """A fitted copy that a runtime executes: ``eager``, ``inductor``, ``onnxruntime``, ``openvino`` or ``c``.

        Raises
        ------
        UserError
            If the runtime is unknown, or lacks the model's number format.
        RuntimeUnavailable
            If it is not installed, or cannot work on this machine.
        """
        self._check_is_fitted()
        moved = self._copy(variant_=dataclasses.replace(self.variant_, runtime=runtime))
        moved._predictor()
        return moved

    def export(self, folder: Path | str, *, this_processor_only: bool = False) -> None:
        """Write the model to a folder that `tsc_lib.load` and ``tsc-lib predict`` read; an earlier export is replaced.

        Its model card says that neither accuracy nor costs were measured. A model for inductor is native code for
        processors like this one; `this_processor_only` says that this is wanted.

        Raises
        ------
        UserError
            If the model needs another `this_processor_only`, the folder holds anything that no export wrote, or it
            cannot be written.
        """
        self._check_is_fitted()
        write.check_processor(self.variant_.runtime, this_processor_only)
        write.check_target(Path(folder))
        name = self.model if isinstance(self.model, str) else "transformer"
        run = TrainingRun(self._data_spec, name, self._settings(), self._seed)
        validated = self.history_[0]["valid_accuracy"] is not None
        with self.converted() as source:
            assert self._conversion is not None
            bundle = write.describe(run, self.variant_, source, self.dataset_, self._conversion, self._threads)
            write.write(Path(folder), source, bundle, unmeasured_card(bundle, run, self.model_, validated))

    @contextmanager
    def converted(self) -> Iterator[Path]:
        """A temporary folder with the model as its runtime reads it, for `tsc_lib.runtimes.load`."""
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
            folder = Path(name)
            if self._conversion is None:
                with _torch_of_its_own(1):
                    self._conversion = convert.convert(
                        self.model_,
                        self.variant_.runtime,
                        folder,
                        equal_length=self.dataset_.equal_length,
                        longest=self.dataset_.longest,
                    )
                self._files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
            else:
                for file, content in self._files.items():
                    (folder / file).write_bytes(content)
            yield folder

    def scaled(self, X: Any) -> Split:
        """Series as the model takes them; their classes are unknown, and so 0.

        Raises
        ------
        UserError
            If a series is none that the model reads.
        """
        series = series_of(X)
        config, fixed = self.model_.network.config, self.model_.reference_length
        for i, one in enumerate(series.x):
            check_length(config, one.shape[1], series.where(i))
            if self.dataset_.equal_length and one.shape[1] != fixed:
                raise UserError(
                    f"{series.where(i)} has {one.shape[1]} time steps, but all that the classifier was fitted on have "
                    f"{fixed}; pad or cut it, or fit on series of several lengths"
                )
        x = [self.dataset_.scaler(one, series.where(i)) for i, one in enumerate(series.x)]
        return Split(x, np.zeros(len(x), dtype=np.int64))

    def _fit(self, X: Any, y: np.ndarray) -> Self:
        self._threads = check_n_jobs(self.n_jobs)
        if self.n_jobs < 0:
            self._threads = min(self._threads, count_usable_cpus())
        check_whole(self._threads, "n_jobs", *THREADS)
        check_number(self.valid_fraction, "valid_fraction", 0, 1)
        if not isinstance(self.model, TransformerConfig):
            zoo.find_architecture(self.model)
        if isinstance(self.random_state, int | np.integer):
            check_whole(self.random_state, "random_state", *SEEDS)
            self._seed = int(self.random_state)
        else:
            self._seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self.dataset_ = self._prepare(X, y)
        channels, classes = self.dataset_.channels, len(self.dataset_.classes)
        if isinstance(self.model, str):
            config = zoo.configure(self.model, channels, classes, self.dataset_.longest)
        else:
            config = dataclasses.replace(self.model, channels=channels, classes=classes)
        with _torch_of_its_own(self._threads):
            self.model_, self.history_ = training.train(config, self.dataset_, self._settings(), self._seed)
        self._teacher = self.model_
        self.variant_ = Variant(BASELINE, "eager")
        self._forget_conversion()
        self._predictor()
        return self

    def _predict(self, X: Any) -> np.ndarray:
        return np.asarray(self.classes_)[self._logits(X).argmax(axis=1)]

    def _predict_proba(self, X: Any) -> np.ndarray:
        return probabilities_of(self._logits(X))

    def _logits(self, X: Any) -> np.ndarray:
        split = self.scaled(X)
        with _torch_of_its_own(self._threads):
            return training.classify(self._predictor(), split, self.dataset_.equal_length, self._settings().batch_size)

    def _predictor(self) -> Predictor:
        """What executes the model; made when it is first needed."""
        if self._loaded is None:
            with self.converted() as folder, _torch_of_its_own(self._threads):
                self._loaded = runtimes.load(folder, self.variant_.runtime, self._threads)
        return self._loaded

    def _forget_conversion(self) -> None:
        self._conversion, self._files, self._loaded = None, {}, None

    def _settings(self) -> TrainSpec:
        if not isinstance(self.training, dict | None):
            raise UserError(f"training must be a dict of training settings, not {quote(self.training)}")
        given = {name: getattr(self, name) for name in ("epochs", "batch_size", "learning_rate")}
        given = {name: value for name, value in given.items() if value is not None}
        return training.find_train_spec(self.model).change({**given, **(self.training or {})})

    def _prepare(self, X: Any, y: Any) -> Dataset:
        series = series_of(X, labels=y)
        none = dataclasses.replace(series, x=[], labels=[])
        return data.prepare(self._data_spec, series, none, tuple(map(str, self.classes_)))

    @property
    def _data_spec(self) -> DataSpec:
        return DataSpec("the training data", sha256="", scaling=self.scaling, valid_fraction=self.valid_fraction)

    def _copy(self, **changes: object) -> Self:
        """A classifier that shares all with this one but the changes and what was made for the runtime."""
        other = type(self).__new__(type(self))
        other.__dict__ |= self.__dict__ | changes
        other._forget_conversion()
        return other

    def __getstate__(self) -> dict[str, object]:
        state: dict[str, object] = dict(super().__getstate__())
        if "dataset_" in state:
            state |= {"dataset_": dataclasses.replace(self.dataset_, train=EMPTY, valid=EMPTY), "_loaded": None}
        return state

    @classmethod
    def _get_test_params(cls, parameter_set: str = "default") -> dict[str, object]:
        """What aeon's checks of estimators set, to be quick."""
        return {"model": "T1(layers=1, heads=2, d_model=8, d_ff=16, patch=4)", "epochs": 2}


@contextmanager
def _torch_of_its_own(threads: int) -> Iterator[None]:
    """So many threads for PyTorch, which has its number and its random state back afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(before)
