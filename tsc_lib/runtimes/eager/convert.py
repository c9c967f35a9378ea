"""PyTorch eager: fp32, bf16, and dynamic int8 by `torch.ao.quantization.quantize_dynamic`."""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from tsc_lib.models.compressed import CompressedModel
from tsc_lib.models.early_exit import split_at_exits
from tsc_lib.models.number_format import NumberFormat
from tsc_lib.models.transformer import Transformer
from tsc_lib.runtimes import processor
from tsc_lib.runtimes.conversion import Conversion
from tsc_lib.runtimes.eager.predict import cast_network

FORMATS = (NumberFormat.FP32, NumberFormat.BF16, NumberFormat.INT8_DYNAMIC)
OBSERVERS = ()


class OperatorCounter(TorchDispatchMode):
    """Counts the operators that run within it, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count[str(func)] += 1
        return func(*args, **(kwargs or {}))


def convert(model: CompressedModel, folder: Path, equal_length: bool) -> Conversion:
    """Nothing is written: eager is ready with the model itself. The operators are counted on one series.

    Raises
    ------
    RuntimeUnavailable
        If the processor lacks instructions for the format.
    """
    bf16 = model.number_format is NumberFormat.BF16
    if bf16:
        processor.require_bf16()
    network = cast(Transformer, cast_network(copy.deepcopy(model.network), model.number_format))
    dtype = next(network.parameters()).dtype
    given = [torch.zeros(1, model.network.config.channels, model.reference_length, dtype=dtype)]
    with torch.inference_mode(), OperatorCounter() as operators:
        for part in split_at_exits(network, model.network.config):  # a network alone would not run its exits
            _, *given = part(*given)
    wide = operators.count["aten.linear.default"]
    return Conversion(
        model_bytes=_count_bytes(network),
        int8_ops=operators.count["quantized.linear_dynamic.default"],
        fp32_ops=0 if bf16 else wide,
        bf16_ops=wide if bf16 else None,
        engine=torch.backends.quantized.engine if model.number_format is NumberFormat.INT8_DYNAMIC else None,
    )


def _count_bytes(network: nn.Module) -> int:
    """Bytes of all weights as they are held: int8 with one fp32 scale and int32 zero point, or floating point."""
    total = sum(p.numel() * p.element_size() for p in network.parameters())
    for module in network.modules():
        if isinstance(module, torch.ao.nn.quantized.dynamic.Linear):
            held = [tensor for tensor in (module.weight(), module.bias()) if tensor is not None]
            total += 8 + sum(tensor.numel() * tensor.element_size() for tensor in held)
    return total
