"""What a session found: its measurements, made from the child's raw windows or read from a record."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Self, TypedDict

import numpy as np

from tsc_lib.benchmark.host import Host
from tsc_lib.benchmark.settings import CONTROL, PEAK, BenchmarkSettings
from tsc_lib.core.files import Json
from tsc_lib.core.stats import Interval, ratio_interval
from tsc_lib.energy import describe_idle_drift

if TYPE_CHECKING:  # the measuring process must not load PyTorch for it
    from tsc_lib.compress import Variant

CPU = ("cpu_ms_per_sample", "cpu_ratio", "cpu_ratio_low", "cpu_ratio_high")
CONTROLS = ("aa_ratio", "aa_ratio_low", "aa_ratio_high")
LATENCIES = ("latency_p50_ms", "latency_p95_ms")
ENERGIES = (
    *["energy_mj_per_sample", "energy_low_mj_per_sample", "energy_high_mj_per_sample", "energy_net_mj_per_sample"],
    *["energy_ratio", "energy_ratio_low", "energy_ratio_high", "energy_windows"],
)
NUMBERS = (*CPU, *LATENCIES, *ENERGIES)
"""What a candidate has that was measured; None of one that failed."""


class RawCandidate(TypedDict):
    """What the child tells of a candidate at one batch size."""

    name: str
    failure: str | None
    sweeps: int
    windows: dict[str, list[float | None]]
    invalid: list[str]
    latency_ms: list[float]


class RawBatch(TypedDict):
    """What the child tells of a batch size: the reference first, its control second."""

    batch_size: int
    series: int
    blocks: int
    runners: list[RawCandidate]


class RawSession(TypedDict):
    """What the child tells at the end."""

    host: Json
    energy: Json
    batches: list[RawBatch]


class Role(StrEnum):
    """What a session measures something for."""

    REFERENCE = "reference"
    CONTROL = "control"
    PEAK = "peak"
    CANDIDATE = "candidate"


@dataclass(frozen=True)
class Measurement:
    """One candidate of a session at one batch size. Its numbers are None if it failed.

    Attributes
    ----------
    name : str
        The candidate's name in the session.
    role : Role
        Reference, its second copy (the control), the peak of the processor, or a candidate.
    batch_size : int
        Series in a call.
    status : str
        "ok", or "failed: " and why.
    cpu_ms_per_sample : float
        CPU time of one series, in ms: median over windows.
    cpu_ratio, cpu_ratio_low, cpu_ratio_high : float
        CPU time ÷ the reference's, with the ends of its interval; see `tsc_lib.core.stats.ratio_interval`.
    latency_p50_ms, latency_p95_ms : float
        Wall time of single calls.
    energy_mj_per_sample, energy_low_mj_per_sample, energy_high_mj_per_sample : float
        Energy of one series, in mJ, and the bounds of its source: medians over windows. None if the source vouched
        for fewer than half of the windows.
    energy_net_mj_per_sample : float
        The same above the idle machine; None unless a counter told the idle power.
    energy_ratio, energy_ratio_low, energy_ratio_high : float
        Energy ÷ the reference's, paired as the CPU time.
    energy_windows : int
        How many windows the source vouched for.
    energy_source, energy_backend : str
        How the energy was found, e.g. "estimated" by "cputime".
    energy_warning : str
        Why some windows were invalid, or that the idle power drifted; empty if nothing is to be said.
    aa_ratio, aa_ratio_low, aa_ratio_high : float
        The control's ratio at this batch size.
    block_ratios : list of float
        CPU time ÷ the reference's in every block.
    windows : dict of str to list
        Raw values of every window: ``cpu_s``, ``wall_s``, ``joules`` with its bounds, and ``position`` in the block.
    latency_ms : list of float
        Wall time of every call.
    blocks, sweeps, series_per_sweep : int
        Blocks that were measured, sweeps over the sample in a window, and series in a sweep.
    variant : Variant, optional
        What was measured, where it is a variant of a model.
    """

    name: str
    role: Role
    batch_size: int
    status: str
    energy_source: str
    energy_backend: str
    energy_warning: str
    windows: dict[str, list[float | None]]
    latency_ms: list[float]
    blocks: int
    sweeps: int
    series_per_sweep: int
    cpu_ms_per_sample: float | None = None
    cpu_ratio: float | None = None
    cpu_ratio_low: float | None = None
    cpu_ratio_high: float | None = None
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None
    energy_mj_per_sample: float | None = None
    energy_low_mj_per_sample: float | None = None
    energy_high_mj_per_sample: float | None = None
    energy_net_mj_per_sample: float | None = None
    energy_ratio: float | None = None
    energy_ratio_low: float | None = None
    energy_ratio_high: float | None = None
    energy_windows: int | None = None
    aa_ratio: float | None = None
    aa_ratio_low: float | None = None
    aa_ratio_high: float | None = None
    block_ratios: list[float] = field(default_factory=list)
    variant: Variant | None = None

    @property
    def ok(self) -> bool:
        """Whether it was measured."""
        return self.status == "ok"

    def per_sweep(self, key: str) -> np.ndarray:
        """What one run through the sample cost in each block, e.g. ``cpu_s``: the mean of its windows, NaN if one has
        none. The reference and its control have several windows in a block, all others one."""
        windows = np.array(self.windows[key], dtype=float).reshape(self.blocks, -1)  # None becomes NaN
        return np.asarray(windows.mean(axis=1)) / self.sweeps

    def cpu_ratio_to(self, other: Measurement) -> Interval:
        """CPU time ÷ that of another measurement of the same session and batch size, paired by block."""
        return ratio_interval(self.per_sweep("cpu_s"), other.per_sweep("cpu_s"))

    def to_json(self) -> Json:
        """The measurement as plain values, without its variant: the name tells it."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "variant"}


