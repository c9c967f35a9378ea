"""Structured removal beside Torch-Pruning [1]_: the same weights, the same MACs, the same fine-tuning.

Torch-Pruning is used as its examples prune vision transformers: whole attention heads and feed-forward neurons in one
share, query, key and value of a head together, ranked in each layer by itself. The embedding width and the classifier
are left alone, as `prune` leaves them.

References
----------
.. [1] Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023; the package torch-pruning.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch_pruning as tp
from torch.nn import functional as F

from tsc_lib import data
from tsc_lib.compress import BASELINE, TrainingContext, apply
from tsc_lib.compress.importance import BATCH, OBSERVED
from tsc_lib.compress.surgery import rebuild
from tsc_lib.core.errors import UserError, run_command
from tsc_lib.core.files import write_text
from tsc_lib.data import batches
from tsc_lib.models.compressed import CompressedModel, count_macs
from tsc_lib.models.transformer import EncoderLayer, LayerConfig, Transformer
from tsc_lib.study import stages
from tsc_lib.study.specs import TrainingRun
from tsc_lib.training import TrainSpec, measure_accuracy

OURS = ("l1", "l2", "taylor", "activation")

THEIRS: dict[str, Callable[[], Any]] = {
    "l1": lambda: tp.importance.GroupMagnitudeImportance(p=1),
    "l2": lambda: tp.importance.GroupMagnitudeImportance(p=2),
    "taylor": lambda: tp.importance.GroupTaylorImportance(),
}

ROUNDS = 8
"""Ratios that are tried at most until Torch-Pruning's MACs are ours: it rounds shares otherwise."""


def gradients(network: Transformer, context: TrainingContext) -> list[torch.Tensor | None]:
    """The gradient of the mean loss for every parameter, on the sample that our own criteria look at."""
    network = copy.deepcopy(network)
    sample, _ = context.sample(OBSERVED)
    for batch in batches(sample, BATCH, equal_length=context.equal_length):
        lengths = None if batch.lengths is None else torch.from_numpy(batch.lengths)
        logits = network(torch.from_numpy(batch.x), lengths)
        (F.cross_entropy(logits, torch.from_numpy(sample.y[batch.index]), reduction="sum") / len(sample)).backward()
    return [parameter.grad for parameter in network.parameters()]


def torch_pruned(
    network: Transformer, importance: str, ratio: float, length: int, slopes: list[torch.Tensor | None]
) -> Transformer:
    """What Torch-Pruning leaves of a network.

    Parameters
    ----------
    network : Transformer
        Left alone.
    importance : str
        One of `THEIRS`.
    ratio : float
        Share of the heads and of the neurons to remove from every layer.
    length : int
        Time steps of the series that the network is traced with.
    slopes : list of Tensor
        `gradients`.
    """
    network = copy.deepcopy(network)
    for parameter, slope in zip(network.parameters(), slopes, strict=True):
        parameter.grad = None if slope is None else slope.clone()
    layers = [layer for layer in network.layers if isinstance(layer, EncoderLayer)]
    attentions = [layer.attention for layer in layers]
    embedding = [network.embedding.convolution, network.embedding.class_token, *(a.out for a in attentions)]
    embedding += [layer.feed_forward.contract for layer in layers]
    neurons = [layer.feed_forward.expand for layer in layers]
    pruner = tp.pruner.BasePruner(
        network,
        torch.zeros(2, network.config.channels, length),
        importance=THEIRS[importance](),
        pruning_ratio=ratio,
        head_pruning_ratio=ratio,
        num_heads={linear: a.heads for a in attentions for linear in (a.query, a.key, a.value)},
        prune_num_heads=True,
        prune_head_dims=False,
        unwrapped_parameters=[(network.embedding.class_token, 2)],
        ignored_layers=[*embedding, network.hidden, network.classify],
    )
    pruner.step()
    sizes = tuple(
        LayerConfig(pruner.num_heads[attention.query], linear.out_features)
        for attention, linear in zip(attentions, neurons, strict=True)
        if isinstance(linear, torch.nn.Linear)
    )
    return rebuild(dataclasses.replace(network.config, layers=sizes), network.state_dict())


