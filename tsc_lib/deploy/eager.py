"""PyTorch eager: fp32, and dynamic int8 by `torch.ao.quantization.quantize_dynamic`."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from tsc_lib.compress.model import CompressedModel, load_model
from tsc_lib.deploy.predictor import Deployed

FORMATS = ("fp32", "int8 dynamic")


class OperatorCounter(TorchDispatchMode):
    """Counts the operators that run within it, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count[str(func)] += 1
        return func(*args, **(kwargs or {}))


class EagerPredictor:
    """Executes the network operator by operator."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network.eval()

    def __call__(self, x: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """Logits (n, classes) of series x (n, channels, length)."""
        with torch.inference_mode():
            given = None if lengths is None else torch.from_numpy(lengths)
            return self.network(torch.from_numpy(x), given).numpy()


def prepare(model: CompressedModel, folder: Path, equal_length: bool) -> Deployed:
    """Nothing is written: eager is ready with the model itself. The operators are counted on one series."""
    network = executable(model)
    x = torch.zeros(1, model.network.config.channels, model.reference_length)
    with torch.inference_mode(), OperatorCounter() as operators:
        network(x)
    return Deployed(
        model_bytes=weight_bytes(network),
        int8_ops=operators.count["quantized.linear_dynamic.default"],
        fp32_ops=operators.count["aten.linear.default"],
        details={"engine": torch.backends.quantized.engine} if model.number_format != "fp32" else {},
    )


def load(folder: Path, threads: int) -> EagerPredictor:
    """A predictor of the model in `folder`."""
    torch.set_num_threads(threads)
    return EagerPredictor(executable(load_model(folder)))


def executable(model: CompressedModel) -> nn.Module:
    """The network in the model's number format."""
    if model.number_format == "fp32":
        return model.network.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchao has no eager successor of it that runs int8 kernels on a CPU
        return torch.ao.quantization.quantize_dynamic(model.network.eval(), {nn.Linear}, dtype=torch.qint8)


def weight_bytes(network: nn.Module) -> int:
    """Bytes of all weights as they are held: int8 with one fp32 scale and int32 zero point, or fp32."""
    total = sum(p.numel() * p.element_size() for p in network.parameters())
    for module in network.modules():
        if isinstance(module, torch.ao.nn.quantized.dynamic.Linear):
            weight, bias = module.weight(), module.bias()
            total += weight.numel() * weight.element_size() + 8 + bias.numel() * bias.element_size()
    return total
