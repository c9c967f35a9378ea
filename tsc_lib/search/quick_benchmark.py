"""What a shape costs, measured in seconds before anything is trained: weights do not change the time of a call."""

from __future__ import annotations

import importlib.util
import itertools
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from tsc_lib import data, runtimes
from tsc_lib.benchmark import BenchmarkSettings
from tsc_lib.benchmark.child import Predict, Runner
from tsc_lib.benchmark.host import Machine, describe_machine
from tsc_lib.benchmark.inputs import draw_sample, make_calls
from tsc_lib.compress import REFERENCE, Recipe, Variant
from tsc_lib.core.errors import UserError
from tsc_lib.core.spec import Spec
from tsc_lib.core.store import StageFailed, run_or_load
from tsc_lib.data import DataSpec
from tsc_lib.models.compressed import CompressedModel
from tsc_lib.models.number_format import NumberFormat
from tsc_lib.models.transformer import TransformerConfig
from tsc_lib.runtimes import convert
from tsc_lib.runtimes.c.compiler import has_compiler
from tsc_lib.search.space import FORMATS
from tsc_lib.study import stages
from tsc_lib.study.specs import TrainingRun
from tsc_lib.study.versions import version

COMPILED = tuple(name for name in ("openvino", "onnxruntime") if importlib.util.find_spec(name))
"""Runtimes that a search tries; `inductor` takes too long to compile, and `eager` is what there is without these."""

QUICK = BenchmarkSettings(warmup_s=0.05, min_window_s=0.01)
ROUNDS = 7
SERIES = 8

WORTH = 1.1
"""A number format that costs less than so many times its fp32 is measured properly: this benchmark tells no tenth."""


TOO_LARGE = "the program takes"
"""How the reason begins why a shape is not trained that is too large."""


class TooLarge(StageFailed):
    """The program would take more memory than is allowed."""


def list_tried(objective: str) -> tuple[str, ...]:
    """The runtimes that a search for an objective tries, if none is named.

    C is among them where one series is to be fast, and can be compiled; in large batches it gains nothing.
    """
    tried = COMPILED or ("eager",)
    return (*tried, "c") if objective == "latency" and can_make_c() else tried


def can_make_c() -> bool:
    """Whether a program in C can be written and compiled here."""
    return importlib.util.find_spec("emx_onnx_cgen") is not None and has_compiler()


@dataclass(frozen=True)
class ShapeJob(Spec):
    """A network's shape in a runtime, beside the uncompressed model in eager PyTorch."""

    data: DataSpec
    model: str
    config: TransformerConfig
    number_format: NumberFormat
    runtime: str
    batch_size: int
    machine: Machine


class QuickBenchmark:
    """A short benchmark on validation series, in this process and on one thread.

    Parameters
    ----------
    run : TrainingRun
        Whose uncompressed model is the reference.
    batch_size : int
        Series per call.
    objective : str
        Bytes are compared for "size", and CPU time for all others.
    runtimes : tuple of str
        What may execute a model.
    limits : tuple
        Bytes of RAM and of flash that a program in C may take; None for any.
    """

    def __init__(
        self,
        run: TrainingRun,
        batch_size: int,
        objective: str,
        runtimes: tuple[str, ...],
        limits: tuple[int | None, int | None],
    ) -> None:
        self.run, self.batch_size, self.runtimes, self.limits = run, batch_size, runtimes, limits
        self.ratio = "size_ratio" if objective == "size" else "cpu_ratio"
        self.dataset = data.load(run.data)

    def find_cheapest(self, model: CompressedModel) -> tuple[str, float]:
        """The runtime in which a model costs least, and its cost as a share of the reference's.

        Raises
        ------
        TooLarge
            If its program takes more memory than is allowed.
        StageFailed
            If no runtime can execute the model.
        """
        costs: list[tuple[float, str]] = []
        why = StageFailed("there is no runtime")
        for runtime in self.runtimes:
            try:
                costs.append((self.measure(model, runtime), runtime))
            except StageFailed as failure:
                why = failure
        if not costs:
            raise why
        cost, runtime = min(costs)
        return runtime, cost

    def find_alternatives(self, variant: Variant, cost: float) -> list[Variant]:
        """The recipe in the other runtimes, and followed by each number format that promises to cost no more."""
        found = [Variant(variant.recipe, runtime) for runtime in self.runtimes if runtime != variant.runtime]
        for step, runtime in itertools.product(FORMATS, self.runtimes):
            longer = variant.recipe + Recipe.parse(step)
            try:
                convert.check(runtime, longer.number_format)
                _, model = stages.compress_model(self.run, longer)
                if self.measure(model, runtime) < WORTH * cost:
                    found.append(Variant(longer, runtime))
            except (UserError, StageFailed):
                continue
        return found

    def measure(self, model: CompressedModel, runtime: str) -> float:
        """A model's cost as a share of the reference's.

        Raises
        ------
        UserError
            If the runtime does not execute the model's number format.
        TooLarge
            If its program takes more memory than is allowed.
        StageFailed
            If it fails, or is not installed.
        """
        convert.check(runtime, model.number_format)
        run, config = self.run, model.network.config
        job = ShapeJob(run.data, run.model, config, model.number_format, runtime, self.batch_size, describe_machine())

        def work(folder: Path) -> dict[str, float]:
            reference, reference_bytes = self._reference
            with tempfile.TemporaryDirectory(dir=folder) as files:
                made = convert.convert(
                    model,
                    runtime,
                    Path(files),
                    equal_length=self.dataset.equal_length,
                    longest=self.dataset.longest,
                )
                cpu_ratio = self._compare(runtimes.load(files, runtime), reference)
            found = {"cpu_ratio": cpu_ratio, "size_ratio": made.model_bytes / reference_bytes}
            if made.flash_bytes is not None and made.ram_bytes is not None:
                found |= {"flash": made.flash_bytes, "RAM": made.ram_bytes + (made.stack_bytes or 0)}
            return found

        measured = run_or_load("shape", version("shape", runtime), run.label, job, work)[1]
        for kind, limit in zip(("RAM", "flash"), self.limits, strict=True):
            if limit is not None and measured[kind] > limit:
                raise TooLarge(f"{TOO_LARGE} {measured[kind]:,.0f} bytes of {kind}, where {limit:,} are allowed")
        return measured[self.ratio]

    def _compare(self, predict: Predict, reference: Predict) -> float:
        """CPU time of one predictor ÷ another's, turn by turn: the middle of a few rounds."""
        series = draw_sample(self.dataset.valid.x, max(SERIES, self.batch_size))
        calls = make_calls(series, self.dataset.equal_length, self.batch_size)
        runners = [Runner(name, each, calls) for name, each in (("shape", predict), ("reference", reference))]
        for runner in runners:
            runner.warm_up(QUICK, 0.0)
        spent = [[np.mean([r.sweep() for _ in range(r.sweeps)]) for r in runners] for _ in range(ROUNDS)]
        return float(np.median([own / other for own, other in spent]))

    @cached_property
    def _reference(self) -> tuple[Predict, int]:
        evaluation = stages.evaluate(self.run, REFERENCE)
        return runtimes.load(evaluation.folder, REFERENCE.runtime), evaluation.conversion.model_bytes
