"""A sparse mixture of experts: several feed-forward parts in a layer, of which every token uses some.

References
----------
.. [1] Fedus et al., "Switch Transformers: Scaling to Trillion Parameter Models with Simple and Efficient Sparsity",
       JMLR 2022 (one expert for a token, and the loss that keeps experts evenly used).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

BALANCE = 0.01
"""Weight of the loss that keeps experts evenly used, as in [1]_."""


class Experts(nn.Module):
    """Several modules of one kind, each token given to those that a linear router rates highest.

    What an expert gives is multiplied by its probability, so that the router learns. In training the loss of [1]_ joins
    whatever is minimised; padding counts there like other tokens.

    Parameters
    ----------
    d_model : int
        Width of the tokens.
    experts : iterable of Module
        Each takes tokens (any, d_model) and gives as many.
    active : int
        How many of them a token uses.
    """

    def __init__(self, d_model: int, experts: Iterable[nn.Module], active: int) -> None:
        super().__init__()
        self.experts, self.active = nn.ModuleList(experts), active
        self.router = nn.Linear(d_model, len(self.experts), bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """What the experts give to tokens (..., d_model)."""
        rows = x.reshape(-1, x.shape[-1])
        shares = self.router(rows).softmax(1)  # (tokens, experts)
        chosen = shares.topk(self.active, dim=1).indices  # (tokens, active)
        if self.training:
            rows = _JoinLoss.apply(rows, BALANCE * measure_imbalance(shares, chosen))
        y = torch.zeros_like(rows)
        for number, expert in enumerate(self.experts):
            own = (chosen == number).any(1).nonzero().squeeze(1)
            y = y.index_add(0, own, expert(rows[own]) * shares[own, number].unsqueeze(1))
        return y.reshape(x.shape)


def measure_imbalance(shares: Tensor, chosen: Tensor) -> Tensor:
    """How unevenly experts are used: 1 if evenly, their number if one does everything [1]_.

    Parameters
    ----------
    shares : Tensor
        Probabilities (tokens, experts).
    chosen : Tensor
        Experts (tokens, active) that are used.
    """
    used = torch.bincount(chosen.flatten(), minlength=shares.shape[1]) / chosen.numel()
    return shares.shape[1] * (used * shares.mean(0)).sum()


class _JoinLoss(torch.autograd.Function):
    """Passes a tensor on, and lets a loss beside it join the one that is minimised, in whatever trains the network."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, loss: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        return gradients[0], torch.ones((), dtype=gradients[0].dtype)
