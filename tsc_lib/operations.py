"""What a transformer's layers have to do for one batch, from its configuration alone."""

from __future__ import annotations

from tsc_lib.energy.opcount import Operation
from tsc_lib.models.transformer import TransformerConfig


def operations(
    config: TransformerConfig, length: int, batch_size: int = 1, number_format: str = "fp32"
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

    Returns
    -------
    list of Operation
        Whose MACs add up to what `count_macs` counts on the operators that run, times the batch size.
    """
    patches = length // config.patch
    tokens = patches + 1

    def product(rows: int, inputs: int, outputs: int, biases: int) -> Operation:
        n = batch_size * rows
        return Operation(n * inputs * outputs, number_format, inputs * outputs + biases, n * outputs)

    def linear(rows: int, inputs: int, outputs: int, rank: int = 0) -> list[Operation]:
        if rank == 0:
            return [product(rows, inputs, outputs, outputs)]
        return [product(rows, inputs, rank, 0), product(rows, rank, outputs, outputs)]

    window = config.channels * config.patch
    n = batch_size * patches
    found = [Operation(n * window * config.d_model, "fp32", (window + 1) * config.d_model, n * config.d_model)]
    for layer, (heads, d_ff) in enumerate(zip(config.heads, config.d_ff, strict=True)):
        width, ranks = heads * config.head_dim, config.ranks_of(layer)
        for name in ("query", "key", "value"):
            found += linear(tokens, config.d_model, width, ranks[name])
        found.append(Operation(2 * batch_size * tokens**2 * width, "fp32", 0, batch_size * tokens * width))
        found += linear(tokens, width, config.d_model, ranks["out"])
        found += linear(tokens, config.d_model, d_ff, ranks["expand"])
        found += linear(tokens, d_ff, config.d_model, ranks["contract"])
    return [*found, *linear(1, config.d_model, config.d_hidden), *linear(1, config.d_hidden, config.classes)]
