"""PyTorch eager: fp32, bf16, and dynamic int8 by `torch.ao.quantization.quantize_dynamic`."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tsc_lib.models.early_exit import Stage, split_at_exits
from tsc_lib.models.number_format import NumberFormat
from tsc_lib.models.serialization import load_network
from tsc_lib.runtimes.cascade import CascadePredictor
from tsc_lib.runtimes.predictor import ModelDescription, Predictor

FILES = ("model.json", "model.safetensors")
PARTS: tuple[str, ...] = ()
PACKAGES = ("torch", "safetensors")


class EagerPredictor:
    """Executes the network operator by operator."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.dtype = next(network.parameters()).dtype  # of what stays in floating point

    def __call__(self, x: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """Logits (n, classes) of series x (n, channels, length)."""
        with torch.inference_mode():
            given = None if lengths is None else torch.from_numpy(lengths)
            return self.network(torch.from_numpy(x).to(self.dtype), given).float().numpy()


def load(folder: Path, threads: int) -> Predictor:
    """A predictor of the model in `folder`."""
    torch.set_num_threads(threads)
    described = ModelDescription.read(folder)
    network, _ = load_network(folder)
    if described.thresholds:
        parts = [partial(_run, part) for part in split_at_exits(network, network.config)]  # fp32, as exits are
        return CascadePredictor(parts, described.thresholds, described.stride)
    return EagerPredictor(cast_network(network, described.number_format))


def _run(part: Stage, *given: np.ndarray) -> list[np.ndarray]:
    with torch.inference_mode():
        return [output.numpy() for output in part(*map(torch.from_numpy, given))]


def cast_network(network: nn.Module, number_format: NumberFormat) -> nn.Module:
    """The network in a number format, ready to predict."""
    network = network.eval()
    if number_format is NumberFormat.FP32:
        return network
    if number_format is NumberFormat.BF16:
        return network.to(torch.bfloat16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchao has no eager successor of it that runs int8 kernels on a CPU
        return torch.ao.quantization.quantize_dynamic(network, {nn.Linear}, dtype=torch.qint8)
