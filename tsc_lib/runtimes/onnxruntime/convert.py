"""ONNX Runtime: fp32, dynamic and static int8 with weights quantized per channel, int8 and int4 of weights alone."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tsc_lib.models.compressed import CompressedModel
from tsc_lib.runtimes import processor
from tsc_lib.runtimes.cascade import part_names
from tsc_lib.runtimes.conversion import Conversion
from tsc_lib.runtimes.graph import InferenceTransformer
from tsc_lib.runtimes.onnxruntime import static_quantization
from tsc_lib.runtimes.onnxruntime.predict import MODEL, session
from tsc_lib.runtimes.predictor import not_importable
from tsc_lib.runtimes.tracing import calibration_of, graphs, layer_of

FORMATS = ("fp32", "int8 dynamic", "int8 static", "int8 weights", "int4 weights")
OBSERVERS = ("minmax", "percentile")
CALIBRATION_BATCH = 32

INT8_OPERATORS = {"DynamicQuantizeMatMul", "MatMulIntegerToFloat", "MatMulInteger"}
NARROW_WEIGHT_OPERATORS = {"MatMulNBits"}
FP32_OPERATORS = {"MatMul", "FusedMatMul", "Gemm", "FusedGemm", *NARROW_WEIGHT_OPERATORS}

INT8_GROUP = 32
"""Weights that share a scale in weight-only int8."""


def convert(model: CompressedModel, folder: Path, equal_length: bool) -> Conversion:
    """Write ``model.onnx``, and a graph more for each early exit.

    Raises
    ------
    RuntimeUnavailable
        If ONNX Runtime, or what writes its graphs, is not installed.
    """
    _import()
    details: dict[str, float | int | str | bool] = {}
    executed: Counter[str] = Counter()
    model_bytes = 0
    names = part_names(MODEL, len(model.network.exits))
    for name, program in zip(names, graphs(model, equal_length, attention="products"), strict=True):
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            plain, result = Path(temporary) / "fp32.onnx", Path(temporary) / name
            _export(program, plain)
            if model.number_format == "fp32":
                plain.replace(result)
            elif model.number_format.endswith("weights"):
                _narrow_weights(model, plain, result)
            else:
                details["reduce_range"] = _quantize(model, plain, result)
            executed += _operators(result)
            model_bytes += _weight_bytes(result)
            result.replace(folder / name)
    if model.number_format.endswith("weights"):
        details["narrow_weight_ops"] = sum(executed[kind] for kind in NARROW_WEIGHT_OPERATORS)
    int8_ops, fp32_ops = (sum(executed[kind] for kind in kinds) for kinds in (INT8_OPERATORS, FP32_OPERATORS))
    return Conversion(model_bytes=model_bytes, int8_ops=int8_ops, fp32_ops=fp32_ops, details=details)


def _import() -> Any:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 - torch's exporter needs it

        return onnx, onnxruntime
    except ImportError as error:
        raise not_importable("onnxruntime", error, install="'tsc_lib[runtimes]'") from None


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
    reduce_range = not processor.has_vnni()
    left_alone = _left_alone(model, plain)
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # the quantizer advises on preprocessing through the root logger
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            if model.number_format == "int8 static":
                quantization = model.quantization
                percentile = quantization.percentile if quantization.observer == "percentile" else None
                static_quantization.quantize(plain, result, _Reader(model, plain), left_alone, reduce_range, percentile)
            else:
                from onnxruntime.quantization import QuantType, quantize_dynamic

                quantize_dynamic(
                    plain,
                    result,
                    op_types_to_quantize=list(static_quantization.PRODUCTS),
                    per_channel=True,
                    reduce_range=reduce_range,
                    weight_type=QuantType.QInt8,
                    nodes_to_exclude=left_alone,
                )
    finally:
        root.setLevel(level)
    return reduce_range


def _left_alone(model: CompressedModel, path: Path) -> list[str]:
    """Names of the products that stay in fp32: attention's, which have no weights, and the layers that are to."""
    onnx, _ = _import()
    graph = onnx.load(path).graph
    weights = {value.name: value for value in graph.initializer}
    with torch.no_grad():
        network = InferenceTransformer(model.network, attention="products")
    left = []
    for node in graph.node:
        if node.op_type in static_quantization.PRODUCTS:
            own = [onnx.numpy_helper.to_array(weights[name]) for name in node.input[1:2] if name in weights]
            if not own or layer_of(own[0], network) in model.quantization.fp32_layers:
                left.append(node.name)
    return left


def _narrow_weights(model: CompressedModel, plain: Path, result: Path) -> None:
    """Store weights in groups of int8 or int4 numbers, which the runtime widens while it multiplies in fp32."""
    onnx, _ = _import()
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
    from onnxruntime.quantization.onnx_model import ONNXModel

    graph = ONNXModel(onnx.load(plain))
    graph.replace_gemm_with_matmul()
    bits, group = (8, INT8_GROUP) if model.number_format == "int8 weights" else (4, model.quantization.group)
    logging.getLogger("onnxruntime.quantization.matmul_nbits_quantizer").setLevel(logging.ERROR)  # a line for each node
    quantizer = MatMulNBitsQuantizer(graph.model, bits=bits, block_size=group, is_symmetric=True, accuracy_level=1)
    quantizer.process()
    onnx.save(quantizer.model.model, result)


class _Reader:
    """Hands the calibration series to the quantizer, batch by batch."""

    def __init__(self, model: CompressedModel, path: Path) -> None:
        onnx, _ = _import()
        names = [value.name for value in onnx.load(path, load_external_data=False).graph.input]
        arrays = calibration_of(model)
        # Histograms are made of batches of one size.
        size = len(arrays[0]) if model.quantization.observer == "percentile" else CALIBRATION_BATCH
        self._batches = iter(
            {name: array[start : start + size] for name, array in zip(names, arrays, strict=True)}
            for start in range(0, len(arrays[0]), size)
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch, None after the last."""
        return next(self._batches, None)

    def __iter__(self) -> _Reader:
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        return next(self._batches)


def _operators(path: Path) -> Counter[str]:
    """Operators of linear layers, counted in the graph as the runtime has optimised it."""
    onnx, _ = _import()
    optimized = path.with_name("optimized.onnx")
    session(path, 1, optimized)
    graph = onnx.load(optimized).graph
    weights = {value.name for value in graph.initializer}
    return Counter(node.op_type for node in graph.node if len(node.input) > 1 and weights & set(node.input[1:]))


def _weight_bytes(path: Path) -> int:
    """Bytes of the weights, scales and zero points that the graph holds; the table of positions is no weight."""
    onnx, _ = _import()
    named = {value.name: onnx.numpy_helper.to_array(value) for value in onnx.load(path).graph.initializer}
    return sum(array.nbytes for name, array in named.items() if "table" not in name and array.dtype != np.int64)
