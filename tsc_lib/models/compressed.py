"""A compressed model, the evidence of what was done to it, and how both are stored."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tsc_lib.core.files import write_bytes
from tsc_lib.core.html import view
from tsc_lib.data import Batch
from tsc_lib.models.early_exit import split_at_exits
from tsc_lib.models.number_format import NumberFormat
from tsc_lib.models.serialization import load_network, save_network
from tsc_lib.models.transformer import Transformer

Details = Mapping[str, Any]
"""What a step tells of itself in the evidence: JSON-able values."""


@dataclass(frozen=True)
class Evidence:
    """What one step changed.

    `params` counts parameters, `nonzero` those that are not zero, `macs` the multiply-accumulates for one series of
    the training data's median length, and `bytes` the size of the parameters in fp32.
    """

    step: str
    params_before: int
    params_after: int
    nonzero_before: int
    nonzero_after: int
    macs_before: int
    macs_after: int
    bytes_before: int
    bytes_after: int
    details: Details


OBSERVERS = ("native", "minmax", "percentile", "mse")


@dataclass(frozen=True)
class Quantization:
    """How a runtime is to quantize, where the number format leaves it open.

    Attributes
    ----------
    observer : {"native", "minmax", "percentile", "mse"}
        How the range of a layer's inputs is made of those that the calibration series give it: as the runtime does
        unasked; from the least to the largest; without as many of both ends; or with the least mean squared error.
    percentile : float
        Per cent of the inputs that lie within the range, half of the others on each side; of "percentile" alone.
    fp32_layers : tuple of str
        Linear layers of the `tsc_lib.runtimes.graph.InferenceTransformer` form that are left in fp32.
    group : int
        Weights that share a scale in int4.
    """

    observer: str = "native"
    percentile: float = 99.99
    fp32_layers: tuple[str, ...] = ()
    group: int = 32

    def __post_init__(self) -> None:
        object.__setattr__(self, "fp32_layers", tuple(self.fp32_layers))  # JSON gives a list back


@dataclass
class CompressedModel:
    """A network with the number format that it is to be executed in.

    Attributes
    ----------
    network : Transformer
        Weights in fp32, in the shape that the steps so far have left.
    reference_length : int
        Length of series, in time steps, that MACs are stated for: train's median.
    number_format : NumberFormat
        Format of the linear layers' weights and inputs at execution, or of their weights alone.
    calibration : Batch, optional
        Training series on which static int8 observes the range of every activation.
    quantization : Quantization
        What else the runtime is told of the format.
    evidence : list of Evidence
        One entry per step.
    trained : bool
        Whether the weights come from a training; a fresh student's do not.
    """

    network: Transformer
    reference_length: int
    number_format: NumberFormat = NumberFormat.FP32
    calibration: Batch | None = None
    quantization: Quantization = Quantization()
    evidence: list[Evidence] = field(default_factory=list)
    trained: bool = True

    def _repr_html_(self) -> str:
        rows = [(e.step, e.params_after, e.nonzero_after, e.macs_after, e.bytes_after) for e in self.evidence]
        start = dataclasses.astuple(measure_size(self))
        if self.evidence:
            first = self.evidence[0]
            start = first.params_before, first.nonzero_before, first.macs_before, first.bytes_before
        columns = ["", "parameters", "not zero", "multiply-adds a series", "bytes in fp32"]
        remark = f"to be executed in {self.number_format}; series of {self.reference_length} time steps"
        return self.network.config._repr_html_() + view("Its size", [("as trained", *start), *rows], columns, remark)


def count_macs(network: Transformer, length: int) -> int:
    """Multiply-accumulates for one series of `length` steps: matrix products, attention and convolution.

    Counted on the operators that run, by `torch.utils.flop_counter`, and therefore blind to zeros. With early exits
    they are those of a series that leaves at none.
    """
    return count_macs_by_exit(network, length)[-1]


def count_macs_by_exit(network: Transformer, length: int) -> list[int]:
    """The same for series that leave at each early exit, and last for those that do not."""
    state: tuple[torch.Tensor, ...] = (torch.zeros(1, network.config.channels, length),)
    found = []
    # The counter knows the products inside attention only when it is spelled out.
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        for stage in split_at_exits(network.eval(), network.config):
            _, *rest = stage(*state)
            state = tuple(rest)
            found.append(counter.get_total_flops() // 2)
    return found


@dataclass(frozen=True)
class ModelSize:
    """How large a model's network is.

    Attributes
    ----------
    params, nonzero : int
        Parameters, and those of them that are not zero.
    macs : int
        Multiply-accumulates for one series of the reference length.
    bytes : int
        Size of the parameters in fp32.
    """

    params: int
    nonzero: int
    macs: int
    bytes: int


def measure_size(model: CompressedModel) -> ModelSize:
    """Measure a model's network."""
    parameters = list(model.network.parameters())
    return ModelSize(
        params=sum(p.numel() for p in parameters),
        nonzero=sum(int(torch.count_nonzero(p)) for p in parameters),
        macs=count_macs(model.network, model.reference_length),
        bytes=sum(p.numel() * p.element_size() for p in parameters),
    )


def save_model(model: CompressedModel, folder: Path) -> None:
    """Write ``calibration.safetensors`` where there is one, ``model.safetensors``, and last ``model.json``."""
    if model.calibration is not None:
        batch = {"x": torch.from_numpy(model.calibration.x)}
        if model.calibration.lengths is not None:
            batch["lengths"] = torch.from_numpy(model.calibration.lengths)
        write_bytes(folder / "calibration.safetensors", save(batch))
    save_network(
        model.network,
        folder,
        reference_length=model.reference_length,
        number_format=model.number_format,
        quantization=dataclasses.asdict(model.quantization),
        trained=model.trained,
        evidence=[dataclasses.asdict(e) for e in model.evidence],
    )


def load_model(folder: Path) -> CompressedModel:
    """Rebuild the model that `save_model` wrote.

    Raises
    ------
    UserError
        If ``model.json`` is damaged.
    """
    network, facts = load_network(folder)
    calibration = None
    if (folder / "calibration.safetensors").exists():
        batch = load_file(folder / "calibration.safetensors")
        lengths = batch["lengths"].numpy() if "lengths" in batch else None
        calibration = Batch(batch["x"].numpy(), lengths, np.arange(len(batch["x"])))
    return CompressedModel(
        network=network,
        reference_length=facts["reference_length"],
        number_format=NumberFormat(facts["number_format"]),
        calibration=calibration,
        quantization=Quantization(**facts["quantization"]),
        evidence=[Evidence(**e) for e in facts["evidence"]],
        trained=facts["trained"],
    )
