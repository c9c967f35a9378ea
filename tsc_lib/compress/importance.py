"""How much each part of a transformer matters: heads, neurons, embedding channels, filters and whole layers.

The norms look at weights alone. *Taylor* and *activation* look at what flows through the network for some training
series: at what a part adds to the residual stream, or what a channel of it carries. *Random* is the control.

References
----------
.. [1] Molchanov et al., "Importance Estimation for Neural Network Pruning", CVPR 2019 (first-order Taylor).
.. [2] Michel et al., "Are Sixteen Heads Really Better than One?", NeurIPS 2019 (the same, for heads, per example).
.. [3] Men et al., "ShortGPT: Layers in Large Language Models are More Redundant Than You Expect", 2024 (block
       influence).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsc_lib.compress.context import TrainingContext
from tsc_lib.core.errors import UserError
from tsc_lib.data import batches
from tsc_lib.models.convolution_embedding import ConvolutionEmbedding, ConvolutionEmbeddingConfig
from tsc_lib.models.transformer import EncoderLayer, FeedForward, Transformer

OBSERVED = 512
"""Training series that are looked at, at most."""

BATCH = 64


@dataclass(frozen=True)
class Importance:
    """How much each part matters; the larger, the more.

    Attributes
    ----------
    heads, neurons : list of Tensor
        For each layer, (heads,) and (d_ff,).
    channels : Tensor
        (d_model,), for the embedding as a whole.
    filters : Tensor
        (filters,), of a convolution before the tokens; none where there is no such convolution.
    """

    heads: list[Tensor]
    neurons: list[Tensor]
    channels: Tensor
    filters: Tensor


def measure_norms(network: Transformer, context: TrainingContext, p: int) -> Importance:
    """The p-norm of the weights that belong to a part."""
    layers = [layer for layer in network.layers if isinstance(layer, EncoderLayer)]
    return Importance(
        heads=[measure_heads(layer, p) for layer in layers],
        neurons=[measure_neurons(layer, p) for layer in layers],
        channels=measure_channels(network, p),
        filters=measure_filters(network, p),
    )


def draw_random(network: Transformer, context: TrainingContext) -> Importance:
    """A random order, drawn by the seed."""
    generator = torch.Generator().manual_seed(context.seed)
    layers = network.config.layers
    return Importance(
        heads=[torch.rand(layer.heads, generator=generator) for layer in layers],
        neurons=[torch.rand(layer.d_ff, generator=generator) for layer in layers],
        channels=torch.rand(network.config.d_model, generator=generator),
        filters=torch.rand(count_filters(network), generator=generator),
    )


def measure_taylor(network: Transformer, context: TrainingContext) -> Importance:
    """How much the loss of a series would change, to first order, if a part gave nothing: the mean over series.

    For activations `a` of the part that is ``|sum(a * dL/da)|``, the same as ``|sum(w * dL/dw)|`` over the weights `w`
    that read them [1]_. It is summed over time steps and, for a channel, over all places of the residual stream, and
    taken for each series by itself [2]_, so that batches and padding do not matter.
    """
    found, layers = [], len(network.layers)
    for flow in _observe(network, context, gradients=True):
        parts = [*flow.heads, *flow.neurons, *flow.filters, *flow.places]
        gradients = torch.autograd.grad(flow.loss, parts)
        gates = [(a * g).detach().sum(1) for a, g in zip(parts, gradients, strict=True)]  # each (n, width)
        heads = [gate.reshape(len(gate), -1, network.config.head_dim).sum(2) for gate in gates[:layers]]
        neurons, filters = gates[layers : 2 * layers], gates[2 * layers :][: len(flow.filters)]
        channels = torch.stack(gates[2 * layers + len(filters) :]).sum(0)
        found.append(
            Importance(
                heads=[gate.abs().sum(0) for gate in heads],
                neurons=[gate.abs().sum(0) for gate in neurons],
                channels=channels.abs().sum(0),
                filters=sum((gate.abs().sum(0) for gate in filters), start=torch.zeros(count_filters(network))),
            )
        )
    series = min(OBSERVED, len(context.train))
    return _add_up(found, lambda total: total / series)


def measure_activation(network: Transformer, context: TrainingContext) -> Importance:
    """The root mean square, over time steps and series, of what a part adds to the residual stream.

    For a channel it is what the residual stream itself carries there, over all its places.
    """
    found, tokens = [], 0
    for flow in _observe(network, context):
        heads, neurons = [], []
        for layer, y, a in zip(network.layers, flow.heads, flow.neurons, strict=True):
            assert isinstance(layer, EncoderLayer)
            shape = (-1, layer.attention.heads, layer.attention.head_dim)
            pair = y[flow.valid].reshape(shape), _weight(layer.attention.out).reshape(shape)
            heads.append(torch.einsum("nhk,dhk->nhd", *pair).square().sum((0, 2)))
            contract = _plain(layer).contract
            neurons.append(a[flow.valid].square().sum(0) * _weight(contract).square().sum(0))
        channels = torch.stack([x[flow.valid].square().sum(0) for x in flow.places]).mean(0)
        filters = torch.zeros(count_filters(network))
        if isinstance(embedding := network.embedding, ConvolutionEmbedding):
            [given] = flow.filters
            valid = flow.valid[:, 1:].repeat_interleave(given.shape[1] // (flow.valid.shape[1] - 1), dim=1)
            filters = given[valid].square().sum(0) * _weight(embedding.filter_reader).square().sum(0)
        found.append(Importance(heads, neurons, channels, filters))
        tokens += int(flow.valid.sum())
    return _add_up(found, lambda total: (total / tokens).sqrt())


CRITERIA: dict[str, Callable[[Transformer, TrainingContext], Importance]] = {
    "l1": partial(measure_norms, p=1),
    "l2": partial(measure_norms, p=2),
    "taylor": measure_taylor,
    "activation": measure_activation,
    "random": draw_random,
}
"""What parts may be ranked by, under the names that recipes use."""


def check_criterion(name: str) -> None:
    """Refuse a criterion that there is not.

    Raises
    ------
    UserError
    """
    if name not in CRITERIA:
        *first, last = CRITERIA
        raise UserError(f"unknown criterion {name!r}; use {', '.join(first)} or {last}")


def measure_influence(network: Transformer, context: TrainingContext) -> list[float]:
    """How much each layer changes the residual stream: 1 minus the mean cosine of a token's input and output [3]_."""
    total, tokens = torch.zeros(len(network.layers)), 0
    for flow in _observe(network, context):
        inputs, outputs = flow.stream[:-1], flow.stream[1:]
        cosines = [F.cosine_similarity(a, b, dim=2) for a, b in zip(inputs, outputs, strict=True)]
        total += torch.stack([c[flow.valid].sum() for c in cosines])
        tokens += int(flow.valid.sum())
    return (1 - total / tokens).tolist()


