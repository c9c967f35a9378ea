"""Optimisers by name, the learning rate of every step, and the average of the weights.

References
----------
.. [1] Defazio et al., "The Road Less Scheduled", NeurIPS 2024.
.. [2] Peleg et al., "Break a Lag: Triple Exponential Moving Average for Enhanced Optimization", arXiv:2306.01423.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from schedulefree import AdamWScheduleFree
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

OPTIMIZERS = {
    "adam": "Adam, the study's, whose `weight_decay` adds to the gradient",
    "adamw": "Adam with decoupled weight decay",
    "schedulefree": "AdamW that averages the weights in place of a schedule (Defazio et al., 2024)",
    "fame": "AdamW on a triple exponential moving average of the gradient (Peleg et al., 2023)",
}
"""What each optimiser is."""

SCHEDULES = {
    "constant": "the full learning rate after the warm-up",
    "cosine": "half a cosine, from the full learning rate down to zero at the last step",
}
"""What each schedule does."""


class Fame(torch.optim.Optimizer):
    """AdamW whose first moment is a triple exponential moving average, which follows the gradient with less lag [2]_.

    Parameters
    ----------
    params : list of dict
        Groups of parameters.
    lr : float
        Learning rate.
    betas : tuple of float
        Of the average of the gradient and of its square, and of the averages of that average and of its own average.
    eps, weight_decay : float
        As of AdamW.
    """

    def __init__(
        self,
        params: list[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float, float, float] = (0.9, 0.999, 0.5, 0.5),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "step": 0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # no closure is ever given
        """One step along the gradients."""
        for group in self.param_groups:
            own = [p for p in group["params"] if p.grad is not None]
            grads = [p.grad for p in own]
            for p in own:
                if not self.state[p]:
                    self.state[p] |= {name: torch.zeros_like(p) for name in ("first", "second", "third", "square")}
            first, second, third, square = (
                [self.state[p][name] for p in own] for name in ("first", "second", "third", "square")
            )
            mean, deviation, again, once_more = group["betas"]
            group["step"] += 1
            torch._foreach_lerp_(first, grads, 1 - mean)
            torch._foreach_lerp_(second, first, 1 - again)
            torch._foreach_lerp_(third, second, 1 - once_more)
            torch._foreach_mul_(square, deviation)
            torch._foreach_addcmul_(square, grads, grads, 1 - deviation)
            update = torch._foreach_sub(first, second)  # the triple average: 3 first - 3 second + third
            torch._foreach_mul_(update, 3)
            torch._foreach_add_(update, third)
            scale = torch._foreach_sqrt(square)
            torch._foreach_div_(scale, math.sqrt(1 - deviation ** group["step"]))
            torch._foreach_add_(scale, group["eps"])
            torch._foreach_mul_(own, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_addcdiv_(own, update, scale, -group["lr"] / (1 - mean ** group["step"]))


def make_optimizer(name: str, model: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """The optimiser of that name for a model's parameters; weights decay, biases and what is like them do not."""
    parameters: list[dict[str, Any]] = [{"params": list(model.parameters())}]
    if weight_decay:
        parameters = [
            {"params": [p for p in model.parameters() if p.ndim > 1]},
            {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
        ]
    if name == "fame":
        return Fame(parameters, lr=learning_rate, weight_decay=weight_decay)
    if name == "schedulefree":
        return AdamWScheduleFree(parameters, lr=learning_rate, weight_decay=weight_decay)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
    return kind(parameters, lr=learning_rate, weight_decay=weight_decay, fused=True)


def share_of_rate(step: int, steps: int, warmup_steps: int, schedule: str) -> float:
    """Which share of the full learning rate a step has, counted from 1, of so many."""
    warmth = min(1.0, step / warmup_steps) if warmup_steps else 1.0
    return warmth * (0.5 * (1 + math.cos(math.pi * (step - 1) / steps)) if schedule == "cosine" else 1.0)


def make_average(model: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of a model's weights, and of what its norms observe; it soon forgets the first."""

    def update(averaged: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        now = min(decay, (1 + int(count)) / (10 + int(count)))
        get_ema_multi_avg_fn(now)(averaged, current, count)

    return AveragedModel(model, multi_avg_fn=update, use_buffers=True)


def switch_weights(optimizer: torch.optim.Optimizer, training: bool) -> None:
    """Let an optimiser that averages put the weights to train, or those to judge and keep, into the model."""
    if isinstance(optimizer, AdamWScheduleFree):
        optimizer.train() if training else optimizer.eval()
