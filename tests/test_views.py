"""What notebooks show of models and recipes, and where a model looks."""

from __future__ import annotations

import numpy as np
import torch

from tsc_lib import figures
from tsc_lib.analysis.attention import attention_table, attention_weights
from tsc_lib.compress import Recipe
from tsc_lib.models.compressed import CompressedModel
from tsc_lib.models.zoo import build


def test_attention_is_what_the_network_computes() -> None:
    torch.manual_seed(0)
    network = build("T1", channels=2, classes=3)
    series = np.random.default_rng(0).normal(size=(2, 43)).astype(np.float32)
    weights = attention_weights(network, series)
    assert [each.shape for each in weights] == [(8, 6, 6)] * 8
    np.testing.assert_allclose(np.concatenate(weights).sum(axis=-1), 1, rtol=1e-5)
    attention, seen = network.layers[0].attention, []
    handle = attention.out.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    tokens, _ = network.embedding(torch.from_numpy(series[None]), None)
    network(torch.from_numpy(series[None]))
    handle.remove()
    values = attention.value(tokens)[0].view(6, 8, 4).transpose(0, 1)
    expected = (torch.from_numpy(weights[0]) @ values).transpose(0, 1).reshape(6, 32)
    torch.testing.assert_close(seen[0][0], expected, rtol=1e-4, atol=1e-5)


def test_attention_is_shared_out_over_time() -> None:
    series = np.zeros((1, 24), np.float32)
    attended = attention_table(build("T1", channels=1, classes=2), series)
    np.testing.assert_allclose(attended.groupby("layer").share.sum(), 1, rtol=1e-5)
    assert (attended.start.min(), attended.end.max(), len(attended)) == (0, 24, 8 * 3)
    above, below, _ = figures.attention_over_time(series, attended).axes
    assert above.get_ylabel() and below.get_xlabel() == "time step"


def test_views_say_what_there_is() -> None:
    shown = CompressedModel(build("T1", channels=4, classes=9), 151)._repr_html_()
    assert "180,041" in shown and "1 to 8" in shown and "8 time steps a token" in shown
    shown = Recipe.parse("prune(l1, 0.5) > int8(static)")._repr_html_()
    assert "prune(l1, 0.5) &gt; int8(static)" in shown and "Remove L1 50 %" in shown and "int8 static" in shown
