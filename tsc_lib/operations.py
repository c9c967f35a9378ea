"""What a transformer's layers have to do for one batch, from its configuration alone."""

from __future__ import annotations

from collections.abc import Collection

from tsc_lib.energy.opcount import Operation
from tsc_lib.models.transformer import TransformerConfig


def operations(
    config: TransformerConfig,
    length: int,
    batch_size: int = 1,
    number_format: str = "fp32",
    fp32_layers: Collection[str] = (),
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
    number_format : str
        Of the linear layers; the convolution and attention itself stay in fp32, as they do in every runtime so far.
    fp32_layers : collection of str
        Names of the transformer's linear layers that stay in fp32, too.

    Returns
    -------
    list of Operation
        Whose MACs add up to what `count_macs` counts on the operators that run, times the batch size.
    """
    patches = length // config.patch
    tokens = patches + 1

    def product(name: str, rows: int, inputs: int, outputs: int, biases: int) -> Operation:
        n = batch_size * rows
        own = "fp32" if name in fp32_layers else number_format
        return Operation(n * inputs * outputs, own, inputs * outputs + biases, n * outputs)

    def linear(name: str, rows: int, inputs: int, outputs: int, rank: int = 0) -> list[Operation]:
        if rank == 0:
            return [product(name, rows, inputs, outputs, outputs)]
        return [product(f"{name}.0", rows, inputs, rank, 0), product(f"{name}.1", rows, rank, outputs, outputs)]

    window = config.channels * config.patch
    n = batch_size * patches
    found = [Operation(n * window * config.d_model, "fp32", (window + 1) * config.d_model, n * config.d_model)]
    for layer, (heads, d_ff) in enumerate(zip(config.heads, config.d_ff, strict=True)):
        width, ranks = heads * config.head_dim, config.ranks_of(layer)
        attention, feed_forward = f"layers.{layer}.attention", f"layers.{layer}.feed_forward"
        for name in ("query", "key", "value"):
            found += linear(f"{attention}.{name}", tokens, config.d_model, width, ranks[name])
        found.append(Operation(2 * batch_size * tokens**2 * width, "fp32", 0, batch_size * tokens * width))
        found += linear(f"{attention}.out", tokens, width, config.d_model, ranks["out"])
        found += linear(f"{feed_forward}.expand", tokens, config.d_model, d_ff, ranks["expand"])
        found += linear(f"{feed_forward}.contract", tokens, d_ff, config.d_model, ranks["contract"])
    found += linear("hidden", 1, config.d_model, config.d_hidden)
    return [*found, *linear("classify", 1, config.d_hidden, config.classes)]
