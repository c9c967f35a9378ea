"""Linear layers, whole or factorised into two thinner ones: concatenated, scaled, multiplied out."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ConcatenatedLinears(nn.Module):
    """Several linear layers of one input, with their outputs one after the other."""

    def __init__(self, *linears: nn.Module) -> None:
        super().__init__()
        self.linears = nn.ModuleList(linears)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([linear(x) for linear in self.linears], dim=-1)


def concatenate_linears(*linears: nn.Module) -> nn.Module:
    """One matrix in place of several, unless some are factorised."""
    whole = [linear for linear in linears if isinstance(linear, nn.Linear)]
    if len(whole) < len(linears):
        return ConcatenatedLinears(*linears)
    return _make_linear(torch.cat([linear.weight for linear in whole]), torch.cat([linear.bias for linear in whole]))


def scale_linear(linear: nn.Module, scale: float) -> nn.Module:
    """A linear layer whose outputs are multiplied by a number."""
    if scale == 1.0:
        return linear
    if isinstance(linear, nn.Sequential):
        return nn.Sequential(linear[0], scale_linear(linear[1], scale))
    assert isinstance(linear, nn.Linear)
    return _make_linear(linear.weight * scale, linear.bias * scale)


def multiply_out(linear: nn.Module) -> tuple[Tensor, Tensor]:
    """The weight matrix and the bias of a linear layer; those of a factorised one are multiplied out."""
    if isinstance(linear, nn.Sequential):
        (thin, _), (wide, bias) = (multiply_out(part) for part in linear)
        return wide @ thin, bias
    assert isinstance(linear, nn.Linear)
    return linear.weight, linear.bias


def _make_linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    linear.weight.copy_(weight)
    linear.bias.copy_(bias)
    return linear
