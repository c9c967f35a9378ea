"""The versions of all stages: they decide whether a stored result is still valid.

Raise a stage's version when it computes something else than before, and only then: what is stored of it, and of every
stage after it, is then computed again. `tsc_lib.study.acknowledge` finds the stages whose code changed.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """A stage of the study, or a part of one.

    Attributes
    ----------
    version : int
        Of what it computes.
    code : tuple of str
        Modules and packages of `tsc_lib` that decide it, or ``module:function`` where one function of a module does.
        What one stage names by itself is no part of the package that another stage names.
    after : tuple of str
        Stages on whose results it builds.
    """

    version: int
    code: tuple[str, ...]
    after: tuple[str, ...] = ()


STAGES = {
    "data": Stage(1, ("data", "series", "study.summaries")),
    "train": Stage(
        6, ("data", "series", "models", "training", "study.stages:train", "study.stages:teach", "study.stages:pretrain")
    ),
    "compress": Stage(
        2,
        ("compress", "models.compressed", "models.early_exit", "models.token_reduction", "study.stages:compress_model"),
        ("train",),
    ),
    "evaluate": Stage(3, ("runtimes", "study.evaluation", "study.stages:evaluate"), ("compress",)),
    "predict": Stage(
        7,
        (
            "runtimes.predictor",
            "runtimes.cascade",
            *(f"runtimes.{runtime}.predict" for runtime in ("eager", "inductor", "onnxruntime", "openvino", "c")),
        ),
    ),
    # Of what is made for one runtime alone.
    "eager": Stage(0, ("runtimes.eager",)),
    "inductor": Stage(6, ("runtimes.inductor",)),
    "onnxruntime": Stage(5, ("runtimes.onnxruntime",)),
    "openvino": Stage(7, ("runtimes.openvino",)),
    "c": Stage(3, ("runtimes.c",)),
    "aeon": Stage(1, ("runtimes.aeon", "models.classic")),
    "classic": Stage(1, ("study.classics",), ("aeon",)),
    "benchmark": Stage(1, ("benchmark", "energy", "core.stats", "study.stages:measure"), ("evaluate", "predict")),
    "side-by-side": Stage(1, ("study.model_comparison:measure_models",), ("benchmark",)),
    "rows": Stage(1, ("study.rows", "study.schema", "study.operations", "energy.opcount"), ("benchmark",)),
    "peak": Stage(1, ("benchmark.peak", "study.stages:measure_peaks")),
    "operators": Stage(1, ("benchmark.operator_times", "study.operator_shares:load_times"), ("benchmark",)),
    "layer-errors": Stage(
        1, ("runtimes.onnxruntime.layer_error", "study.layer_sensitivity:load_errors"), ("evaluate",)
    ),
    "sensitivity": Stage(1, ("compress.sensitivity", "study.layer_sensitivity:load_sensitivity"), ("compress",)),
    "shape": Stage(1, ("search.quick_benchmark",), ("predict",)),
    "microcontroller": Stage(2, ("microcontroller", "study.microcontrollers:emulate_variant"), ("evaluate",)),
    "search": Stage(4, ("search",), ("benchmark",)),
}

NOT_STORED = (
    *("benchmark.doctor", "compress.documentation", "energy.crosscheck", "search.finalists", "search.plan"),
    *("search.promise", "search.results", "series.csvfile", "series.formats"),
)
"""Modules in the packages above that decide no stored result."""


def version(stage: str, *runtimes: str) -> tuple[int, ...]:
    """The versions of a stage, of all that it builds on, and of the runtimes that take part in it."""
    own = STAGES[stage]
    before = (number for name in own.after for number in version(name))
    return (*before, own.version, *(n for each in runtimes for n in version(each) if n))
