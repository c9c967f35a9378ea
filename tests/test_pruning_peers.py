"""The comparison with Torch-Pruning: it removes whole heads and neurons of the same network, as many as we do."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch

from tsc_lib.compress import TrainingContext, apply
from tsc_lib.data import Split
from tsc_lib.models.compressed import CompressedModel, count_macs
from tsc_lib.models.embedding import PatchEmbeddingConfig
from tsc_lib.models.transformer import LayerConfig, Transformer, TransformerConfig
from tsc_lib.training import TrainSpec

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "pruning_peers.py"


@pytest.fixture(scope="module")
def peers() -> ModuleType:
    pytest.importorskip("torch_pruning")
    spec = importlib.util.spec_from_file_location("pruning_peers", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def model() -> CompressedModel:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = TransformerConfig(2, 3, PatchEmbeddingConfig(8), 16, 4, (LayerConfig(4, 24),) * 2, 16)
    return CompressedModel(Transformer(config).eval(), reference_length=40)


@pytest.fixture(scope="module")
def context() -> TrainingContext:
    rng = np.random.default_rng(0)
    split = Split([rng.normal(size=(2, 40)).astype(np.float32) for _ in range(24)], rng.integers(0, 3, 24))
    return TrainingContext(split, split, True, TrainSpec(batch_size=8), seed=0)


@pytest.mark.parametrize("importance", ["l1", "l2", "taylor"])
def test_whole_heads_and_neurons_go_and_the_macs_are_ours(
    peers: ModuleType, model: CompressedModel, context: TrainingContext, importance: str
) -> None:
    ours = apply(model, "prune(l1, 0.5)", context).network
    slopes = peers.gradients(model.network, context)
    theirs = peers.torch_pruned(model.network, importance, 0.5, 40, slopes)
    assert theirs.config == ours.config and count_macs(theirs, 40) == count_macs(ours, 40)
    assert [layer.heads for layer in model.network.config.layers] == [4, 4]
    for before, after in zip(model.network.layers, theirs.layers, strict=True):
        rows = [
            kept(getattr(before.attention, n).weight, getattr(after.attention, n).weight) for n in ("query", "value")
        ]
        assert rows[0] == rows[1] == [4 * head + i for head in sorted({r // 4 for r in rows[0]}) for i in range(4)]
        columns = kept(before.attention.out.weight.T, after.attention.out.weight.T)
        assert columns == rows[0]
        neurons = kept(before.feed_forward.expand.weight, after.feed_forward.expand.weight)
        assert len(neurons) == 12
        assert neurons == kept(before.feed_forward.contract.weight.T, after.feed_forward.contract.weight.T)


def kept(before: torch.Tensor, after: torch.Tensor) -> list[int]:
    """Which rows of a weight are left."""
    return [int((before == row).all(1).nonzero().item()) for row in after]


def test_the_ratio_is_searched_until_the_macs_agree(peers: ModuleType, model: CompressedModel) -> None:
    slopes = [None for _ in model.network.parameters()]  # magnitudes need none
    wanted = count_macs(peers.torch_pruned(model.network, "l2", 0.25, 40, slopes), 40)
    asked: list[float] = []

    def prune(ratio: float) -> Transformer:
        asked.append(ratio)
        return peers.torch_pruned(model.network, "l2", ratio, 40, slopes)

    assert count_macs(peers.at_macs(prune, wanted, 0.6, 40), 40) == wanted
    assert asked[0] == 0.6 and 1 < len(asked) <= peers.ROUNDS


@pytest.mark.slow
def test_the_table_has_a_row_for_every_method_before_and_after(
    peers: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tsc_lib.core.store.OUTPUTS", tmp_path / "outputs")
    monkeypatch.setattr(peers, "TrainSpec", lambda: TrainSpec(epochs=1))
    output = tmp_path / "peers.csv"
    options = ["--dataset", "ItalyPowerDemand", "--seeds", "0", "--epochs", "1", "--series", "16", "--output"]
    assert peers.main([*options, str(output)]) == 0
    table = pd.read_csv(output)
    tuned = table[table.tuned_on > 0]
    assert len(table) == 1 + 2 * len(tuned) and set(tuned.tuned_on) == {16}
    assert tuned.groupby("package").method.agg(list).to_dict() == {
        "tsc_lib": list(peers.OURS),
        "torch-pruning": list(peers.THEIRS),
    }
    assert (table.macs[1:] == table.macs[1]).all() and table.macs[1] < table.macs[0]
    assert "Means over seeds" in capsys.readouterr().out
    assert peers.main([*options, str(tmp_path / "no" / "peers.csv")]) == 1
