"""A transformer as stages: small graphs of fixed sizes, which a compiler of plain loops makes fast code of.

A series passes through them in blocks of tokens, so neither code nor memory depends on its length. Keys and values are
computed for all blocks first. Then each block of queries meets one block of keys after the other and keeps the sums of
exponentials and of the values that they weigh, as FlashAttention [1]_ does. The results of every product lie side by
side in memory, tokens or channels, where a compiler can compute several at once.

References
----------
.. [1] Dao et al., "FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness", NeurIPS 2022.
"""

from __future__ import annotations

from typing import cast

from torch import nn

from tsc_lib.models.convolution_embedding import ConvolutionEmbedding
from tsc_lib.models.embedding import PatchEmbedding
from tsc_lib.models.transformer import EncoderLayer, FeedForward, Transformer
from tsc_lib.runtimes.c.graph import Graph


def embed_patches(embedding: PatchEmbedding, rows: int) -> Graph:
    """Tokens of patches (rows, channels * patch)."""
    convolution = embedding.convolution
    width, inputs = convolution.out_channels, convolution.in_channels * embedding.config.patch
    graph = Graph({"patches": (rows, inputs), "positions": (rows, width)}, {"x": (rows, width)})
    graph.add(f"Gemm(patches, {graph.weigh(convolution.weight.flatten(1).T)}, positions)", "x")
    return graph


def measure_filters(embedding: ConvolutionEmbedding, own: slice, patch: int) -> Graph:
    """The mean strength of some filters in a patch, of what their kernels see (channels * kernel, patch).

    Where a pointwise convolution is to read them, what they answer at each time step (patch, filters) instead.
    """
    convolution, result = embedding.convolution, "strengths" if embedding.pointwise is None else "answers"
    assert convolution.bias is not None
    kernels, biases = convolution.weight[own], convolution.bias[own]
    inputs, filters = kernels[0].numel(), len(kernels)
    rows = 1 if embedding.pointwise is None else patch
    graph = Graph({"seen": (inputs, patch)}, {result: (rows, filters)})
    call = f"Gemm <transA = 1> (seen, {graph.weigh(kernels.flatten(1).T)}, {graph.weigh(biases)})"
    if embedding.pointwise is None:
        graph.average(graph.add(call), result)
    else:
        graph.add(call, result)
    return graph


def mix_filters(embedding: ConvolutionEmbedding, patch: int) -> Graph:
    """The mean strength in a patch of a pointwise convolution, of the answers (patch, filters) of each dilation."""
    assert embedding.pointwise is not None
    given = {f"answers{own.start}": (patch, own.stop - own.start) for _, own in embedding.config.groups}
    graph = Graph(given, {"strengths": (1, embedding.config.features)})
    answers = graph.add(f"Concat <axis = 1> ({', '.join(given)})")
    graph.average(graph.multiply(answers, embedding.pointwise, rectify=True), "strengths")
    return graph


def embed_strengths(embedding: ConvolutionEmbedding, rows: int) -> Graph:
    """Tokens of the strengths of filters (rows, filters)."""
    filters, width = embedding.project.in_features, embedding.project.out_features
    given = {"strengths": (rows, filters), "positions": (rows, width)}
    graph = Graph(given, {"x": (rows, width)})
    normed = graph.normalise("strengths", embedding.norm)
    graph.multiply(normed, embedding.project, "x", addend="positions")
    return graph


def add_level(embedding: ConvolutionEmbedding) -> Graph:
    """The class token with the level (2 * channels) of the series."""
    inputs, width = embedding.level.in_features, embedding.level.out_features
    graph = Graph({"level": (1, inputs), "first": (1, width)}, {"x": (1, width)})
    graph.add(f"Add(first, {graph.multiply('level', embedding.level)})", "x")
    return graph


