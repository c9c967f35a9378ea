"""What a transformer's layers have to do for one batch, from its configuration alone."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Sequence

from tsc_lib.energy.opcount import Operation
from tsc_lib.models.number_format import NumberFormat
from tsc_lib.models.transformer import TransformerConfig


def operations(
    config: TransformerConfig,
    length: int,
    batch_size: int = 1,
    number_format: NumberFormat = NumberFormat.FP32,
    fp32_layers: Collection[str] = (),
    left: Sequence[float] | None = None,
) -> list[Operation]:
    """The operations of one call.

    Parameters
    ----------
    config : TransformerConfig
        Widths of every layer.
    length : int
        Time steps of each series.
    batch_size : int
        Series in the call.
    number_format : NumberFormat
        Of the linear layers; the convolution and attention itself stay in fp32, as they do in every runtime so far.
    fp32_layers : collection of str
        Names of the transformer's linear layers that stay in fp32, too.
    left : sequence of float, optional
        Shares of the series that leave at each early exit, and last of those that do not; by default none leaves early.

    Returns
    -------
    list of Operation
        Whose MACs add up to what `count_macs` counts on the operators that run, times the batch size.
    """
    patches, *after = config.count_tokens(length)
    tokens, going = patches + 1, 1.0
    exits = dict(zip((e.layer for e in config.exits), left or itertools.repeat(0.0), strict=False))

    def operation(macs: int, number_format: NumberFormat, weights: int, activations: int) -> Operation:
        series = batch_size * going
        # Weights are read unless every series of the call has left.
        read = round(weights * (1 - (1 - going) ** batch_size))
        return Operation(round(series * macs), number_format, read, round(series * activations))

    def product(name: str, rows: int, inputs: int, outputs: int, biases: int) -> Operation:
        own = NumberFormat.FP32 if name in fp32_layers else number_format
        return operation(rows * inputs * outputs, own, inputs * outputs + biases, rows * outputs)

    def linear(name: str, rows: int, inputs: int, outputs: int, rank: int = 0) -> list[Operation]:
        if rank == 0:
            return [product(name, rows, inputs, outputs, outputs)]
        return [product(f"{name}.0", rows, inputs, rank, 0), product(f"{name}.1", rows, rank, outputs, outputs)]

    d_model = config.d_model
    found = [
        operation(rows * inputs * outputs, NumberFormat.FP32, (inputs + 1) * outputs, rows * outputs)
        for rows, inputs, outputs in config.embedding.count_products(length, config.read_channels, d_model)
    ]
    for layer, sizes in enumerate(config.layers):
        width, ranks = sizes.heads * config.head_dim, dataclasses.asdict(sizes.ranks)
        attention, feed_forward = f"layers.{layer}.attention", f"layers.{layer}.feed_forward"
        for name in ("query", "key", "value"):
            found += linear(f"{attention}.{name}", tokens, d_model, width, ranks[name])
        found.append(operation(2 * tokens**2 * width, NumberFormat.FP32, 0, tokens * width))
        found += linear(f"{attention}.out", tokens, width, d_model, ranks["out"])
        if sizes.reduction is not None:
            # The class token's attention once more; or how alike tokens are, and the sum of those that are merged.
            pairs = (tokens + 1) // 2 * (tokens // 2)
            macs = tokens * width if sizes.reduction.method == "drop" else pairs * (width + d_model)
            tokens = after[layer] + 1
            found.append(operation(macs, NumberFormat.FP32, 0, tokens * d_model))
        if sizes.experts > 1:
            # How many tokens each expert gets is up to the router; a call reads the weights of all.
            found += linear(f"{feed_forward}.router", tokens, d_model, sizes.experts)
            used, weights = tokens * sizes.active, sizes.experts * ((2 * d_model + 1) * sizes.d_ff + d_model)
            found.append(
                operation(2 * used * d_model * sizes.d_ff, number_format, weights, used * (sizes.d_ff + d_model))
            )
        else:
            found += linear(f"{feed_forward}.expand", tokens, d_model, sizes.d_ff, ranks["expand"])
            found += linear(f"{feed_forward}.contract", tokens, sizes.d_ff, d_model, ranks["contract"])
        if layer + 1 in exits:
            found += linear(f"exits.{list(exits).index(layer + 1)}", 1, d_model, config.classes)
            going -= exits[layer + 1]
    found += linear("hidden", 1, d_model, config.d_hidden)
    return [*found, *linear("classify", 1, config.d_hidden, config.classes)]