@dataclass(frozen=True)
class Session:
    """Everything that one session measured.

    Attributes
    ----------
    host : Host
        The machine.
    settings : BenchmarkSettings
        How it was measured.
    energy : dict
        Source, backend and parameters of the energies, the sources that were passed over, and ``idle_watts``.
    reference : str
        Name of the reference.
    measurements : tuple of Measurement
        One for each batch size and candidate.
    """

    host: Host
    settings: BenchmarkSettings
    energy: Json
    reference: str
    measurements: tuple[Measurement, ...]

    def of(self, what: Variant | Role, batch_size: int) -> Measurement | None:
        """The measurement of a variant, or of the candidate with a role, at a batch size; None if there is none."""
        return next((m for m in self.measurements if what in (m.variant, m.role) and m.batch_size == batch_size), None)

    @property
    def control_width(self) -> float:
        """Half of the widest interval of the control's ratio, over the batch sizes; infinite without one."""
        ends = [(m.aa_ratio_low, m.aa_ratio_high) for m in self.measurements if m.role is Role.CONTROL]
        widths = [np.inf if low is None or high is None else (high - low) / 2 for low, high in ends]
        return float(np.nan_to_num(max(widths, default=np.inf), nan=np.inf))

    def to_json(self) -> Json:
        """The session as plain values."""
        return {
            "host": dataclasses.asdict(self.host),
            "settings": self.settings.to_json(),
            "energy": self.energy,
            "reference": self.reference,
            "results": [measurement.to_json() for measurement in self.measurements],
        }

    @classmethod
    def from_json(cls, content: Json, variants: Mapping[str, Variant] | None = None) -> Self:
        """The session that `to_json` described; `variants` are those of its candidates that are some, by name."""
        known = variants or {}
        rows = [{**row, "role": Role.PEAK if row["name"] == PEAK else Role(row["role"])} for row in content["results"]]
        return cls(
            host=Host(**content["host"]),
            settings=BenchmarkSettings.from_json(content["settings"]),
            energy=content["energy"],
            reference=content["reference"],
            measurements=tuple(
                Measurement(**row, variant=None if row["role"] == Role.CONTROL else known.get(row["name"]))
                for row in rows
            ),
        )