def measure_heads(layer: EncoderLayer, p: int) -> Tensor:
    """The p-norm (heads,) of all weights that belong to a head: its query, key, value rows and output columns."""
    attention = layer.attention
    shape = (attention.heads, attention.head_dim, -1)
    parts = [_weight(m).view(shape) for m in (attention.query, attention.key, attention.value)]
    parts.append(_weight(attention.out).T.reshape(shape))
    return torch.cat(parts, dim=2).flatten(1).norm(p, dim=1)


def measure_neurons(layer: EncoderLayer, p: int) -> Tensor:
    """The p-norm (d_ff,) of all weights that belong to a feed-forward neuron: its row in and its column out."""
    feed_forward = _plain(layer)
    return torch.cat([_weight(feed_forward.expand), _weight(feed_forward.contract).T], dim=1).norm(p, dim=1)


def measure_channels(network: Transformer, p: int) -> Tensor:
    """The p-norm (d_model,) of all weights that write a channel of the embedding or read it."""
    parts = [network.embedding.channel_weights, _weight(network.hidden).T]
    for layer in network.layers:
        assert isinstance(layer, EncoderLayer)
        attention, feed_forward = layer.attention, _plain(layer)
        parts += [_weight(m).T for m in (attention.query, attention.key, attention.value, feed_forward.expand)]
        parts += [_weight(attention.out), _weight(feed_forward.contract)]
    return torch.cat(parts, dim=1).norm(p, dim=1)


def measure_filters(network: Transformer, p: int) -> Tensor:
    """The p-norm (filters,) of all weights that belong to a filter: what it looks for, and how it is read."""
    embedding = network.embedding
    if not isinstance(embedding, ConvolutionEmbedding):
        return torch.empty(0)
    parts = [embedding.convolution.weight.detach().flatten(1), _weight(embedding.filter_reader).T]
    return torch.cat(parts, dim=1).norm(p, dim=1)