def at_macs(prune: Callable[[float], Transformer], macs: int, ratio: float, length: int) -> Transformer:
    """The network that a function from ratio to network makes whose MACs are nearest to those wanted."""
    low, high = 0.0, 1.0
    tried: list[tuple[int, Transformer]] = []
    while len(tried) < ROUNDS and not (tried and tried[-1][0] == macs):
        network = prune(ratio)
        tried.append((count_macs(network, length), network))
        low, high = (ratio, high) if tried[-1][0] > macs else (low, ratio)
        ratio = (low + high) / 2
    return min(tried, key=lambda made: abs(made[0] - macs))[1]


def compare(run: TrainingRun, ratio: float, epochs: int, series: int | None) -> Iterator[dict[str, Any]]:
    """A row for the uncompressed model, and one for each method before and after fine-tuning."""
    dataset = data.load(run.data)
    _, whole = stages.compress_model(run, BASELINE)
    context = TrainingContext(dataset.train, dataset.valid, dataset.equal_length, run.train, run.seed)
    length, slopes = whole.reference_length, gradients(whole.network, context)
    tuning = context if series is None else dataclasses.replace(context, train=context.sample(series)[0])

    def row(package: str, method: str, model: CompressedModel) -> dict[str, Any]:
        found = {
            "dataset": dataset.name,
            "model": run.model,
            "seed": run.seed,
            "ratio": ratio,
            "package": package,
            "method": method,
            "macs": count_macs(model.network, length),
        }
        for name, split in (("valid", dataset.valid), ("test", dataset.test)):
            found[f"{name}_accuracy"] = measure_accuracy(model.network, split, dataset.equal_length)
        return found

    def rows(package: str, method: str, model: CompressedModel) -> Iterator[dict[str, Any]]:
        tuned = apply(model, f"finetune({epochs})", tuning)
        yield row(package, method, model) | {"tuned_on": 0}
        yield row(package, method, tuned) | {"tuned_on": len(tuning.train)}

    yield row("none", "uncompressed", whole) | {"tuned_on": 0}
    for criterion in OURS:
        model = apply(whole, f"prune({criterion}, {ratio})", context)
        macs = count_macs(model.network, length)  # the same for every criterion
        yield from rows("tsc_lib", criterion, model)
    for importance in THEIRS:
        prune = partial(torch_pruned, whole.network, importance, length=length, slopes=slopes)
        network = at_macs(prune, macs, ratio, length)
        model = dataclasses.replace(whole, network=network)
        yield from rows("torch-pruning", importance, model)


def _run(chosen: argparse.Namespace) -> None:
    if not chosen.output.resolve().parent.is_dir():
        raise UserError(f"cannot write {chosen.output}; name a file in a folder that exists")
    torch.set_num_threads(1)
    dataset = data.resolve(chosen.dataset, scaling=chosen.scaling)
    rows: list[dict[str, Any]] = []
    for seed in chosen.seeds:
        for ratio in chosen.ratios:
            run = TrainingRun(dataset, chosen.model, TrainSpec(), seed)
            for row in compare(run, ratio, chosen.epochs, chosen.series):
                rows.append(row)
                write_text(chosen.output, pd.DataFrame(rows).to_csv(index=False))
    table = pd.DataFrame(rows)
    print(table.to_string(index=False, float_format="{:.4f}".format))
    cases = table.groupby(["ratio", "package", "method", "tuned_on"], sort=False)
    means = cases[["macs", "valid_accuracy", "test_accuracy"]].mean()
    print(f"\nMeans over seeds\n{means.to_string(float_format='{:.4f}'.format)}")


def main(arguments: list[str] | None = None) -> int:
    """Compare, print the table and write it as CSV; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dataset", default="ElectricDevices", help="name or folder (default: ElectricDevices)")
    parser.add_argument("--scaling", default="channel", help="channel, series or none (default: channel)")
    parser.add_argument("--model", default="T1", help="T1 or T2 (default: T1)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the trainings (default: 0 1 2)")
    parser.add_argument("--ratios", type=float, nargs="+", default=[0.5], help="shares to remove (default: 0.5)")
    parser.add_argument("--epochs", type=int, default=4, help="of fine-tuning (default: 4)")
    parser.add_argument("--series", type=int, help="training series to fine-tune on (default: all)")
    parser.add_argument("--output", type=Path, default=Path("pruning_peers.csv"), help="CSV file to write")
    return run_command(_run, parser.parse_args(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
