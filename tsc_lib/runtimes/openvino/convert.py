"""OpenVINO: fp32, bf16, static int8, and int8 and int4 of weights alone, the last three through NNCF."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tsc_lib.core.errors import RuntimeUnavailable
from tsc_lib.models.compressed import CompressedModel, Quantization
from tsc_lib.runtimes import processor
from tsc_lib.runtimes.cascade import part_names
from tsc_lib.runtimes.conversion import Conversion
from tsc_lib.runtimes.graph import InferenceTransformer
from tsc_lib.runtimes.openvino.predict import MODEL, compiled
from tsc_lib.runtimes.predictor import not_importable
from tsc_lib.runtimes.tracing import calibration_of, graphs, layer_of

FORMATS = ("fp32", "bf16", "int8 static", "int8 weights", "int4 weights")
OBSERVERS = ("minmax", "percentile", "mse")
CALIBRATION_BATCH = 32


def convert(model: CompressedModel, folder: Path, equal_length: bool) -> Conversion:
    """Write ``model.xml`` and ``model.bin``, and both once more for each early exit.

    Raises
    ------
    RuntimeUnavailable
        If OpenVINO, or for int8 NNCF, is not installed, or the processor lacks instructions for the format.
    """
    openvino = _import("openvino")
    if model.number_format == "bf16" and "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise RuntimeUnavailable(processor.NO_BF16)
    paths = [folder / name for name in part_names(MODEL, len(model.network.exits))]
    executed: Counter[str] = Counter()
    model_bytes, positions = 0, InferenceTransformer(model.network, attention="operator").embedding.table.numpy()
    for path, program in zip(paths, graphs(model, equal_length, attention="operator"), strict=True):
        with torch.no_grad(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            converted = openvino.convert_model(program)
            if model.number_format == "int8 static":
                converted = _quantize(model, converted)
            elif model.number_format.endswith("weights"):
                converted = _narrow_weights(model, converted)
        openvino.save_model(converted, path, compress_to_fp16=False)
        model_bytes += _weight_bytes(converted, positions, model.number_format)
        executed += _operators(compiled(path, 1, model.number_format))
    int8_ops, fp32_ops = executed["i8"] + executed["u8"], executed["f32"]
    details: dict[str, float | int | str | bool] = {}
    if model.number_format == "bf16":
        details["bf16_ops"] = executed["bf16"]
    elif model.number_format.endswith("weights"):  # the precision that such a layer tells is that of its weights
        details["narrow_weight_ops"] = sum(executed.values()) - fp32_ops
        int8_ops, fp32_ops = 0, sum(executed.values())
    return Conversion(
        model_bytes=model_bytes,
        int8_ops=int8_ops,
        fp32_ops=fp32_ops,
        details=details,
    )


def _weight_bytes(converted: Any, positions: np.ndarray, number_format: str) -> int:
    """Bytes of the weights and scales of a graph as it is executed; the table of positions is no weight."""
    total = 0
    for constant in (op for op in converted.get_ordered_ops() if op.get_type_name() == "Constant"):
        kind = constant.get_element_type().get_type_name()
        shape = tuple(constant.shape)
        table = kind == "f32" and shape[1:] == positions.shape[1:] and len(shape) == 2
        if kind in ("i32", "i64") or (table and np.array_equal(constant.data, positions[: shape[0]])):
            continue
        # What is executed in bf16 is kept in fp32 until then.
        total += constant.get_byte_size() // (2 if number_format == "bf16" and kind == "f32" else 1)
    return total


def _import(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise not_importable("openvino", error, install="'tsc_lib[runtimes]'") from None


def _quantize(model: CompressedModel, converted: Any) -> Any:
    network = InferenceTransformer(model.network, attention="operator")
    nncf = _import("nncf")
    logging.getLogger("nncf").setLevel(logging.ERROR)
    arrays = calibration_of(model)
    advanced: dict[str, Any] = {}
    size = CALIBRATION_BATCH
    if model.quantization.observer != "native":  # which averages the ends of the batches
        advanced["activations_range_estimator_params"] = _range(model.quantization)
        size = len(arrays[0])
    batches = [tuple(array[start : start + size] for array in arrays) for start in range(0, len(arrays[0]), size)]
    dataset = nncf.Dataset([batch[0] if len(batch) == 1 else batch for batch in batches])
    vnni = processor.has_vnni()
    headroom = nncf.OverflowFix.DISABLE if vnni else nncf.OverflowFix.ENABLE
    left = [
        product.get_friendly_name()
        for product in converted.get_ops()
        if product.get_type_name() == "MatMul"
        and (weight := product.input_value(1).get_node()).get_type_name() == "Constant"
        and layer_of(weight.data, network) in model.quantization.fp32_layers
    ]
    return nncf.quantize(
        converted,
        dataset,
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(batches),
        # With attention's products in int8 T1 took half as much time again without VNNI, 3 to 18 % less with it, and 10
        # to 25 % more where there are tiles, too.
        ignored_scope=nncf.IgnoredScope(
            names=left, types=[] if vnni and not processor.has_amx() else ["ScaledDotProductAttention"]
        ),
        advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=headroom, **advanced),
    )


def _range(quantization: Quantization) -> Any:
    """The observer in NNCF's words; the calibration series come in one batch."""
    from nncf.quantization import range_estimator as nncf

    if quantization.observer == "minmax":
        return nncf.RangeEstimatorParametersSet.MINMAX
    if quantization.observer == "mse":
        return nncf.RangeEstimatorParametersSet.HISTOGRAM
    tail = (1 - quantization.percentile / 100) / 2
    ends = (
        nncf.StatisticsCollectorParameters(nncf.StatisticsType.QUANTILE, aggregator, quantile_outlier_prob=tail)
        for aggregator in (nncf.AggregatorType.MIN, nncf.AggregatorType.MAX)
    )
    return nncf.RangeEstimatorParameters(*ends)


def _narrow_weights(model: CompressedModel, converted: Any) -> Any:
    """Store weights in int8 by output or in int4 by group, which the runtime widens while it multiplies in fp32."""
    nncf = _import("nncf")
    logging.getLogger("nncf").setLevel(logging.ERROR)
    linear_alone = nncf.IgnoredScope(types=["Convolution"])
    if model.number_format == "int8 weights":
        mode = nncf.CompressWeightsMode.INT8_SYM
        return nncf.compress_weights(converted, mode=mode, ignored_scope=linear_alone)
    return nncf.compress_weights(
        converted,
        ignored_scope=linear_alone,
        mode=nncf.CompressWeightsMode.INT4_SYM,
        ratio=1.0,
        group_size=model.quantization.group,
        all_layers=True,
        advanced_parameters=nncf.AdvancedCompressionParameters(
            group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST, min_adjusted_group_size=1
        ),
    )


def _operators(compiled: Any) -> Counter[str]:
    """Linear layers by the number format in which the program executes them."""
    operations = (operation.get_rt_info() for operation in compiled.get_runtime_model().get_ops())
    return Counter(o["runtimePrecision"].value for o in operations if o["layerType"].value == "FullyConnected")
