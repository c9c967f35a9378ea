"""Where a transformer looks: its attention for one series, as a table."""

from __future__ import annotations

from typing import cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from tsc_lib.models.transformer import EncoderLayer, Transformer


def attention_weights(network: Transformer, series: np.ndarray) -> list[np.ndarray]:
    """The attention weights of every layer for one series.

    Parameters
    ----------
    network : Transformer
        Evaluated as it is.
    series : ndarray of float32, shape (channels, length)
        Scaled as the network expects.

    Returns
    -------
    list of ndarray, shape (heads, tokens, tokens)
        One array for each layer, the class token first; each row adds up to 1.
    """
    attentions = [cast(EncoderLayer, layer).attention for layer in network.layers]
    weights: list[np.ndarray] = []

    def collect(module: nn.Module, inputs: object, output: tuple[Tensor, Tensor, Tensor]) -> None:
        _, (q,), (k,) = output  # of the one series: (heads, tokens, head_dim)
        weights.append(torch.softmax(q @ k.transpose(1, 2) / q.shape[-1] ** 0.5, dim=-1).numpy())

    hooks = [each.register_forward_hook(collect) for each in attentions]
    try:
        with torch.inference_mode():
            network.eval()(torch.from_numpy(series[None]))
    finally:
        for hook in hooks:
            hook.remove()
    return weights


def attention_table(network: Transformer, series: np.ndarray) -> pd.DataFrame:
    """How the class token's attention is shared out over the time of a series, mean over the heads.

    Parameters
    ----------
    network, series
        As of `attention_weights`.

    Returns
    -------
    DataFrame
        Columns `layer` (from 1), `start` and `end` (time steps that a token stands for) and `share` (of the attention
        that goes to tokens of the series). Layers after a reduction of tokens are left out: theirs mix time steps.
    """
    weights = attention_weights(network, series)
    tokens = weights[0].shape[1] - 1
    edges = np.linspace(0, series.shape[1], tokens + 1)
    rows = []
    for layer, each in enumerate(weights, start=1):
        looked = each.mean(axis=0)[0, 1:]
        if len(looked) == tokens:
            rows.append(
                pd.DataFrame({"layer": layer, "start": edges[:-1], "end": edges[1:], "share": looked / looked.sum()})
            )
    return pd.concat(rows, ignore_index=True)
