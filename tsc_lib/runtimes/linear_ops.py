"""Linear layers of one input, made one."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SideBySide(nn.Module):
    """Several linear layers of one input, their outputs one after the other."""

    def __init__(self, *linears: nn.Module) -> None:
        super().__init__()
        self.linears = nn.ModuleList(linears)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([linear(x) for linear in self.linears], dim=-1)


def joined(*linears: nn.Module) -> nn.Module:
    """One matrix in place of several, unless some were factorised."""
    plain = [linear for linear in linears if isinstance(linear, nn.Linear)]
    if len(plain) < len(linears):
        return SideBySide(*linears)
    return _linear(torch.cat([linear.weight for linear in plain]), torch.cat([linear.bias for linear in plain]))


def scaled(linear: nn.Module, scale: float) -> nn.Module:
    """A linear layer, whole or factorised, whose outputs are multiplied by a number."""
    if scale == 1.0:
        return linear
    if isinstance(linear, nn.Sequential):  # two thinner ones
        return nn.Sequential(linear[0], scaled(linear[1], scale))
    assert isinstance(linear, nn.Linear)
    return _linear(linear.weight * scale, linear.bias * scale)


def affine(linear: nn.Module) -> tuple[Tensor, Tensor]:
    """The matrix and the bias that a linear layer, whole or factorised, amounts to."""
    if isinstance(linear, nn.Sequential):
        (thin, _), (wide, bias) = (affine(part) for part in linear)
        return wide @ thin, bias
    assert isinstance(linear, nn.Linear)
    return linear.weight, linear.bias


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    linear.weight.copy_(weight)
    linear.bias.copy_(bias)
    return linear
