"""ONNX Runtime: fp32, and dynamic and static int8 by its own quantizer, with weights quantized per channel."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tsc_lib.compress.model import CompressedModel
from tsc_lib.deploy.deployed import Deployed
from tsc_lib.deploy.tracing import calibration_of, graphs
from tsc_lib.runtimes.cascade import part_names
from tsc_lib.runtimes.onnxruntime import MODEL, session
from tsc_lib.runtimes.predictor import RuntimeUnavailable

FORMATS = ("fp32", "int8 dynamic", "int8 static")
CALIBRATION_BATCH = 32

INT8_OPERATORS = {"DynamicQuantizeMatMul", "MatMulIntegerToFloat", "MatMulInteger", "QLinearMatMul", "QGemm"}
FP32_OPERATORS = {"MatMul", "FusedMatMul", "Gemm", "FusedGemm"}


def prepare(model: CompressedModel, folder: Path, equal_length: bool) -> Deployed:
    """Write ``model.onnx``, and a graph more for each early exit.

    Raises
    ------
    RuntimeUnavailable
        If ONNX Runtime, or what writes its graphs, is not installed.
    """
    _import()
    details: dict[str, float | int | str | bool] = {}
    found = []
    names = part_names(MODEL, len(model.network.exits))
    for name, program in zip(names, graphs(model, equal_length, fused=False), strict=True):
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            plain, result = Path(temporary) / "fp32.onnx", Path(temporary) / name
            _export(program, plain)
            if model.number_format == "fp32":
                plain.replace(result)
            else:
                details["reduce_range"] = _quantize(model, plain, result)
            found.append((*_operators(result), _weight_bytes(result)))
            result.replace(folder / name)
    int8_ops, fp32_ops, model_bytes = map(sum, zip(*found, strict=True))
    return Deployed(model_bytes=model_bytes, int8_ops=int8_ops, fp32_ops=fp32_ops, details=details)


def _import() -> Any:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 - torch's exporter needs it

        return onnx, onnxruntime
    except ImportError as error:
        raise RuntimeUnavailable(f"onnxruntime needs {error.name}: pip install 'tsc_lib[runtimes]'") from None


def _export(graph: torch.export.ExportedProgram, path: Path) -> None:
    onnx, _ = _import()
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it tells of torchvision, which nobody needs here
    try:
        with torch.no_grad(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(graph, dynamo=True)
    finally:
        logger.setLevel(level)
    assert program is not None
    proto = program.model_proto
    # The exporter's shapes of intermediate values contradict those that the quantizer infers anew.
    del proto.graph.value_info[:]
    onnx.save(proto, path)


def _quantize(model: CompressedModel, plain: Path, result: Path) -> bool:
    """Quantize the products with weights; returns whether weights were held to seven bits."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static

    # Without VNNI two int8 products are added in 16 bits: weights need a bit of headroom there.
    reduce_range = not torch.cpu._is_vnni_supported()
    common: dict[str, Any] = {
        "per_channel": True,
        "reduce_range": reduce_range,
        "weight_type": QuantType.QInt8,
        "op_types_to_quantize": ["MatMul", "Gemm"],
        "nodes_to_exclude": _products_of_activations(plain),
    }
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # the quantizer advises on preprocessing through the root logger
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            if model.number_format == "int8 dynamic":
                quantize_dynamic(plain, result, **common)
            else:
                # With quantizing and dequantizing nodes instead (QDQ) the runtime fuses about a third of the products
                # and executes the others in fp32.
                quantize_static(plain, result, _Reader(model, plain), quant_format=QuantFormat.QOperator, **common)
    finally:
        root.setLevel(level)
    return reduce_range


def _products_of_activations(path: Path) -> list[str]:
    """Names of attention's products, which stay in fp32: they have no weights."""
    onnx, _ = _import()
    graph = onnx.load(path).graph
    weights = {value.name for value in graph.initializer}
    return [node.name for node in graph.node if node.op_type == "MatMul" and not weights & set(node.input)]


class _Reader:
    """Hands the calibration series to the quantizer, batch by batch."""

    def __init__(self, model: CompressedModel, path: Path) -> None:
        onnx, _ = _import()
        names = [value.name for value in onnx.load(path, load_external_data=False).graph.input]
        arrays = calibration_of(model)
        self._batches = iter(
            {name: array[start : start + CALIBRATION_BATCH] for name, array in zip(names, arrays, strict=True)}
            for start in range(0, len(arrays[0]), CALIBRATION_BATCH)
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch, None after the last."""
        return next(self._batches, None)

    def __iter__(self) -> _Reader:
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        return next(self._batches)


def _operators(path: Path) -> tuple[int, int]:
    """Linear layers in int8 and in fp32, counted in the graph as the runtime has optimised it."""
    onnx, _ = _import()
    optimized = path.with_name("optimized.onnx")
    session(path, 1, optimized)
    graph = onnx.load(optimized).graph
    weights = {value.name for value in graph.initializer}
    linear = [node.op_type for node in graph.node if len(node.input) > 1 and weights & set(node.input[1:])]
    return sum(kind in INT8_OPERATORS for kind in linear), sum(kind in FP32_OPERATORS for kind in linear)


def _weight_bytes(path: Path) -> int:
    """Bytes of the weights, scales and zero points that the graph holds; the table of positions is no weight."""
    onnx, _ = _import()
    named = {value.name: onnx.numpy_helper.to_array(value) for value in onnx.load(path).graph.initializer}
    return sum(array.nbytes for name, array in named.items() if "table" not in name and array.dtype != np.int64)
