"""Channel selection: a network that reads some of the channels of a series, and does no work for the others.

References
----------
.. [1] Dhariyal et al., "Scalable Classifier-Agnostic Channel Selection for Multivariate Time Series Classification",
       Data Mining and Knowledge Discovery, 2023 (distances between class centroids).
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsc_lib.compress.context import TrainingContext
from tsc_lib.compress.importance import BATCH, OBSERVED
from tsc_lib.compress.step import Family, NoEffect, Step
from tsc_lib.compress.surgery import check_fp32, rebuild
from tsc_lib.core.errors import UserError
from tsc_lib.core.limits import Limits, quote
from tsc_lib.data import batches
from tsc_lib.models.compressed import CompressedModel, Details
from tsc_lib.models.transformer import Transformer
from tsc_lib.series.scaling import pad


@dataclass(frozen=True)
class Channels(Step):
    """Keep the channels of the series that matter most; the network takes series with all of them, and reads these.

    Attributes
    ----------
    keep : float
        Share of the channels to keep, rounded, or from 1 on how many.
    criterion : {"taylor", "occlusion", "l2", "centroids", "random"}
        What is called important, see `CRITERIA`.
    """

    name: ClassVar[str] = "channels"
    summary: ClassVar[str] = "reads some channels of the series alone"
    family: ClassVar[Family] = Family.SMALLER
    titled: ClassVar[int] = 2
    examples: ClassVar[Mapping[str, str]] = {
        "channels(0.5)": (
            "read half of the channels of the series, or channels(3) three of them, by criterion=taylor, occlusion, "
            "l2, centroids or random; train on after it"
        ),
    }
    limits: ClassVar[Limits] = {"keep": (0.001, 100_000)}

    keep: float
    criterion: str = "taylor"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keep >= 1:
            if self.keep % 1:
                raise UserError(f"channels keeps a share below 1, or a whole number of channels, not {self.keep:g}")
            object.__setattr__(self, "keep", int(self.keep))  # as it is written
        if self.criterion not in CRITERIA:
            *first, last = CRITERIA
            raise UserError(f"channels takes the criteria {', '.join(first)} or {last}, not {quote(self.criterion)}")

    @property
    def title(self) -> str:  # type: ignore[override]  # a number and a share are written differently
        """See `Step`."""
        count = "{keep} channel" if self.keep == 1 else "{keep} channels" if self.keep > 1 else "{keep:.1%} of channels"
        return f"read {count} {{criterion}}"

    def apply(self, model: CompressedModel, context: TrainingContext) -> tuple[CompressedModel, Details]:
        """Cut the other channels off; the details list those that were kept, and how much each mattered.

        Both are in the numbers of the data set's channels, counted from 0.
        """
        check_fp32(model, self.name)
        config = model.network.config
        if config.channels == 1:
            raise UserError(f"{self} chooses among the channels of a series, but these series have one; leave it out")
        before = config.input_channels or tuple(range(config.channels))
        count = int(self.keep) if self.keep >= 1 else max(1, round(self.keep * len(before)))
        if count >= len(before):
            raise NoEffect(f"{self} cuts off none of {len(before)} channels")
        scores = CRITERIA[self.criterion](model.network, context)
        kept = scores.topk(count).indices.sort().values
        details = {
            "input_channels": [before[i] for i in kept.tolist()],
            "importance": dict(zip(map(str, before), scores.tolist(), strict=True)),
        }
        return dataclasses.replace(model, network=keep_inputs(model.network, kept)), details


def keep_inputs(network: Transformer, kept: Tensor) -> Transformer:
    """Rebuild a network so that it reads only some of the channels that it has read.

    Parameters
    ----------
    network : Transformer
        Left alone.
    kept : Tensor
        Their places among those that it reads, ascending.
    """
    config, state = network.config, network.state_dict()
    before = config.input_channels or range(config.channels)
    for name, module in network.embedding.readers.items():
        weight = f"embedding.{name}.weight"
        state[weight] = state[weight][:, find_inputs(module, config.read_channels)[:, kept].flatten()]
    return rebuild(dataclasses.replace(config, input_channels=tuple(before[i] for i in kept.tolist())), state)


def find_inputs(module: nn.Linear | nn.Conv1d, channels: int) -> Tensor:
    """The inputs of a module that are channels of a series: a row (channels,) for each time that it reads all."""
    return torch.arange(module.weight.shape[1]).view(-1, channels)


def measure_taylor(network: Transformer, context: TrainingContext) -> Tensor:
    """How much the loss of a series would change, to first order, if a channel were not read: the mean over series.

    It is ``|sum(a * dL/da)|`` over what the embedding reads of the channel, as for other parts of a network.
    """
    channels, series = network.config.read_channels, 0
    read: dict[nn.Module, Tensor] = {}
    total = torch.zeros(channels)
    hooks = [m.register_forward_pre_hook(lambda own, given: read.update({own: given[0]})) for m in _readers(network)]
    try:
        for x, lengths, y in _sample(context):
            loss = F.cross_entropy(network(x.requires_grad_(), lengths), y, reduction="sum")
            gradients = torch.autograd.grad(loss, list(read.values()))
            gates = torch.zeros(len(x), channels)
            for (module, a), g in zip(read.items(), gradients, strict=True):
                found = (a * g).detach().sum(2 if isinstance(module, nn.Conv1d) else 1)  # (n, inputs)
                gates += found.view(len(x), -1, channels).sum(1)
            total, series = total + gates.abs().sum(0), series + len(x)
    finally:
        for hook in hooks:
            hook.remove()
    return total / series


def measure_occlusion(network: Transformer, context: TrainingContext) -> Tensor:
    """How much larger the loss is if a channel is not read, the mean over series: a pass through them for each."""
    channels, series = network.config.read_channels, 0
    total, blind = torch.zeros(channels), copy.deepcopy(network)
    with torch.no_grad():
        for x, lengths, y in _sample(context):
            whole = F.cross_entropy(network(x, lengths), y, reduction="sum")
            for channel in range(channels):
                blind.embedding.load_state_dict(network.embedding.state_dict())
                for module in _readers(blind):
                    module.weight[:, find_inputs(module, channels)[:, channel]] = 0.0
                total[channel] += F.cross_entropy(blind(x, lengths), y, reduction="sum") - whole
            series += len(x)
    return total / series


def measure_norms(network: Transformer, context: TrainingContext) -> Tensor:
    """The 2-norm of the weights that read a channel."""
    channels = network.config.read_channels
    squares = [m.weight.detach().transpose(0, 1).flatten(1).square().sum(1) for m in _readers(network)]
    return torch.stack([each.view(-1, channels).sum(0) for each in squares]).sum(0).sqrt()


def measure_centroids(network: Transformer, context: TrainingContext) -> Tensor:
    """The distances between the means of any two classes, added up [1]_: of all training series, without the model.

    The means are of series with zeros after their ends, as the network is given them.
    """
    from aeon.transformations.collection.channel_selection import ElbowClassSum

    x, _ = pad(context.train.x)
    distances = ElbowClassSum().fit(x, context.train.y).distance_frame.sum(axis=1).to_numpy()
    return network.read(torch.tensor(distances)[None])[0]


def draw_random(network: Transformer, context: TrainingContext) -> Tensor:
    """A random order, drawn by the seed."""
    return torch.rand(network.config.read_channels, generator=torch.Generator().manual_seed(context.seed))


CRITERIA: dict[str, Callable[[Transformer, TrainingContext], Tensor]] = {
    "taylor": measure_taylor,
    "occlusion": measure_occlusion,
    "l2": measure_norms,
    "centroids": measure_centroids,
    "random": draw_random,
}
"""What the channels that a network reads may be ranked by; the larger, the more it matters."""


def _readers(network: Transformer) -> list[nn.Linear | nn.Conv1d]:
    return list(network.embedding.readers.values())


def _sample(context: TrainingContext) -> Iterator[tuple[Tensor, Tensor | None, Tensor]]:
    """Some training series (n, channels, length), their lengths where they differ, and classes, in batches."""
    sample, _ = context.sample(OBSERVED)
    for batch in batches(sample, BATCH, equal_length=context.equal_length):
        lengths = None if batch.lengths is None else torch.from_numpy(batch.lengths)
        yield torch.from_numpy(batch.x), lengths, torch.from_numpy(sample.y[batch.index])
