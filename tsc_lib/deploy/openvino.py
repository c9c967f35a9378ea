"""OpenVINO: fp32, and static int8 through NNCF."""

from __future__ import annotations

import contextlib
import io
import logging
import time
import warnings
from pathlib import Path
from typing import Any

import torch

from tsc_lib.compress.model import CompressedModel
from tsc_lib.deploy.deployed import Deployed
from tsc_lib.deploy.tracing import calibration_of, example, traced
from tsc_lib.runtimes.openvino import MODEL, compiled
from tsc_lib.runtimes.predictor import RuntimeUnavailable

FORMATS = ("fp32", "int8 static")
CALIBRATION_BATCH = 32


def prepare(model: CompressedModel, folder: Path, equal_length: bool) -> Deployed:
    """Write ``model.xml`` and ``model.bin``.

    Raises
    ------
    RuntimeUnavailable
        If OpenVINO, or for int8 NNCF, is not installed.
    """
    openvino = _import("openvino")
    started = time.perf_counter()
    with torch.no_grad(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        converted = openvino.convert_model(traced(model.network.eval(), *example(model, equal_length)))
        if model.number_format == "int8 static":
            converted = _quantize(model, converted)
    openvino.save_model(converted, folder / MODEL, compress_to_fp16=False)
    seconds = time.perf_counter() - started
    int8_ops, fp32_ops = _operators(compiled(folder, 1))
    return Deployed(
        model_bytes=folder.joinpath(MODEL).with_suffix(".bin").stat().st_size,
        int8_ops=int8_ops,
        fp32_ops=fp32_ops,
        details={"convert_seconds": seconds},
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
        advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=headroom),
    )


def _operators(program: Any) -> tuple[int, int]:
    """Linear layers in int8 and in fp32, counted in the program that runs."""
    int8 = fp32 = 0
    for operation in program.get_runtime_model().get_ops():
        facts = operation.get_rt_info()
        if facts["layerType"].value == "FullyConnected":
            narrow = facts["runtimePrecision"].value in ("i8", "u8")
            int8, fp32 = int8 + narrow, fp32 + (not narrow)
    return int8, fp32
