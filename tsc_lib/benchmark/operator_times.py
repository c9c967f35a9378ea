"""Where the time of a graph goes in ONNX Runtime, operator by operator, as the runtime itself tells."""

from __future__ import annotations

import json
import logging
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tsc_lib.benchmark.host import hold_host_lock
from tsc_lib.benchmark.inputs import Call
from tsc_lib.core.files import Json
from tsc_lib.runtimes.onnxruntime.predict import MODEL, OnnxRuntimePredictor, session
from tsc_lib.runtimes.predictor import ModelDescription

LINEAR, ATTENTION, SOFTMAX, NORM, REST = KINDS = (
    "products with weights", "products of attention", "exponentials, softmax", "layer norms", "all else"
)  # fmt: skip
"""What an operator does; all else adds, divides, cuts, joins and reorders."""

BY_OPERATOR = {"Exp": SOFTMAX, "Softmax": SOFTMAX, "LayerNormalization": NORM}
PRODUCTS = ("MatMul", "FusedMatMul", "Gemm", "FusedGemm", "Conv")

WARM_UP = 3
EVENT = "_kernel_time"

MOST_EVENTS = 1_000_000
"""Events that ONNX Runtime's profiler keeps; it leaves out later ones."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OperatorTimes:
    """What the operators of one kind do and take in a sweep.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    operators : int
        How many one call of the graph executes.
    macs : int
        Multiply-accumulates of a sweep.
    ms : list of float
        The time of every sweep.
    """

    kind: str
    operators: int
    macs: int
    ms: list[float]


def measure_operators(folder: Path, calls: Sequence[Call], repeats: int) -> list[OperatorTimes]:
    """Time and arithmetic of each kind of operator in a model of fp32, on one thread.

    Telling takes the runtime about a microsecond an operator, so calls should be large.

    Parameters
    ----------
    folder : Path
        What `tsc_lib.runtimes.convert.convert` filled for ONNX Runtime, without early exits.
    calls : sequence of Call
        A sweep.
    repeats : int
        Sweeps to measure, after some to warm up; fewer if the runtime would not tell of so many.

    Returns
    -------
    list of OperatorTimes
        One for each of `KINDS`.

    Raises
    ------
    RuntimeError
        If the runtime does not tell of every operator that was executed.
    """
    import onnx

    with tempfile.TemporaryDirectory() as temporary, hold_host_lock(logger.warning):
        optimized = Path(temporary) / "optimized.onnx"

        def told(sweeps: int) -> list[Json]:
            profiled = session(folder / MODEL, 1, optimized=optimized, profile=Path(temporary) / "profile")
            predict = OnnxRuntimePredictor(profiled, ModelDescription.read(folder).stride, 1)
            for _ in range(sweeps):
                for call in calls:
                    predict(call.x, call.lengths)
            events: list[Json] = json.loads(Path(profiled.end_profiling()).read_text())
            return events

        one = told(1)
        count = min(WARM_UP + repeats, MOST_EVENTS // len(one))
        if count <= WARM_UP:
            raise RuntimeError(f"ONNX Runtime's profiler cannot tell of {WARM_UP + 1} sweeps of {len(one)} events")
        executed, each = _executions(told(count)), len(_executions(one))
        graph = onnx.load(optimized).graph
    if len(executed) != count * each:  # every sweep executes the same
        raise RuntimeError(f"ONNX Runtime's profiler tells of {len(executed)} operators where {count * each} ran")
    weights = {value.name for value in graph.initializer}
    kinds = {node.name: _kind(node, weights) for node in graph.node}
    transposed = {node.name: any(a.name == "transA" and a.i for a in node.attribute) for node in graph.node}
    sweeps = [executed[start : start + each] for start in range(WARM_UP * each, len(executed), each)]
    rows = []
    for kind in KINDS:
        mine = [[event for event in sweep if kinds[_node(event)] == kind] for sweep in sweeps]
        rows.append(
            OperatorTimes(
                kind=kind,
                operators=sum(found == kind for found in kinds.values()),
                macs=sum(_macs(event, transposed[_node(event)]) for event in mine[0]),
                ms=[sum(event["dur"] for event in sweep) / 1000 for sweep in mine],
            )
        )
    return rows


def _executions(events: list[Json]) -> list[Json]:
    return [event for event in events if event["cat"] == "Node" and event["name"].endswith(EVENT)]


def _kind(node: Any, weights: set[str]) -> str:
    if node.op_type in PRODUCTS:
        return LINEAR if weights & set(node.input[1:2]) else ATTENTION
    return BY_OPERATOR.get(node.op_type, REST)


def _node(event: Json) -> str:
    return str(event["name"].removesuffix(EVENT))


def _macs(event: Json, transposed: bool) -> int:
    """Multiply-accumulates of one execution: for every number that comes out as many as it is the sum of."""
    operator = event["args"]["op_name"]
    if operator not in PRODUCTS:
        return 0
    first, *others = (shape for given in event["args"]["input_type_shape"] for shape in given.values())
    [out] = (shape for given in event["args"]["output_type_shape"] for shape in given.values())
    # Weights that the runtime has repacked for itself are not told; those of a convolution it leaves as they are.
    terms = math.prod(others[0][1:]) if operator == "Conv" else first[-2 if transposed else -1]
    return math.prod(out) * int(terms)
