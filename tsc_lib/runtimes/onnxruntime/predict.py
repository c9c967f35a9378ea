"""ONNX Runtime: executes ONNX graphs, in fp32, int8 and with weights in int8 or int4."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tsc_lib.runtimes.cascade import CascadePredictor, part_names
from tsc_lib.runtimes.predictor import ModelDescription, Predictor, graph_inputs, run_in_parts

MODEL = "model.onnx"
FILES = ("model.json",)
PARTS = (MODEL,)
PACKAGES = ("onnxruntime",)

TOKENS = 768
"""Tokens for each thread that the graph is executed on at once. What its operators hand to one another is then small
enough for a core's cache."""


class OnnxRuntimePredictor:
    """Executes an ONNX graph, on large batches part by part.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
        Of the graph.
    stride : int
        Time steps from one token to the next.
    threads : int
        Threads of the session.
    """

    def __init__(self, session: Any, stride: int, threads: int) -> None:
        self.session, self.stride = session, stride
        self._steps = TOKENS * threads * stride  # time steps in a part
        self._inputs = [value.name for value in session.get_inputs()]

    def __call__(self, x: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """Logits (n, classes) of series x (n, channels, length)."""
        given = graph_inputs(x, lengths, self.stride)
        return run_in_parts(lambda *part: self.run(*part)[0], given, self._steps, self.stride)

    def run(self, *given: np.ndarray) -> list[np.ndarray]:
        """What the graph gives for its inputs."""
        return self.session.run(None, dict(zip(self._inputs, given, strict=True)))


def load(folder: Path, threads: int) -> Predictor:
    """A predictor of the graph in `folder`, or of its graphs, where the model has early exits."""
    described = ModelDescription.read(folder)
    stride, thresholds = described.stride, described.thresholds
    names = part_names(MODEL, len(thresholds))
    parts = [OnnxRuntimePredictor(session(folder / name, threads), stride, threads) for name in names]
    return CascadePredictor([part.run for part in parts], thresholds, stride) if thresholds else parts[0]


def session(path: Path, threads: int, optimized: Path | None = None, profile: Path | None = None) -> Any:
    """An `onnxruntime.InferenceSession`.

    The graph as it will run goes to `optimized`, if given, and the time of each operator to a file whose path begins
    with `profile`.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # Threads that spin while they wait would be counted as work.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The softmax of a padded token is no zero but a number too small for fp32's exponent, and some processors compute
    # with these many times as slowly.
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    options.log_severity_level = 3
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
