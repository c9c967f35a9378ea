"""What a window of work cost, and the rule that sources are never mixed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tsc_lib.core.errors import UserError
from tsc_lib.energy.source import Device, SourceKind


class Meaning(NamedTuple):
    """What energies of a class are, and in sentences what they show and what they cannot."""

    origin: str
    limits: str


MEANING: Mapping[str, Meaning] = {
    "measured": Meaning(
        "counted by the processor itself",
        "It is everything that package and memory drew, idle power and neighbours included, and cannot tell one "
        "program from another that runs beside it.",
    ),
    "estimated": Meaning(
        "CPU time times stated watts per core, so a saving in it is a saving in CPU time",
        "It sees all that keeps a core busy, runtime and data movement included; it cannot see whether int8 arithmetic "
        "draws less power than fp32, nor memory, idle power and clock frequency, so joules cannot "
        "be told from it.",
    ),
    "modelled": Meaning(
        "multiplications and moved bytes times the picojoules of one published technology",
        "It sees number format and structure alone; it cannot see runtime, instructions around the arithmetic, "
        "batching beyond the reuse of weights, clock or idle power. Zeros of a mask are multiplied like other numbers.",
    ),
}
"""What each class of source means for its numbers."""

IDLE_DRIFT = 0.1
"""Share by which idle power may change over a session before its readings warn of it."""


class SourceMismatchError(UserError):
    """Energies of different sources were about to be compared, averaged or drawn together."""


@dataclass(frozen=True)
class Reading:
    """Energy of one measured window, with everything that is needed to judge it.

    Attributes
    ----------
    label : str
        What was measured.
    joules, joules_low, joules_high : float
        Gross energy and its bounds, NaN if the window is invalid; the bounds are the source's uncertainty, not the
        spread of repeats.
    seconds : float
        Wall time.
    cpu_seconds : float
        CPU time of all threads of this process.
    source : {"measured", "estimated", "modelled"}
        The class of the source.
    backend : str
        The source itself, e.g. ``"powercap"``.
    device : {"cpu", "gpu"}
        What drew the energy.
    inferences : int
        Number of inferences in the window.
    domains : mapping
        Joules by domain, e.g. ``package-0`` and ``package-0/dram``, which add up to `joules`; empty where the source
        has no parts.
    idle_watts : float or None
        Power of the idle machine, if it was measured with the same source.
    parameters : mapping
        The source's constants, e.g. watts per core.
    warnings : tuple of str
        What may be doubted about this window.
    invalid : str or None
        Why there is no energy; None if there is.
    passed_over : mapping
        Better sources that were tried and could not be used, each with its reason.
    """

    label: str
    joules: float
    joules_low: float
    joules_high: float
    seconds: float
    cpu_seconds: float
    source: SourceKind
    backend: str
    device: Device = "cpu"
    inferences: int = 1
    domains: Mapping[str, float] = field(default_factory=dict)
    idle_watts: float | None = None
    parameters: Mapping[str, object] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    invalid: str | None = None
    passed_over: Mapping[str, str] = field(default_factory=dict)

    @property
    def valid(self) -> bool:
        """Whether there is an energy."""
        return self.invalid is None

    @property
    def joules_net(self) -> float | None:
        """Energy above that of the idle machine over the same time; None if idle power was not measured."""
        return None if self.idle_watts is None else self.joules - self.idle_watts * self.seconds

    @property
    def watts(self) -> float:
        """Mean power over the window's wall time."""
        return self.joules / self.seconds if self.seconds else 0.0

    @property
    def joules_per_inference(self) -> float:
        """Gross energy of one inference in joules."""
        return self.joules / self.inferences

    def above_idle(self, idle: Reading) -> Reading:
        """This reading with the power of the idle machine, or a warning if that is unknown.

        Raises
        ------
        SourceMismatchError
            If the idle power is another source's.
        """
        require_same_source([self, idle])
        if not idle.valid:
            return dataclasses.replace(self, warnings=(*self.warnings, f"idle power is unknown: {idle.invalid}"))
        return dataclasses.replace(self, idle_watts=idle.watts)

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values, from which `from_json` makes an equal reading; JSON has no NaN."""
        values = dataclasses.asdict(self) | {"warnings": list(self.warnings)}
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Reading:
        """The reading that `to_json` wrote."""
        joules = {k: math.nan if values[k] is None else values[k] for k in ("joules", "joules_low", "joules_high")}
        return cls(**{**values, **joules, "warnings": tuple(values["warnings"])})


def describe_idle_drift(watts: Sequence[float]) -> str:
    """A warning if idle power, measured once or several times, did not stay as it was; else empty."""
    if not watts or max(watts) - min(watts) <= IDLE_DRIFT * sum(watts) / len(watts):
        return ""
    return f"idle power drifted from {watts[0]:.1f} W to {watts[-1]:.1f} W"


def require_same_source(energies: Iterable[Reading | str | None]) -> str | None:
    """The one source that all of these come from.

    Parameters
    ----------
    energies : iterable of Reading, or of str
        Readings, or the column of a table that names sources. Missing values (None, NaN) are those of failed runs and
        are left out. Readings must agree in class, backend and parameters: 5 W a core and 2 W a core are two sources.

    Returns
    -------
    str or None
        The source's name, None if nothing was given.

    Raises
    ------
    SourceMismatchError
        If there are two or more.
    """
    sources: dict[str, str] = {}  # identity -> name
    for energy in energies:
        if isinstance(energy, Reading):
            name = f"{energy.source} ({energy.backend})"
            sources[f"{name} {sorted(energy.parameters.items())}"] = name
        elif isinstance(energy, str):
            sources[energy] = energy
    if len(sources) > 1:
        raise SourceMismatchError(
            f"energies of different sources cannot be compared: {', '.join(sources)}; keep one source per comparison"
        )
    return next(iter(sources.values()), None)
