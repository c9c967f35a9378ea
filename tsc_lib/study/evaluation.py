"""What evaluating a variant found: its predictions of the test set, its size, and what its runtime executes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from tsc_lib.compress import Variant
from tsc_lib.core.files import Json
from tsc_lib.core.html import view
from tsc_lib.core.stats import proportion_interval
from tsc_lib.models.compressed import CompressedModel, Evidence, ModelSize, count_macs_by_exit
from tsc_lib.models.number_format import NumberFormat
from tsc_lib.runtimes.conversion import Conversion


@dataclass(frozen=True)
class Exits:
    """Where the test series leave a model with early exits, and the MACs that takes for series of the reference length.

    Attributes
    ----------
    layers, thresholds, left, macs : list
        With an entry for each exit and one for the end: layers before it, its threshold (None for the end), the share
        of the series that leave there, and the MACs until there.
    macs_mean, macs_p95, macs_worst : float
        MACs over the test series.
    """

    layers: list[int]
    thresholds: list[float | None]
    left: list[float]
    macs: list[int]
    macs_mean: float
    macs_p95: int
    macs_worst: int

    @classmethod
    def count(cls, model: CompressedModel, left: np.ndarray) -> Self:
        """From how many series left at each exit, and last how many did not: int (exits + 1,)."""
        config, macs = model.network.config, count_macs_by_exit(model.network, model.reference_length)
        shares = left / left.sum()
        return cls(
            layers=list(config.stage_ends),
            thresholds=[*(each.threshold for each in config.exits), None],
            left=shares.tolist(),
            macs=macs,
            macs_mean=float(shares @ macs),
            macs_p95=macs[int((shares.cumsum() < 0.95 - 1e-9).sum())],
            macs_worst=max(count for count, share in zip(macs, shares, strict=True) if share),
        )


@dataclass(frozen=True)
class Evaluation:
    """A variant of a trained model, and how it classifies the test set.

    Attributes
    ----------
    variant : Variant
        What was evaluated.
    classes : tuple of str
        The labels.
    true, predicted : ndarray of int, shape (series,)
        Positions in `classes`, one for each test series.
    number_format : NumberFormat
        In which the model is executed.
    size : ModelSize
        Of its network; with early exits its MACs are their mean over the test series.
    conversion : Conversion
        What the runtime made of it.
    evidence : tuple of Evidence
        What every step of the recipe changed.
    exits : Exits or None
        Where series leave, of a model with early exits.
    folder : Path
        Where the files of the runtime are.
    """

    variant: Variant
    classes: tuple[str, ...]
    true: np.ndarray
    predicted: np.ndarray
    number_format: NumberFormat
    size: ModelSize
    conversion: Conversion
    evidence: tuple[Evidence, ...]
    exits: Exits | None
    folder: Path

    status: ClassVar[str] = "ok"

    @property
    def correct(self) -> np.ndarray:
        """Whether each test series is classified rightly, bool (series,)."""
        return np.asarray(self.predicted == self.true)

    def _repr_html_(self) -> str:
        accuracy, low, high = proportion_interval(int(self.correct.sum()), len(self.correct))
        rows = [
            ("accuracy on the test set", f"{accuracy:.3f} [{low:.3f}, {high:.3f}]"),
            ("test series", len(self.correct)),
            ("number format", self.number_format),
            ("parameters that are not zero", self.size.nonzero),
            ("multiply-accumulates for a series", self.size.macs),
            ("bytes of weights as executed", self.conversion.model_bytes),
            ("linear layers in int8, in fp32", f"{self.conversion.int8_ops}, {self.conversion.fp32_ops}"),
        ]
        return view(str(self.variant), rows, remark="The interval is Wilson's, of 95 %, over the test series.")

    def to_json(self) -> Json:
        """The record, without what its place in the store tells: variant and folder."""
        record = {
            "classes": self.classes,
            "true": self.true.tolist(),
            "predicted": self.predicted.tolist(),
            "number_format": self.number_format,
            "size": dataclasses.asdict(self.size),
            "conversion": self.conversion.to_json(),
            "evidence": [dataclasses.asdict(step) for step in self.evidence],
        }
        return record if self.exits is None else record | {"exits": dataclasses.asdict(self.exits)}

    @classmethod
    def from_json(cls, content: Json, variant: Variant, folder: Path) -> Self:
        """The evaluation that `to_json` described."""
        return cls(
            variant=variant,
            classes=tuple(content["classes"]),
            true=np.array(content["true"]),
            predicted=np.array(content["predicted"]),
            number_format=NumberFormat(content["number_format"]),
            size=ModelSize(**content["size"]),
            conversion=Conversion.from_json(content["conversion"]),
            evidence=tuple(Evidence(**step) for step in content["evidence"]),
            exits=Exits(**content["exits"]) if "exits" in content else None,
            folder=folder,
        )


@dataclass(frozen=True)
class Failure:
    """A variant that could not be evaluated.

    Attributes
    ----------
    variant : Variant
        Which one.
    status : str
        "failed: " and why.
    """

    variant: Variant
    status: str
