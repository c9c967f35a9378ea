"""Learning from what a teacher makes of a series before it decides: the class token after the last encoder layer.

References
----------
.. [1] Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015 (a learned map where the widths differ).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsc_lib.models.transformer import Transformer
from tsc_lib.training import Loss, TrainingBatch

MAP = "feature_map"
"""Name of the learned map while a network is trained; being its submodule, it is trained and resumed with it."""


def read_features(network: Transformer) -> Callable[[np.ndarray, np.ndarray | None], np.ndarray]:
    """What gives the class token (n, d_model) of series, for `tsc_lib.training.classify`."""
    network.eval()

    def read(x: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
        with torch.inference_mode():
            given = torch.from_numpy(x), None if lengths is None else torch.from_numpy(lengths)
            tokens, _ = network.encode(*network.embed(*given), 0, len(network.layers))
            return network.pool(tokens).numpy()

    return read


class FeatureLoss:
    """A loss with a share for the distance of a network's class token from its teacher's.

    That share is the mean square over channels and series, both states layer-normed so that their size tells nothing.
    Where the widths differ, a linear map of the network's state is learned beside it [1]_.

    Parameters
    ----------
    network : Transformer
        About to be trained; it is watched, and given the map if it needs one.
    teacher : callable
        Gives the teacher's states (n, d_teacher) of a batch.
    width : int
        Of these states.
    loss : callable
        What else is minimised, see `tsc_lib.training.fit`.
    weight : float
        Of the share.
    seed : int
        Of the map's first weights.
    """

    def __init__(
        self,
        network: Transformer,
        teacher: Callable[[TrainingBatch], Tensor],
        width: int,
        loss: Loss,
        weight: float,
        seed: int,
    ) -> None:
        self.pool, self.teacher, self.width, self.loss, self.weight = network.pool, teacher, width, loss, weight
        self.hook = network.layers[-1].register_forward_hook(self._keep)
        self.map: nn.Module = nn.Identity()
        if network.config.d_model != width:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                self.map = nn.Linear(network.config.d_model, width)
            network.add_module(MAP, self.map)

    def _keep(self, layer: nn.Module, given: Any, found: tuple[Tensor, Tensor | None]) -> None:
        self.features = self.pool(found[0])

    def __call__(self, logits: Tensor, batch: TrainingBatch) -> Tensor:
        """The loss of a batch with these logits (n, classes)."""
        own, wanted = (F.layer_norm(each, (self.width,)) for each in (self.map(self.features), self.teacher(batch)))
        apart = F.mse_loss(own, wanted)
        return self.loss(logits, batch) + self.weight * apart
