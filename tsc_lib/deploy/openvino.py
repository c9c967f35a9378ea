"""OpenVINO: fp32, bf16, and static int8 through NNCF."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from tsc_lib.compress.model import CompressedModel
from tsc_lib.deploy.deployed import Deployed
from tsc_lib.deploy.lean import Lean
from tsc_lib.deploy.tracing import calibration_of, example, traced
from tsc_lib.runtimes import processor
from tsc_lib.runtimes.openvino import MODEL, compiled
from tsc_lib.runtimes.predictor import RuntimeUnavailable

FORMATS = ("fp32", "bf16", "int8 static")
CALIBRATION_BATCH = 32


def prepare(model: CompressedModel, folder: Path, equal_length: bool) -> Deployed:
    """Write ``model.xml`` and ``model.bin``.

    Raises
    ------
    RuntimeUnavailable
        If OpenVINO, or for int8 NNCF, is not installed, or the processor lacks instructions for the format.
    """
    openvino = _import("openvino")
    if model.number_format == "bf16" and "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise RuntimeUnavailable(processor.NO_BF16)
    with torch.no_grad(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        network = Lean(model.network, fused=True).eval()
        converted = openvino.convert_model(traced(network, *example(model, equal_length)))
        if model.number_format == "int8 static":
            converted = _quantize(model, converted)
    openvino.save_model(converted, folder / MODEL, compress_to_fp16=False)
    executed = _operators(compiled(folder, 1, model.number_format))
    return Deployed(
        model_bytes=folder.joinpath(MODEL).with_suffix(".bin").stat().st_size,
        int8_ops=executed["i8"] + executed["u8"],
        fp32_ops=executed["f32"],
        details={"bf16_ops": executed["bf16"]} if model.number_format == "bf16" else {},
    )


def _import(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise RuntimeUnavailable(f"openvino needs {error.name}: pip install 'tsc_lib[runtimes]'") from None


def _quantize(model: CompressedModel, converted: Any) -> Any:
    nncf = _import("nncf")
    logging.getLogger("nncf").setLevel(logging.ERROR)
    arrays = calibration_of(model)
    batches = [
        tuple(array[start : start + CALIBRATION_BATCH] for array in arrays)
        for start in range(0, len(arrays[0]), CALIBRATION_BATCH)
    ]
    dataset = nncf.Dataset([batch[0] if len(batch) == 1 else batch for batch in batches])
    # Without VNNI two int8 products are added in 16 bits: weights need a bit of headroom there.
    headroom = nncf.OverflowFix.DISABLE if torch.cpu._is_vnni_supported() else nncf.OverflowFix.ENABLE
    return nncf.quantize(
        converted,
        dataset,
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(batches),
        # In fp32 attention is one operator; with its products in int8 the whole model took half as much time again.
        ignored_scope=nncf.IgnoredScope(types=["ScaledDotProductAttention"]),
        advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=headroom),
    )


def _operators(compiled: Any) -> Counter[str]:
    """Linear layers by the number format in which the program executes them."""
    operations = (operation.get_rt_info() for operation in compiled.get_runtime_model().get_ops())
    return Counter(o["runtimePrecision"].value for o in operations if o["layerType"].value == "FullyConnected")