def summarise(raw: RawSession) -> tuple[Measurement, ...]:
    """The measurements, batch size by batch size, from the result that the child tells."""
    sources = (raw["energy"]["source"], raw["energy"]["backend"])
    idle = [watts for watts in raw["energy"]["idle_watts"] if watts is not None]
    return tuple(m for batch in raw["batches"] for m in _summarise_batch(batch, sources, idle))


def _summarise_batch(batch: RawBatch, sources: tuple[str, str], idle_watts: list[float]) -> list[Measurement]:
    """Those of one batch size; the child lists the reference first and the control second."""
    found: list[Measurement] = []
    for number, runner in enumerate(batch["runners"]):
        role = Role.REFERENCE if not number else {CONTROL: Role.CONTROL, PEAK: Role.PEAK}.get(runner["name"])
        plain = Measurement(
            name=runner["name"],
            role=role or Role.CANDIDATE,
            batch_size=batch["batch_size"],
            status="ok" if runner["failure"] is None else f"failed: {runner['failure']}",
            energy_source=sources[0],
            energy_backend=sources[1],
            energy_warning=_warning(runner["invalid"], idle_watts),
            windows=runner["windows"],
            latency_ms=runner["latency_ms"],
            sweeps=runner["sweeps"],
            blocks=batch["blocks"],
            series_per_sweep=batch["series"],
        )
        reference = found[0] if found else plain
        found.append(_with_numbers(plain, reference, idle_watts) if plain.ok else plain)
    control = {f"aa_ratio{end}": getattr(found[1], f"cpu_ratio{end}") for end in ("", "_low", "_high")}
    return [dataclasses.replace(measurement, **control) for measurement in found]


def _with_numbers(measured: Measurement, reference: Measurement, idle_watts: list[float]) -> Measurement:
    """A measurement with its numbers, from its windows and the reference's."""
    samples = measured.series_per_sweep * measured.sweeps
    windows = {key: np.array(values, dtype=float) for key, values in measured.windows.items()}
    joules, reference_joules = measured.per_sweep("joules"), reference.per_sweep("joules")
    valid = np.isfinite(windows["joules"])
    paired = np.isfinite(joules) & np.isfinite(reference_joules)
    enough = 2 * valid.sum() >= len(valid) and 2 * paired.sum() >= len(paired)
    p50, p95 = np.percentile(measured.latency_ms, [50, 95])

    def per_sample(values: np.ndarray) -> float:
        """Median over windows, in thousandths: one disturbed window must not move it."""
        return float(1000 * np.median(values) / samples)

    def energy(key: str) -> float | None:
        return per_sample(windows[key][valid]) if enough else None

    idle = np.mean(idle_watts) * windows["wall_s"] if idle_watts else None
    values = (
        per_sample(windows["cpu_s"]),
        *measured.cpu_ratio_to(reference),
        float(p50),
        float(p95),
        energy("joules"),
        energy("joules_low"),
        energy("joules_high"),
        per_sample((windows["joules"] - idle)[valid]) if enough and idle is not None else None,
        *(ratio_interval(joules[paired], reference_joules[paired]) if enough else (None, None, None)),
        int(valid.sum()),
    )
    ratios = (measured.per_sweep("cpu_s") / reference.per_sweep("cpu_s")).tolist()
    return dataclasses.replace(measured, **dict(zip(NUMBERS, values, strict=True)), block_ratios=ratios)


def _warning(invalid: list[str], idle_watts: list[float]) -> str:
    """What a reader must know of a candidate's energy; empty if nothing."""
    missing = f"{len(invalid)} windows without energy, the last because {invalid[-1]}" if invalid else ""
    return "; ".join(filter(None, [missing, describe_idle_drift(idle_watts)]))
