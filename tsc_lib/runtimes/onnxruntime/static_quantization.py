"""Static int8 in an ONNX graph: products that take int8, by scales fixed beforehand, and give fp32.

The quantizer that comes with ONNX Runtime makes int8 of every product's result too, only for the next operator to widen
it again, or lets the residual stream pass through int8. Here a product's input is rounded, once for all products that
read it, and nothing else is. A ReLU between two products vanishes: what is rounded from 0 upwards loses its negatives.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from tsc_lib.models.number_format import INT8_WEIGHT

PRODUCTS = ("MatMul", "Gemm")
DOMAIN, INT8_PRODUCT = "com.microsoft", "MatMulIntegerToFloat"


def quantize_static(
    plain: Path, result: Path, series: Any, left_alone: Collection[str], percentile: float | None
) -> None:
    """Write a graph like that in `plain` whose products with weights are in int8.

    Parameters
    ----------
    plain, result : Path
        ONNX files; beside `result` the calibrator leaves a file of its own.
    series : onnxruntime.quantization.CalibrationDataReader
        Inputs of the graph to observe.
    left_alone : collection of str
        Names of the products that stay in fp32.
    percentile : float or None
        Share of what is observed, in per cent, that a range holds; None for all of it.
    """
    import onnx

    model = onnx.load(plain)
    graph = model.graph
    weights = {value.name: onnx.numpy_helper.to_array(value) for value in graph.initializer}
    products = {n.name: n for n in graph.node if n.op_type in PRODUCTS and n.name not in left_alone}
    ranges = _observe(plain, result.with_name("calibration.onnx"), series, percentile)
    read = {node.input[0] for node in products.values()}
    rounding = {name: _make_rounding(name, *ranges[name].range_value) for name in read}
    nodes: list[Any] = []
    constants: dict[str, Any] = {}
    for node in graph.node:
        if node.name not in products:
            nodes.append(node)
            continue
        quantizing, scale, zero = rounding[node.input[0]]
        if scale.name not in constants:
            nodes.append(quantizing)
        weight = weights[node.input[1]]
        across = any(a.name == "transB" and a.i for a in node.attribute)
        narrow, scales = _narrow_weight(node.name, weight.T if across else weight)
        constants |= {value.name: value for value in (scale, zero, narrow, scales)}
        inputs = [quantizing.output[0], narrow.name, scale.name, scales.name, zero.name, "", *node.input[2:]]
        nodes.append(onnx.helper.make_node(INT8_PRODUCT, inputs, node.output, name=node.name, domain=DOMAIN))
    wanted = {name for node in nodes for name in node.input}
    kept = [value for value in graph.initializer if value.name in wanted]
    for field, content in ((graph.node, nodes), (graph.initializer, [*kept, *constants.values()])):
        del field[:]
        field.extend(content)
    if all(known.domain != DOMAIN for known in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
    onnx.save(model, result)


def _observe(plain: Path, augmented: Path, series: Any, percentile: float | None) -> Any:
    """The ranges of the graph's tensors, by name."""
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator

    method, options = CalibrationMethod.MinMax, dict[str, Any]()
    if percentile is not None:
        method, options = CalibrationMethod.Percentile, {"percentile": percentile, "symmetric": False}
    calibrator = create_calibrator(plain, PRODUCTS, str(augmented), calibrate_method=method, extra_options=options)
    calibrator.collect_data(series)
    return calibrator.compute_data()


def _make_rounding(name: str, low: np.ndarray, high: np.ndarray) -> tuple[Any, Any, Any]:
    """The node that rounds a tensor to 0 ... 255, its scale and its zero point."""
    import onnx

    least, most = min(float(low), 0.0), max(float(high), 0.0)
    step = (most - least) / 255 or 1.0
    scale = onnx.numpy_helper.from_array(np.array(step, np.float32), f"{name}.scale")
    zero = onnx.numpy_helper.from_array(np.array(round(-least / step), np.uint8), f"{name}.zero")
    node = onnx.helper.make_node("QuantizeLinear", [name, scale.name, zero.name], [f"{name}.int8"], f"{name}.quantize")
    return node, scale, zero


def _narrow_weight(name: str, weight: np.ndarray) -> tuple[Any, Any]:
    """A product's weight (inputs, outputs) in int8, symmetric, and its scales (outputs,)."""
    import onnx

    scales = np.abs(weight).max(axis=0) / INT8_WEIGHT
    scales = np.where(scales > 0, scales, 1).astype(np.float32)  # of an output without weights nothing is left
    narrow = np.ascontiguousarray(np.round(weight / scales).astype(np.int8))
    return (
        onnx.numpy_helper.from_array(narrow, f"{name}.weight.int8"),
        onnx.numpy_helper.from_array(scales, f"{name}.weight.scale"),
    )
