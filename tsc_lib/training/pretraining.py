"""Masked pre-training: an encoder learns to fill in what was cut out of series, whatever their classes [1]_.

The series are the training parts of several data sets; no validation and no test series is among them.

References
----------
.. [1] Zerveas et al., "A Transformer-based Framework for Multivariate Time Series Representation Learning", KDD 2021.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from tsc_lib.core.errors import UserError
from tsc_lib.core.limits import check_different
from tsc_lib.data import Batch, Dataset, DataSpec, batches, resolve
from tsc_lib.models.embedding import fill_patch
from tsc_lib.models.transformer import Transformer, TransformerConfig

STEPS = 2000
"""Of the optimiser, each on a batch from one data set."""

BATCH_SIZE = 64
LEARNING_RATE = 1e-3
MASKED = 0.4
"""Share of tokens whose time steps are set to zero, and are to be filled in."""

LONGEST = 1024
"""Time steps of a series that are read at most, from its beginning."""


def find_sources(names: str, target: DataSpec | None = None) -> list[DataSpec]:
    """The data sets that a setting such as ``ScreenType+PowerCons`` names; among them may be the target as it is cut.

    Raises
    ------
    UserError
        If one stands twice, or cannot be found.
    """
    found = [name.strip() for name in names.split("+")]
    check_different(found, f"pretrain {names!r}")
    return [target if target and name == target.name else resolve(name, gaps="interpolate") for name in found]


def pretrain(config: TransformerConfig, sources: Sequence[Dataset], seed: int) -> dict[str, Tensor]:
    """Weights of a network's embedding and encoder after masked pre-training; the same seed gives the same.

    Parameters
    ----------
    config : TransformerConfig
        The network's sizes.
    sources : sequence of Dataset
        Whose training series are learned. In each step they come from one of them, drawn in proportion to the root of
        how many it has.
    seed : int
        Of the first weights, and of all that is drawn.

    Raises
    ------
    UserError
        If a data set has other channels than the network.
    """
    for source in sources:
        if source.channels != config.channels:
            raise UserError(
                f"pretrain: {source.name} has {source.channels} channel(s), and the network reads {config.channels}; "
                "leave it out"
            )
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 1])
    network = Transformer(config).train()
    fill = nn.Linear(config.d_model, config.channels * config.embedding.patch)
    optimizer = torch.optim.Adam([*network.parameters(), *fill.parameters()], lr=LEARNING_RATE, fused=True)
    shares = np.sqrt([len(source.train) for source in sources])
    streams: list[Iterator[Batch]] = [iter(()) for _ in sources]
    for number in range(STEPS):
        chosen = int(rng.choice(len(sources), p=shares / shares.sum()))
        if (batch := next(streams[chosen], None)) is None:
            source = sources[chosen]
            streams[chosen] = batches(source.train, BATCH_SIZE, equal_length=source.equal_length, rng=rng)
            batch = next(streams[chosen])
        longest = min(LONGEST, config.embedding.length_limits[1])
        x = torch.from_numpy(batch.x[:, :, :longest])
        lengths = None if batch.lengths is None else torch.from_numpy(batch.lengths).clamp(max=longest)
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, 20 * (number + 1) / STEPS, 2 * (1 - number / STEPS))
        optimizer.zero_grad()
        _miss(network, fill, x, lengths, rng).backward()
        optimizer.step()
    return {name: value for name, value in network.state_dict().items() if name.startswith(("embedding.", "layers."))}


def _miss(network: Transformer, fill: nn.Module, x: Tensor, lengths: Tensor | None, rng: np.random.Generator) -> Tensor:
    """Mean squared error of what was masked in series x (n, channels, length)."""
    embedding = network.config.embedding
    count, patch = embedding.count_tokens(x.shape[2]), embedding.patch
    x = fill_patch(x, patch)
    masked = torch.from_numpy(rng.uniform(size=(len(x), count)) < MASKED)
    hidden = x.clone()
    hidden[:, :, : count * patch].masked_fill_(masked.repeat_interleave(patch, dim=1).unsqueeze(1), 0.0)
    tokens, mask = network.embedding(hidden, lengths)
    tokens, _ = network.encode(tokens, mask, 0, len(network.layers))
    wanted = x[:, :, : count * patch].unflatten(2, (count, patch)).transpose(1, 2).flatten(2)  # (n, count, all)
    found = fill(tokens[:, -count:])
    judged = masked if lengths is None else masked & (torch.arange(count) * patch < lengths.unsqueeze(1))
    judged[0, 0] = True  # never none
    return ((found - wanted) ** 2).mean(dim=2)[judged].mean()
