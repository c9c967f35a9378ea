"""Runtimes as their documentation shows them: what `tsc_lib.runtimes` must not be slower than.

Each function takes the network as it was trained, in the study's own form, makes a model of it in the most direct way
and returns a predictor. Threads are set, because everybody who measures on one thread would, and nothing else is.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tsc_lib.models.compressed import CompressedModel, load_model
from tsc_lib.runtimes import Predictor
from tsc_lib.runtimes.predictor import graph_inputs
from tsc_lib.runtimes.tracing import calibration_batches, make_example

CALIBRATION_BATCH = 32


def load(folder: str, way: str, threads: int, equal_length: bool) -> Predictor:
    """A predictor of a stored network, made in one of `WAYS`.

    Parameters
    ----------
    folder : str
        Holds the network and, for int8, its calibration series.
    way : str
        One of `WAYS`.
    threads : int
        Threads to run on.
    equal_length : bool
        Whether all series have one length.
    """
    torch.set_num_threads(threads)
    for name in ("torch.onnx", "torchao", "nncf"):
        logging.getLogger(name).setLevel(logging.ERROR)
    model = load_model(Path(folder))
    with torch.no_grad(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        run = WAYS[way](model, threads, equal_length)
    patch = model.network.config.embedding.patch

    def predict(x: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        return run(*graph_inputs(x, lengths, patch))

    return predict


Run = Callable[..., np.ndarray]


def onnxruntime_fp32(model: CompressedModel, threads: int, equal_length: bool) -> Run:
    """`torch.onnx.export`, then an `onnxruntime.InferenceSession`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        _exported(model, equal_length, path)
        return _session(path, threads)


def onnxruntime_int8(model: CompressedModel, threads: int, equal_length: bool) -> Run:
    """`quantize_static` with its defaults between the two."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self, names: list[str]) -> None:
            self.batches = iter(
                [dict(zip(names, batch, strict=True)) for batch in calibration_batches(model, CALIBRATION_BATCH)]
            )

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.batches, None)

    with tempfile.TemporaryDirectory() as folder:
        path, result = Path(folder) / "model.onnx", Path(folder) / "int8.onnx"
        names = _exported(model, equal_length, path)
        quantize_static(path, result, Reader(names))
        return _session(result, threads)


def openvino_fp32(model: CompressedModel, threads: int, equal_length: bool) -> Run:
    """`openvino.convert_model`, then `compile_model`."""
    return _compiled(_converted(model, equal_length), threads)


def openvino_int8(model: CompressedModel, threads: int, equal_length: bool) -> Run:
    """`nncf.quantize` with its defaults between the two."""
    import nncf

    dataset = nncf.Dataset(
        [batch[0] if len(batch) == 1 else batch for batch in calibration_batches(model, CALIBRATION_BATCH)]
    )
    return _compiled(nncf.quantize(_converted(model, equal_length), dataset), threads)


def inductor_int8(model: CompressedModel, threads: int, equal_length: bool) -> Run:
    """PT2E: `prepare_pt2e`, `convert_pt2e`, and `torch.compile` with frozen weights."""
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    inputs, shapes = make_example(model, equal_length)
    quantizer = x86.X86InductorQuantizer()
    quantizer.set_global(x86.get_default_x86_inductor_quantization_config())
    graph = prepare_pt2e(torch.export.export(model.network, inputs, dynamic_shapes=shapes).module(), quantizer)
    for batch in calibration_batches(model, CALIBRATION_BATCH):
        graph(*map(torch.from_numpy, batch))
    torch._inductor.config.freezing = True
    compiled = torch.compile(convert_pt2e(graph))

    def run(*given: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return compiled(*map(torch.from_numpy, given)).numpy()

    return run


def _exported(model: CompressedModel, equal_length: bool, path: Path) -> list[str]:
    """Write the network's graph; returns the names of its inputs."""
    import onnx

    inputs, shapes = make_example(model, equal_length)
    program = torch.onnx.export(model.network, inputs, dynamic_shapes=shapes, dynamo=True, verbose=False)
    assert program is not None
    proto = program.model_proto
    del proto.graph.value_info[:]  # the quantizer stops at shapes that contradict its own
    onnx.save(proto, path)
    return [value.name for value in proto.graph.input]


def _session(path: Path, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return lambda *given: session.run(None, dict(zip(names, given, strict=True)))[0]


def _converted(model: CompressedModel, equal_length: bool) -> Any:
    import openvino

    inputs, shapes = make_example(model, equal_length)
    return openvino.convert_model(torch.export.export(model.network, inputs, dynamic_shapes=shapes))


def _compiled(converted: Any, threads: int) -> Run:
    import openvino

    # Left alone it takes bf16 where the processor has it, which would be another number format.
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.compile_model(converted, "CPU", settings)
    return lambda *given: compiled(given)[0]


WAYS = {
    "onnxruntime fp32": onnxruntime_fp32,
    "onnxruntime int8": onnxruntime_int8,
    "openvino fp32": openvino_fp32,
    "openvino int8": openvino_int8,
    "inductor int8": inductor_int8,
}
"""What makes a predictor of a network, by runtime and number format."""
