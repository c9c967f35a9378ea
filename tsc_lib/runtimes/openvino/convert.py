"""OpenVINO: fp32, bf16, static int8, and int8 and int4 of weights alone, the last three through NNCF."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from tsc_lib.core.errors import RuntimeUnavailable
from tsc_lib.models.compressed import CompressedModel, Quantization
from tsc_lib.models.number_format import NumberFormat
from tsc_lib.runtimes import processor
from tsc_lib.runtimes.cascade import part_names
from tsc_lib.runtimes.conversion import Conversion
from tsc_lib.runtimes.graph import POSITIONS
from tsc_lib.runtimes.openvino.predict import MODEL, compile_model
from tsc_lib.runtimes.predictor import not_importable
from tsc_lib.runtimes.tracing import WRAPPED, calibration_batches, trace_parts

FORMATS = (
    NumberFormat.FP32,
    NumberFormat.BF16,
    NumberFormat.INT8_STATIC,
    NumberFormat.INT8_WEIGHTS,
    NumberFormat.INT4_WEIGHTS,
)
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
    number_format = model.number_format
    bf16 = number_format is NumberFormat.BF16
    if bf16 and "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise RuntimeUnavailable(processor.NO_BF16)
    paths = [folder / name for name in part_names(MODEL, len(model.network.exits))]
    executed: Counter[str] = Counter()
    model_bytes = 0
    for path, program in zip(paths, trace_parts(model, equal_length, "operator"), strict=True):
        with torch.no_grad(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            converted = openvino.convert_model(program)
            if number_format is NumberFormat.INT8_STATIC:
                converted = _quantize(model, converted)
            elif number_format.weights_only:
                converted = _narrow_weights(model, converted)
        openvino.save_model(converted, path, compress_to_fp16=False)
        model_bytes += _count_bytes(converted, bf16)
        executed += _count_operators(compile_model(path, 1, number_format))
    total, narrow = sum(executed.values()), executed["i8"] + executed["u8"]
    if number_format.weights_only:  # the precision that such a layer tells is that of its weights
        wide = executed["f32"]
        return Conversion(model_bytes, int8_ops=0, fp32_ops=total, narrow_weight_ops=total - wide)
    bf16_ops = executed["bf16"] if bf16 else None
    return Conversion(model_bytes, int8_ops=narrow, fp32_ops=executed["f32"], bf16_ops=bf16_ops)


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise not_importable("openvino", error, install="'tsc_lib[runtimes]'") from None


def _import_nncf() -> Any:
    nncf = _import("nncf")
    logging.getLogger("nncf").setLevel(logging.ERROR)
    return nncf


def _count_bytes(converted: Any, bf16: bool) -> int:
    """Bytes of the weights and scales of a graph as it is executed; the table of positions is no weight."""
    total = 0
    for constant in (op for op in converted.get_ordered_ops() if op.get_type_name() == "Constant"):
        kind = constant.get_element_type().get_type_name()
        if kind not in ("i32", "i64") and POSITIONS.replace(".", "_") not in _parameter_names(constant):
            # What is executed in bf16 is kept in fp32 until then.
            total += constant.get_byte_size() // (2 if bf16 and kind == "f32" else 1)
    return total


def _parameter_names(constant: Any) -> set[str]:
    """The parameters or buffers of `InferenceTransformer` that a constant holds, with underscores instead of dots."""
    prefix = WRAPPED.replace(".", "_")
    return {name.removesuffix(":0").removeprefix(prefix) for name in constant.output(0).get_names()}


def _quantize(model: CompressedModel, converted: Any) -> Any:
    nncf = _import_nncf()
    native = model.quantization.observer == "native"  # which averages the ends of the batches
    batches = calibration_batches(model, CALIBRATION_BATCH if native else None)
    dataset = nncf.Dataset([batch[0] if len(batch) == 1 else batch for batch in batches])
    vnni = processor.has_vnni()
    left = {f"{layer}.weight".replace(".", "_") for layer in model.quantization.fp32_layers}
    return nncf.quantize(
        converted,
        dataset,
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(batches),
        # Without VNNI, and with the tiles of AMX, attention's products take longer in int8.
        ignored_scope=nncf.IgnoredScope(
            names=[
                operation.get_friendly_name()
                for operation in converted.get_ops()
                if operation.get_type_name() == "MatMul"
                and left & _parameter_names(operation.input_value(1).get_node())
            ],
            types=[] if vnni and not processor.has_amx() else ["ScaledDotProductAttention"],
        ),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            overflow_fix=nncf.OverflowFix.ENABLE,  # weights of seven bits; see `INT8_WEIGHT`
            activations_range_estimator_params=_make_range(model.quantization),
        ),
    )


def _make_range(quantization: Quantization) -> Any:
    """The observer in NNCF's words; the calibration series come in one batch."""
    from nncf.quantization import range_estimator as nncf

    if quantization.observer == "native":
        return nncf.RangeEstimatorParameters()
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
    nncf = _import_nncf()
    linear_alone = nncf.IgnoredScope(types=["Convolution"])
    if model.number_format is NumberFormat.INT8_WEIGHTS:
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


def _count_operators(compiled: Any) -> Counter[str]:
    """Linear layers by the number format in which the program executes them."""
    operations = (operation.get_rt_info() for operation in compiled.get_runtime_model().get_ops())
    return Counter(o["runtimePrecision"].value for o in operations if o["layerType"].value == "FullyConnected")
