"""Static int8 imitated in fp32: linear layers that compute with the values which int8 can hold.

Weights are symmetric per output channel, up to `INT8_WEIGHT`; inputs have one affine range of 256 steps that holds 0.
It serves to train for int8 and to ask how much each layer bears; what a quantized model is worth is measured on the
graph that runs (`tsc_lib.runtimes.convert`).

References
----------
.. [1] Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
       CVPR 2018: fake quantization, ranges as moving averages, gradients that pass through the rounding.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsc_lib.data import Batch
from tsc_lib.models.number_format import INT8_WEIGHT

AVERAGING = 0.01
"""Share of a new batch in the moving average of a range."""

SMALLEST = 2.0**-12
"""Step below which no range is divided."""


class FakeQuantLinear(nn.Linear):
    """A linear layer with int8 weights and inputs, as far as rounding goes; in training its range follows the inputs.

    Parameters
    ----------
    linear : nn.Linear
        Whose weights to share.
    low, high : float
        Range of its inputs; 0 is added to it.
    """

    low: Tensor
    high: Tensor

    def __init__(self, linear: nn.Linear, low: float, high: float) -> None:
        super().__init__(linear.in_features, linear.out_features, linear.bias is not None, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.register_buffer("low", torch.tensor(min(low, 0.0)))
        self.register_buffer("high", torch.tensor(max(high, 0.0)))

    def forward(self, x: Tensor) -> Tensor:
        """What int8 makes of inputs x (..., in_features)."""
        if self.training:
            with torch.no_grad():
                self.low.lerp_(x.min().clamp(max=0.0), AVERAGING)
                self.high.lerp_(x.max().clamp(min=0.0), AVERAGING)
        return F.linear(self._input(x), self._weight(), self.bias)

    def get_input_grid(self) -> tuple[Tensor, Tensor]:
        """The step between two inputs, and which of 0 ... 255 stands for 0."""
        scale = ((self.high - self.low) / 255).clamp(min=SMALLEST)
        return scale, (-self.low / scale).round().clamp(0, 255).to(torch.int32)

    def get_weight_steps(self) -> Tensor:
        """The step between two weights of each output (out_features,)."""
        return (self.weight.detach().abs().amax(dim=1) / INT8_WEIGHT).clamp(min=torch.finfo(torch.float32).eps)

    def _input(self, x: Tensor) -> Tensor:
        return torch.fake_quantize_per_tensor_affine(x, *self.get_input_grid(), 0, 255)

    def _weight(self) -> Tensor:
        scale = self.get_weight_steps()
        zero = torch.zeros(len(scale), dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(self.weight, scale, zero, 0, -INT8_WEIGHT, INT8_WEIGHT)


def find_linears(network: nn.Module) -> dict[str, nn.Linear]:
    """The linear layers of a network, by name."""
    return {name: module for name, module in network.named_modules() if isinstance(module, nn.Linear)}


def observe_ranges(network: nn.Module, calibration: Batch) -> dict[str, tuple[float, float]]:
    """The least and the largest input of every linear layer over some series, by name."""
    found: dict[str, tuple[float, float]] = {}

    def observe(name: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        found[name] = inputs[0].min().item(), inputs[0].max().item()

    hooks = [linear.register_forward_pre_hook(partial(observe, name)) for name, linear in find_linears(network).items()]
    try:
        with torch.inference_mode():
            lengths = None if calibration.lengths is None else torch.from_numpy(calibration.lengths)
            network.eval()(torch.from_numpy(calibration.x), lengths)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def replace_module(network: nn.Module, name: str, module: nn.Module) -> None:
    """Replace a layer of a network, in place."""
    parent, _, own = name.rpartition(".")
    setattr(network.get_submodule(parent), own, module)


def fake_quantize(network: nn.Module, calibration: Batch) -> None:
    """Put a `FakeQuantLinear` in the place of every linear layer, in place, with ranges observed on some series."""
    observed = observe_ranges(network, calibration)
    for name, linear in find_linears(network).items():
        replace_module(network, name, FakeQuantLinear(linear, *observed[name]))
