"""The C program of a transformer: what calls the functions of its stages, block after block of tokens."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import cast

import torch

from tsc_lib.models.convolution_embedding import ROUNDING, SMALLEST, ConvolutionEmbedding
from tsc_lib.models.embedding import PatchEmbedding
from tsc_lib.models.transformer import EncoderLayer, Transformer
from tsc_lib.runtimes.attention_matmul import is_bounded, list_norms
from tsc_lib.runtimes.c import stages
from tsc_lib.runtimes.c.source import Source
from tsc_lib.runtimes.c.templates import ATTENTION, CONVOLUTION, HEAD, HEADER, LAYER, LOGITS, MEAN, MEASURE, PATCHES

ROWS, SMALL_ROWS = 16, 4
"""Tokens in a block: as many numbers as the widest vectors hold, or few where memory is short."""


@dataclass(frozen=True)
class Program:
    """A transformer in C.

    Attributes
    ----------
    text : str
        The file ``model.c``.
    workspace_bytes, small_bytes : int
        What it computes in, one scaled series included, as it is and in little memory.
    weight_bytes : int
        Weights; the table of positions is none.
    fp32_layers, int8_layers : int
        Linear layers, by what they are multiplied in.
    """

    text: str
    workspace_bytes: int
    small_bytes: int
    weight_bytes: int
    fp32_layers: int
    int8_layers: int


def write_program(network: Transformer, length: int, *, equal_length: bool) -> Program:
    """The program for series of a length, or up to it.

    Parameters
    ----------
    network : Transformer
        Whose logits to compute; those of its linear layers that are a `FakeQuantLinear` are computed in int8.
    length : int
        Time steps of the longest series.
    equal_length : bool
        Whether all series have that length.
    """
    (source, code, size), (_, small_code, small_size) = (
        _write_code(network, length, rows, equal_length) for rows in (ROWS, SMALL_ROWS)
    )
    text = [HEAD.rstrip(), *source.arrays, "#ifdef MODEL_SMALL", small_code, "#else", code, "#endif\n"]
    counts = (source.weight_bytes, source.fp32_layers, source.int8_layers)
    return Program("\n\n".join(text), size, small_size, *counts)


def _write_code(network: Transformer, length: int, rows: int, equal_length: bool) -> tuple[Source, str, int]:
    """The functions for blocks of so many tokens, and the bytes that they work in; the weights are the same for all."""
    config, source = network.config, Source()
    patch, width = config.embedding.patch, config.d_model
    longest = config.embedding.count_tokens(length)
    blocks = longest // rows + 1
    inner = max(layer.heads for layer in config.layers) * config.head_dim
    lasting = {"x": blocks * rows * width, "valid": blocks * rows}
    inside = {"k": blocks * rows * inner, "v": blocks * rows * inner}
    inside |= {"q": rows * inner, "values": rows * inner, "z": rows * width}
    given, embed = _embed(source, network, rows, longest)
    layers = [_write_layer(source, network, index, rows) for index in range(len(network.layers))]
    steps = ["    (void)length;"] if equal_length else []
    steps += [
        f"    const int steps = {length if equal_length else 'length'};",
        f"    const int tokens = steps < {2 * patch} ? 1 : steps / {patch};",
        f"    const int blocks = tokens / {rows} + 1;",
    ]
    logits = LOGITS.format(
        steps="\n".join(steps),
        memory=_place("workspace", lasting | inside, "    "),
        given=_place("k", given, "        "),
        embed=embed,
        rows=rows,
        width=width,
        layers="\n".join(layers),
        classify=source.call(stages.classify_token(network), "classify", ["x"], ["logits"]),
    )
    floats = sum(lasting.values()) + max(sum(inside.values()), sum(given.values())) + config.channels * length
    return source, "\n\n".join([*source.used_parts, *source.functions, logits]), 4 * floats


def write_header(network: Transformer, program: Program, shortest: int, longest: int) -> str:
    """The file ``model.h``, for series of so many time steps."""
    return HEADER.format(
        channels=network.config.channels,
        shortest=shortest,
        longest=longest,
        classes=network.config.classes,
        equal=int(shortest == longest),
        workspace=program.workspace_bytes,
        small=program.small_bytes,
    )


def _place(start: str, sizes: dict[str, int], indent: str) -> str:
    """Declarations of arrays that lie one after another."""
    offsets = accumulate(sizes.values(), initial=0)
    return "\n".join(
        f"{indent}float *const {name} = {start} + {offset};" for name, offset in zip(sizes, offsets, strict=False)
    )


def _embed(source: Source, network: Transformer, rows: int, longest: int) -> tuple[dict[str, int], str]:
    """The arrays that tokens are made in, by name with their sizes, and the statements that make them."""
    config, embedding = network.config, network.embedding
    channels, patch, width = config.read_channels, config.embedding.patch, config.d_model
    read, channel = config.input_channels, "c"
    if read is not None:
        channel = "model_read[c]"
        source.arrays.append(f"static const int model_read[{channels}] = {{{', '.join(map(str, read))}}};")
    padded = (longest // ROWS + 1) * ROWS
    table = embedding.positions[:padded].clone()
    table = torch.cat([table, table[-1:].expand(padded - len(table), -1)])
    table[0] += embedding.class_token.detach()[0, 0]
    common = {"rows": rows, "channels": channels, "channel": channel, "patch": patch}
    place = f"x + b * {rows * width}"
    if isinstance(embedding, PatchEmbedding):
        assert embedding.convolution.bias is not None
        table[1:] += embedding.convolution.bias.detach()
        positions = source.array(table.numpy())
        call = source.call(
            stages.embed_patches(embedding, rows), "embed", ["patches", f"{positions} + b * {rows}"], [place]
        )
        size = rows * channels * patch
        return {"patches": size}, PATCHES.format(size=size, embed=call, **common)
    assert isinstance(embedding, ConvolutionEmbedding)
    table[1:] += embedding.project.bias.detach()
    positions = source.array(table.numpy())
    kernel, features, seen = embedding.config.kernel, embedding.config.features, channels * embedding.config.kernel
    whole = longest * patch
    sizes = {"normal": channels * whole, "level": 2 * channels, "seen": seen * patch, "strengths": rows * features}
    strengths = f"strengths + t % {rows} * {features}"
    source.functions.append(MEAN.format(patch=patch))
    window = {"seen": seen, "patch": patch, "kernel": kernel, "margin": kernel // 2, "whole": whole}
    places = {own.start: f"{strengths} + {own.start}" for _, own in embedding.config.groups}
    if embedding.pointwise is not None:
        sizes["answers"] = patch * embedding.config.filters
        places = {start: f"answers + {patch * start}" for start in places}
    measured = [
        MEASURE.format(dilation=dilation, measure=source.call(graph, "measure", ["seen"], [answers]), **window)
        for (dilation, own), answers in zip(embedding.config.groups, places.values(), strict=True)
        for graph in [stages.measure_filters(embedding, own, patch)]
    ]
    if embedding.pointwise is not None:
        mix = source.call(stages.mix_filters(embedding, patch), "mix", list(places.values()), [strengths])
        measured.append(f"                {mix}")
    text = CONVOLUTION.format(
        rounding=ROUNDING,
        smallest=SMALLEST,
        whole=whole,
        size=rows * features,
        measure="\n".join(measured),
        embed=source.call(
            stages.embed_strengths(embedding, rows), "embed", ["strengths", f"{positions} + b * {rows}"], [place]
        ),
        level=source.call(stages.add_level(embedding), "level", ["level", positions], ["x"]),
        **common,
    )
    return sizes, text


def _write_layer(source: Source, network: Transformer, index: int, rows: int) -> str:
    """The statements of a layer; of the last one only the class token is computed."""
    layer = cast(EncoderLayer, network.layers[index])
    width, size, heads = network.config.d_model, layer.attention.head_dim, layer.attention.heads
    inner, is_last = heads * size, index == len(network.layers) - 1
    queries = 1 if is_last else rows
    x, block = f"x + b * {rows * width}", rows * inner
    finish = stages.finish_layer(layer, width, queries)
    with torch.no_grad():
        bounded = is_bounded(layer.attention, list_norms(network)[index])
    return LAYER.format(
        keys=source.call(
            stages.project_keys(layer, width, rows), "keys", [x], [f"k + b * {block}", f"v + b * {block}"]
        ),
        queries=source.call(stages.project_queries(layer, width, queries), "queries", [x], ["q"]),
        attention=_write_attention(source, size, queries, rows, bounded),
        finish=source.call(finish, "finish", ["values", x], ["z"]),
        inner=inner,
        rows=rows,
        block=block,
        heads=heads,
        own=size * queries,
        all=size * rows,
        count=1 if is_last else "blocks",
        moved=queries * width,
    )


def _write_attention(source: Source, size: int, queries: int, rows: int, bounded: bool) -> str:
    """The name of the function of one head's attention over all blocks of keys."""
    graph = stages.attend(size, queries, rows, bounded=bounded)
    sums = (size + 1) * queries
    parts = ["", f" + {size * queries}"] + ([] if bounded else [f" + {sums}"])
    given = ["q", "k + b * stride", "v + b * stride", f"valid + b * {rows}", *(f"state{part}" for part in parts)]
    attend = source.call(graph, "attend", given, [f"next{part}" for part in parts])
    name = f"{source.function(graph, 'attend')}_all"
    divide = source.call(stages.divide(size, queries), "divide", ["state", f"state + {size * queries}"], ["values"])
    text = ATTENTION.format(name=name, size=(size + 2) * queries, sums=sums, attend=attend, divide=divide)
    if text not in source.functions:
        source.functions.append(text)
    return name
