"""Exported models with random weights, for tests of what executes them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from tsc_lib import runtimes
from tsc_lib.export import bundle
from tsc_lib.export.bundle import Bundle
from tsc_lib.models.compressed import CompressedModel
from tsc_lib.models.embedding import PatchEmbeddingConfig
from tsc_lib.models.transformer import LayerConfig, Transformer, TransformerConfig
from tsc_lib.runtimes import convert
from tsc_lib.series.scaling import Scaler

LABELS = ("day", 'so-called "night"', "3")


def network_of(channels: int) -> Transformer:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = TransformerConfig(channels, len(LABELS), PatchEmbeddingConfig(8), 16, 4, (LayerConfig(3, 24),), 32)
    return Transformer(config).eval()


def make(
    folder: Path, runtime: str, channels: int = 1, length: int | None = 24, model: CompressedModel | None = None
) -> None:
    """Write an exported model for series of one length, or of any if `length` is None."""
    model = model or CompressedModel(network_of(channels), length or 40)
    network = model.network
    prepared = folder.with_name(f"{folder.name}-prepared")
    prepared.mkdir(parents=True)
    folder.mkdir()
    convert.convert(model, runtime, prepared, equal_length=length is not None)
    for name in runtimes.files(runtime):
        shutil.copy(prepared / name, folder / name)
    shortest, longest = (length, length) if length else network.config.embedding.length_limits
    described = Bundle(
        dataset="Toy", model="T0", recipe="baseline", seed=0, runtime=runtime, number_format=model.number_format,
        channels=channels, labels=LABELS, patch=8, shortest=shortest, longest=longest,
        equal_length=length is not None, scaling=Scaler("none"), gaps="refuse", threads=1,
        versions={name: version(name) for name in ("numpy", *runtimes.packages(runtime))},
    )  # fmt: skip
    bundle.write(folder, described, "# Toy\n")


def logits_alone(channels: int, series: list[np.ndarray]) -> np.ndarray:
    """What eager says of every series by itself, unpadded."""
    network = network_of(channels)
    with torch.inference_mode():
        return np.stack([network(torch.from_numpy(one[None].astype(np.float32)))[0].numpy() for one in series])


def rewrite(folder: Path, name: str, change: Callable[[dict], object]) -> None:
    """Change a JSON file of an exported model, and its checksum with it."""
    content = json.loads((folder / name).read_text())
    old = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    change(content)
    (folder / name).write_text(json.dumps(content))
    new = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    sums = folder / bundle.SUMS
    sums.write_text(sums.read_text().replace(old, new))


def describe_again(folder: Path, **changes: object) -> None:
    """Change the description of an exported model, and its checksum with it."""
    rewrite(folder, bundle.DESCRIPTION, lambda content: content.update(changes))