def count_filters(network: Transformer) -> int:
    """Filters of the convolution before the tokens; 0 where there is none."""
    embedding = network.config.embedding
    return embedding.filters if isinstance(embedding, ConvolutionEmbeddingConfig) else 0


def _plain(layer: EncoderLayer) -> FeedForward:
    assert isinstance(layer.feed_forward, FeedForward)  # `check_plain` has seen to it
    return layer.feed_forward


def _weight(linear: nn.Module) -> Tensor:
    assert isinstance(linear, nn.Linear)  # `check_whole` has seen to it
    return linear.weight.detach()


@dataclass
class _Flow:
    """What flows through a network for one batch, each (n, tokens, width).

    `heads` and `neurons` are what each layer's last linear layers read, `filters` is what the filters of a convolution
    before the tokens give, where there is one, for each patch, or for each time step of it if a pointwise convolution
    reads them (n, patches or time steps, filters), `stream` is the residual stream before every
    layer and after the last, `between` the same between attention and feed-forward. `valid` (n, tokens) says which
    tokens are no padding, and `loss` is summed over the series.
    """

    heads: list[Tensor] = field(default_factory=list)
    neurons: list[Tensor] = field(default_factory=list)
    filters: list[Tensor] = field(default_factory=list)
    stream: list[Tensor] = field(default_factory=list)
    between: list[Tensor] = field(default_factory=list)
    valid: Tensor = field(default_factory=lambda: torch.empty(0))
    loss: Tensor = field(default_factory=lambda: torch.empty(0))

    @property
    def places(self) -> list[Tensor]:
        """The residual stream wherever something reads it."""
        return [*self.stream, *self.between]


def _observe(network: Transformer, context: TrainingContext, gradients: bool = False) -> Iterator[_Flow]:
    """Send a sample of the training series through a network, without dropout.

    Raises
    ------
    UserError
        If tokens become fewer on the way.
    """
    if any(layer.reduction is not None for layer in network.config.layers):
        raise UserError("importance is observed on all tokens of a series; put merge and drop after what uses it")
    network.eval()
    layers = [layer for layer in network.layers if isinstance(layer, EncoderLayer)]
    sample, _ = context.sample(OBSERVED)
    for batch in batches(sample, BATCH, equal_length=context.equal_length):
        flow = _Flow()
        watched: list[tuple[nn.Module, list[Tensor]]] = []
        for layer in layers:
            attention, feed_forward = layer.attention, layer.feed_forward
            watched += [(attention.out, flow.heads), (feed_forward, flow.between)]
            if isinstance(feed_forward, FeedForward):
                watched.append((feed_forward.contract, flow.neurons))
        if isinstance(network.embedding, ConvolutionEmbedding):
            watched.append((network.embedding.pointwise or network.embedding.norm, flow.filters))
        hooks = [
            module.register_forward_pre_hook(lambda _, given, into=into: into.append(given[0]))
            for module, into in watched
        ]
        try:
            with torch.set_grad_enabled(gradients):
                lengths = None if batch.lengths is None else torch.from_numpy(batch.lengths)
                x, mask = network.embed(torch.from_numpy(batch.x), lengths)
                flow.stream.append(x)
                for layer in layers:
                    x, _ = layer(x, mask)
                    flow.stream.append(x)
                logits = network.classify_tokens(x)
                flow.loss = F.cross_entropy(logits, torch.from_numpy(sample.y[batch.index]), reduction="sum")
        finally:
            for hook in hooks:
                hook.remove()
        flow.valid = torch.ones(x.shape[:2], dtype=torch.bool) if mask is None else mask[:, 0, 0]
        yield flow


def _add_up(found: list[Importance], finish: Callable[[Tensor], Tensor]) -> Importance:
    """The batches' sums added up, and what is made of them."""

    def over_batches(tensors: Iterable[Tensor]) -> Tensor:
        return finish(torch.stack(list(tensors)).sum(0))

    return Importance(
        heads=[over_batches(same) for same in zip(*(f.heads for f in found), strict=True)],
        neurons=[over_batches(same) for same in zip(*(f.neurons for f in found), strict=True)],
        channels=over_batches(f.channels for f in found),
        filters=over_batches(f.filters for f in found),
    )