def project_keys(layer: EncoderLayer, width: int, rows: int) -> Graph:
    """Keys and values (heads * head_dim, rows) of a block of tokens."""
    attention = layer.attention
    inner = attention.heads * attention.head_dim
    graph = Graph({"x": (rows, width)}, {"k": (inner, rows), "v": (inner, rows)})
    x = graph.normalise("x", layer.attention_norm) if layer.pre_norm else "x"
    graph.multiply(x, attention.key, "k", columns=True)
    graph.multiply(x, attention.value, "v", columns=True)
    return graph


def project_queries(layer: EncoderLayer, width: int, rows: int) -> Graph:
    """Queries (heads * head_dim, rows) of a block of tokens, scaled."""
    attention = layer.attention
    graph = Graph({"x": (rows, width)}, {"q": (attention.heads * attention.head_dim, rows)})
    x = graph.normalise("x", layer.attention_norm) if layer.pre_norm else "x"
    graph.multiply(x, attention.query, "q", scale=attention.head_dim**-0.5, columns=True)
    return graph


def attend(size: int, queries: int, keys: int, *, bounded: bool) -> Graph:
    """One head's queries meet a block of keys.

    `valid` is 1 for keys that are tokens, and 0 for padding, whose values are 0. `y` are the weighted values so far and
    `total` the sums of the weights, which are exponentials of scores. Where these are not bounded, weights are relative
    to the largest score so far.
    """
    given = {"q": (size, queries), "k": (size, keys), "v": (size, keys), "valid": (1, keys)}
    state = {"y": (size, queries), "total": (1, queries)} | ({} if bounded else {"largest": (1, queries)})
    graph = Graph(given | state, {f"{name}_next": sizes for name, sizes in state.items()})
    add, y, total = graph.add, "y", "total"
    scores = add("Gemm <transA = 1> (k, q)")
    if not bounded:
        add(f"Max(largest, {add(f'ReduceMax <axes = [0], keepdims = 1> ({scores})')})", "largest_next")
        before = add(f"Exp({add('Sub(largest, largest_next)')})")
        scores = add(f"Sub({scores}, largest_next)")
        y, total = add(f"Mul(y, {before})"), add(f"Mul(total, {before})")
    weights = add(f"Exp({scores})")
    add(f"Gemm(v, {weights}, {y})", "y_next")
    add(f"Gemm(valid, {weights}, {total})", "total_next")
    return graph


def divide(size: int, queries: int) -> Graph:
    """A head's weighted values divided by the sums of their weights."""
    graph = Graph({"y": (size, queries), "total": (1, queries)}, {"values": (size, queries)})
    graph.add("Div(y, total)", "values")
    return graph


def finish_layer(layer: EncoderLayer, width: int, rows: int) -> Graph:
    """A block of tokens after a layer, from the values (heads * head_dim, rows) that attention gives it."""
    out, forward = layer.attention.out, cast(FeedForward, layer.feed_forward)
    inner = layer.attention.heads * layer.attention.head_dim
    graph = Graph({"values": (inner, rows), "x": (rows, width)}, {"z": (rows, width)})

    def feed(x: str) -> str:
        return graph.multiply(graph.multiply(x, forward.expand), forward.contract, rectify=True)

    added = graph.multiply(graph.transpose("values"), out)
    x = graph.add(f"Add(x, {added})")
    if layer.pre_norm:
        graph.add(f"Add({x}, {feed(graph.normalise(x, layer.feed_forward_norm))})", "z")
    else:
        x = graph.normalise(x, layer.attention_norm)
        graph.normalise(graph.add(f"Add({x}, {feed(x)})"), layer.feed_forward_norm, "z")
    return graph


def classify_token(network: Transformer) -> Graph:
    """Logits of the class token."""
    width, classes = network.hidden.in_features, network.classify.out_features
    graph = Graph({"x": (1, width)}, {"logits": (1, classes)})
    x = graph.normalise("x", network.norm) if isinstance(network.norm, nn.LayerNorm) else "x"
    graph.multiply(graph.multiply(x, network.hidden), network.classify, "logits", rectify=True)
    return graph
