"""ONNX Runtime: fp32, dynamic and static int8 with weights quantized per channel, int8 and int4 of weights alone."""

from __future__ import annotations

import ast
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
from tsc_lib.models.number_format import NumberFormat
from tsc_lib.runtimes.cascade import part_names
from tsc_lib.runtimes.conversion import Conversion
from tsc_lib.runtimes.onnxruntime.predict import MODEL, session
from tsc_lib.runtimes.onnxruntime.static_quantization import PRODUCTS, quantize_static
from tsc_lib.runtimes.predictor import not_importable
from tsc_lib.runtimes.tracing import WRAPPED, calibration_batches, is_positions, trace_parts

FORMATS = tuple(kind for kind in NumberFormat if kind is not NumberFormat.BF16)
OBSERVERS = ("minmax", "percentile")
CALIBRATION_BATCH = 32

INT8_OPERATORS = {"DynamicQuantizeMatMul", "MatMulIntegerToFloat", "MatMulInteger"}
NARROW_WEIGHT_OPERATORS = {"MatMulNBits"}
FP32_OPERATORS = {"MatMul", "FusedMatMul", "Gemm", "FusedGemm", *NARROW_WEIGHT_OPERATORS}

SCOPES = "pkg.torch.onnx.name_scopes"
"""Where the exporter records the modules that a node comes from, from the outermost."""

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
    number_format = model.number_format
    executed: Counter[str] = Counter()
    model_bytes = 0
    names = part_names(MODEL, len(model.network.exits))
    for name, program in zip(names, trace_parts(model, equal_length, "matmul"), strict=True):
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            plain, result = Path(temporary) / "fp32.onnx", Path(temporary) / name
            _export(program, plain)
            if number_format is NumberFormat.FP32:
                plain.replace(result)
            elif number_format.weights_only:
                _narrow_weights(model, plain, result)
            else:
                _quantize(model, plain, result)
            executed += _count_operators(result)
            model_bytes += _count_bytes(result)
            result.replace(folder / name)
    int8_ops, fp32_ops, narrow = (
        sum(executed[kind] for kind in kinds) for kinds in (INT8_OPERATORS, FP32_OPERATORS, NARROW_WEIGHT_OPERATORS)
    )
    return Conversion(
        model_bytes=model_bytes,
        int8_ops=int8_ops,
        fp32_ops=fp32_ops,
        narrow_weight_ops=narrow if number_format.weights_only else None,
    )


def _import() -> Any:
    try:
        import onnx
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise not_importable("onnxruntime", error, install="'tsc_lib[runtimes]'") from None
    return onnx


def _export(graph: torch.export.ExportedProgram, path: Path) -> None:
    onnx = _import()
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
    _name_products(proto.graph)
    onnx.save(proto, path)


def _name_products(graph: Any) -> None:
    """Give every product with a weight the name of its layer in `InferenceTransformer`, as the exporter recorded it."""
    weights = {value.name for value in graph.initializer}
    for node in graph.node:
        if node.op_type in PRODUCTS and node.input[1] in weights:
            [scopes] = (entry.value for entry in node.metadata_props if entry.key == SCOPES)
            node.name = ast.literal_eval(scopes)[-2].removeprefix(WRAPPED)  # the last is the operator


def _quantize(model: CompressedModel, plain: Path, result: Path) -> None:
    """Quantize the products with weights, to seven bits (see `INT8_WEIGHT`)."""
    onnx = _import()
    graph = onnx.load(plain).graph
    weights = {value.name for value in graph.initializer}
    left_alone = [  # attention's, which have no weights, and the layers that are to stay in fp32
        node.name
        for node in graph.node
        if node.op_type in PRODUCTS and (node.input[1] not in weights or node.name in model.quantization.fp32_layers)
    ]
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # the quantizer advises on preprocessing through the root logger
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            if model.number_format is NumberFormat.INT8_STATIC:
                quantization = model.quantization
                percentile = quantization.percentile if quantization.observer == "percentile" else None
                reader = _Reader(model, [value.name for value in graph.input])
                quantize_static(plain, result, reader, left_alone, percentile)
            else:
                from onnxruntime.quantization import QuantType, quantize_dynamic

                quantize_dynamic(
                    plain,
                    result,
                    op_types_to_quantize=list(PRODUCTS),
                    per_channel=True,
                    reduce_range=True,
                    weight_type=QuantType.QInt8,
                    nodes_to_exclude=left_alone,
                )
    finally:
        root.setLevel(level)


def _narrow_weights(model: CompressedModel, plain: Path, result: Path) -> None:
    """Store weights in groups of int8 or int4 numbers, which the runtime widens while it multiplies in fp32."""
    onnx = _import()
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
    from onnxruntime.quantization.onnx_model import ONNXModel

    graph = ONNXModel(onnx.load(plain))
    graph.replace_gemm_with_matmul()
    bits, group = (8, INT8_GROUP) if model.number_format is NumberFormat.INT8_WEIGHTS else (4, model.quantization.group)
    logging.getLogger("onnxruntime.quantization.matmul_nbits_quantizer").setLevel(logging.ERROR)  # a line for each node
    quantizer = MatMulNBitsQuantizer(graph.model, bits=bits, block_size=group, is_symmetric=True, accuracy_level=1)
    quantizer.process()
    onnx.save(quantizer.model.model, result)


class _Reader:
    """Hands the calibration series to the quantizer, batch by batch, by the names of the graph's inputs."""

    def __init__(self, model: CompressedModel, names: list[str]) -> None:
        # Histograms are made of batches of one size.
        size = None if model.quantization.observer == "percentile" else CALIBRATION_BATCH
        self._batches = (dict(zip(names, batch, strict=True)) for batch in calibration_batches(model, size))

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch, None after the last."""
        return next(self._batches, None)


def _count_operators(path: Path) -> Counter[str]:
    """Operators of linear layers, counted in the graph as the runtime has optimised it."""
    onnx = _import()
    optimized = path.with_name("optimized.onnx")
    session(path, 1, optimized)
    graph = onnx.load(optimized).graph
    weights = {value.name for value in graph.initializer}
    return Counter(node.op_type for node in graph.node if len(node.input) > 1 and weights & set(node.input[1:]))


def _count_bytes(path: Path) -> int:
    """Bytes of the weights, scales and zero points that the graph holds; the table of positions is no weight."""
    onnx = _import()
    values = [value for value in onnx.load(path).graph.initializer if not is_positions(value.name)]
    return sum(array.nbytes for array in map(onnx.numpy_helper.to_array, values) if array.dtype != np.int64)
