"""Learning from what a teacher makes of a series before it decides: the class token after the last encoder layer.

References
----------
.. [1] Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015 (a learned map where the widths differ).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsc_lib.compress.context import TrainingContext
from tsc_lib.models.compressed import CompressedModel
from tsc_lib.models.transformer import Transformer
from tsc_lib.training import Loss, TrainingBatch, classify

MAP = "feature_map"
"""Name of the learned map while a network is trained; being its submodule, it is trained and resumed with it."""


def collect_features(model: CompressedModel, context: TrainingContext) -> Tensor:
    """The class token (n, d_model) of every training series."""
    network = model.network.eval()

    def read(x: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
        with torch.inference_mode():
            given = torch.from_numpy(x), None if lengths is None else torch.from_numpy(lengths)
            tokens, mask = network.embedding(*given)
            return network.pool(*network.encode(tokens, mask, 0, len(network.layers))).numpy()

    return torch.from_numpy(classify(read, context.train, context.equal_length))


class FeatureLoss:
    """A loss with a share for the distance of a network's class token from its teacher's.

    That share is the mean square over channels and series, both states layer-normed so that their size tells nothing.
    Where the widths differ, a linear map of the network's state is learned beside it [1]_.

    Parameters
    ----------
    teacher : Tensor
        The teacher's states (n, d_teacher) of the training series.
    loss : callable
        What else is minimised, see `tsc_lib.training.fit`.
    weight : float
        Of the share.
    seed : int
        Of the map's first weights.
    """

    def __init__(self, teacher: Tensor, loss: Loss, weight: float, seed: int) -> None:
        self.teacher = F.layer_norm(teacher, teacher.shape[1:])
        self.loss, self.weight, self.seed = loss, weight, seed

    def attach(self, network: Transformer) -> None:
        """Watch a network that is about to be trained, and give it the map if it needs one."""
        self.pool = network.pool
        self.hook = network.layers[-1].register_forward_hook(self._keep)
        width, wanted = network.config.d_model, self.teacher.shape[1]
        self.map: nn.Module = nn.Identity()
        if width != wanted:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                self.map = nn.Linear(width, wanted)
            network.add_module(MAP, self.map)

    def _keep(self, layer: nn.Module, given: Any, found: tuple[Tensor, Tensor | None]) -> None:
        self.features = self.pool(*found)

    def __call__(self, logits: Tensor, batch: TrainingBatch) -> Tensor:
        """The loss of a batch with these logits (n, classes)."""
        mapped = self.map(self.features)
        apart = F.mse_loss(F.layer_norm(mapped, mapped.shape[1:]), self.teacher[batch.index])
        return self.loss(logits, batch) + self.weight * apart
