"""What a window of work cost, and the rule that sources are never mixed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

from tsc_lib.errors import UserError

SourceClass = Literal["measured", "estimated", "modelled"]
"""A counter was read; CPU time was multiplied by stated watts; operations were multiplied by picojoules."""


class SourceMismatchError(UserError):
    """Energies of different sources were about to be compared, averaged or drawn together."""


class Energy(NamedTuple):
    """Energy of one window in joules, with the bounds that its source vouches for."""

    joules: float
    low: float
    high: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """Energy of one measured window, with everything that is needed to judge it.

    Attributes
    ----------
    label : str
        What was measured.
    joules, joules_low, joules_high : float
        Energy and its bounds; the bounds are the source's uncertainty, not the spread of repeats.
    seconds : float
        Wall time.
    cpu_seconds : float
        CPU time of all threads of this process.
    source : {"measured", "estimated", "modelled"}
        The class of the source.
    backend : str
        The source itself, e.g. ``"cputime"``.
    inferences : int
        Number of inferences in the window.
    parameters : mapping
        The source's constants, e.g. watts per core.
    warnings : tuple of str
        What may be doubted about this window.
    passed_over : mapping
        Better sources that were tried and could not be used, each with its reason.
    """

    label: str
    joules: float
    joules_low: float
    joules_high: float
    seconds: float
    cpu_seconds: float
    source: SourceClass
    backend: str
    inferences: int = 1
    parameters: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    passed_over: Mapping[str, str] = field(default_factory=dict)

    @property
    def watts(self) -> float:
        """Mean power over the window's wall time."""
        return self.joules / self.seconds if self.seconds else 0.0

    @property
    def joules_per_inference(self) -> float:
        """Energy of one inference in joules."""
        return self.joules / self.inferences

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values, from which `from_json` makes an equal reading."""
        return asdict(self) | {"warnings": list(self.warnings)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Reading:
        """The reading that `to_json` wrote."""
        return cls(**{**values, "warnings": tuple(values["warnings"])})


def same_source(energies: Iterable[Reading | str | None]) -> str | None:
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
