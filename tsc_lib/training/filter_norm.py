"""Batch normalisation of the filters before the tokens while they are trained, folded into their weights afterwards.

So a trained network has the layers that it would have without, and an inference costs the same.

References
----------
.. [1] Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
       Shift", ICML 2015.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from tsc_lib.core.errors import UserError
from tsc_lib.models.convolution_embedding import ConvolutionEmbedding
from tsc_lib.models.transformer import Transformer


class FilterNorm(nn.BatchNorm1d):
    """Batch normalisation of what filters answer (n, length, filters), by the time steps that are no padding."""

    def forward(self, answers: Tensor, valid: Tensor | None = None) -> Tensor:
        """The answers normalised; those in the padding, where `valid` (n, length) is False, are 0."""
        if valid is None:
            return self._normalise(answers.flatten(0, 1)).view_as(answers)
        normalised = torch.zeros_like(answers)
        normalised[valid] = self._normalise(answers[valid])
        return normalised

    def _normalise(self, steps: Tensor) -> Tensor:
        from_batch = self.training and len(steps) > 1  # a single time step has no deviation
        momentum = self.momentum or 0.0
        return F.batch_norm(
            steps, self.running_mean, self.running_var, self.weight, self.bias, from_batch, momentum, self.eps
        )


def add_filter_norm(network: Transformer) -> None:
    """Give a network's filters, and the pointwise convolution of them, a batch normalisation each, in place.

    Raises
    ------
    UserError
        If the network has no filters before its tokens.
    """
    embedding = _find_embedding(network)
    embedding.norms["convolution"] = FilterNorm(embedding.convolution.out_channels)
    if embedding.pointwise is not None:
        embedding.norms["pointwise"] = FilterNorm(embedding.pointwise.out_features)
    embedding.norms.train(embedding.training)


def fold_filter_norm(network: Transformer) -> None:
    """Fold what `add_filter_norm` added into the weights, in place.

    Examples
    --------
    >>> from tsc_lib.models.zoo import configure
    >>> network = Transformer(configure("ConvTransformer", 1, 3, 96)).eval()
    >>> series = torch.randn(2, 1, 96)
    >>> add_filter_norm(network)
    >>> _ = network.embedding.norms["convolution"].running_mean.normal_()
    >>> before = network(series)
    >>> fold_filter_norm(network)
    >>> torch.allclose(network(series), before, atol=1e-5)
    True
    """
    embedding = _find_embedding(network)
    for name, norm in embedding.norms.items():
        assert isinstance(norm, FilterNorm) and norm.running_mean is not None and norm.running_var is not None
        statistics = norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        layer = embedding.get_submodule(name)
        assert isinstance(layer, nn.Conv1d | nn.Linear)
        fuse = fuse_conv_bn_weights if isinstance(layer, nn.Conv1d) else fuse_linear_bn_weights
        layer.weight, layer.bias = fuse(layer.weight, layer.bias, *statistics)
    embedding.norms.clear()


def _find_embedding(network: Transformer) -> ConvolutionEmbedding:
    if not isinstance(network.embedding, ConvolutionEmbedding):
        raise UserError(
            "training setting 'filter_norm' is for models with filters before their tokens, as ConvTransformer has; "
            "leave it out"
        )
    return network.embedding
