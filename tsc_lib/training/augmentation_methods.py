"""Methods of augmentation: other series of the same class, made of a whole batch at once. Each method is a class here.

References
----------
.. [1] Um et al., "Data Augmentation of Wearable Sensor Data for Parkinson's Disease Monitoring using Convolutional
   Neural Networks", ICMI 2017 (scaling, noise, time warping).
.. [2] Le Guennec et al., "Data Augmentation for Time Series Classification using Convolutional Neural Networks", 2016
   (windows).
.. [3] DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout", 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from tsc_lib.core.calls import write_call
from tsc_lib.core.limits import Limits, check_fields

LEAST = 32
"""Time steps that a crop leaves at least, where a series has as many."""

AUGMENTATIONS: dict[str, type[Augmentation]] = {}
"""Every method by the name that settings give it; subclasses of `Augmentation` enter themselves."""


class Augmentation:
    """Base of every method; subclasses are frozen dataclasses whose fields are its parameters.

    Attributes
    ----------
    name : str
        What settings call the method.
    summary : str
        What it does, in a few words that follow "it".
    limits : dict of str to pair
        The least and the most of parameters.
    needs_lengths : bool
        Whether series that all have one length stay as they are.

    Raises
    ------
    UserError
        If a parameter is no number within its limits.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    limits: ClassVar[Limits] = {}
    needs_lengths: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        AUGMENTATIONS[cls.name] = cls

    def __post_init__(self) -> None:
        check_fields(self, f"{self.name}, parameter", self.limits)

    def __str__(self) -> str:
        return write_call(self.name, self)

    def apply(self, x: Tensor, lengths: Tensor | None, rng: np.random.Generator) -> tuple[Tensor, Tensor | None]:
        """Other series in place of a batch.

        Parameters
        ----------
        x : Tensor
            float32 (n, channels, longest).
        lengths : Tensor or None
            Time steps of each, int64 (n,); None if all have one length. What is made of padding does not matter.
        rng : numpy.random.Generator
            All that is drawn is drawn from it.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Scale(Augmentation):
    """Multiply every channel of a series by a number near 1 [1]_.

    Attributes
    ----------
    sigma : float
        Standard deviation of the number's logarithm.
    """

    name: ClassVar[str] = "scale"
    summary: ClassVar[str] = "multiplies each channel by a number near 1, whose logarithm deviates by `sigma`"
    limits: ClassVar[Limits] = {"sigma": (1e-6, 3)}

    sigma: float = 0.1

    def apply(self, x: Tensor, lengths: Tensor | None, rng: np.random.Generator) -> tuple[Tensor, Tensor | None]:
        """See `Augmentation`."""
        return x * torch.exp(self.sigma * _normal(rng, *x.shape[:2], 1)), lengths


@dataclass(frozen=True)
class Noise(Augmentation):
    """Add white noise [1]_.

    Attributes
    ----------
    sigma : float
        Its standard deviation, as a multiple of that of the channel in each series: in some data sets a series is a
        millionth of another.
    """

    name: ClassVar[str] = "noise"
    summary: ClassVar[str] = "adds white noise, whose deviation is `sigma` times that of each channel of the series"
    limits: ClassVar[Limits] = {"sigma": (1e-6, 10)}

    sigma: float = 0.05

    def apply(self, x: Tensor, lengths: Tensor | None, rng: np.random.Generator) -> tuple[Tensor, Tensor | None]:
        """See `Augmentation`."""
        steps = torch.arange(x.shape[2])
        valid = torch.ones(len(steps)) if lengths is None else (steps < lengths[:, None]).float()[:, None]
        count = valid.sum(-1, keepdim=True)
        mean = (x * valid).sum(2, keepdim=True) / count
        deviation = (((x - mean) * valid).square().sum(2, keepdim=True) / count).sqrt()
        return x + self.sigma * deviation * _normal(rng, *x.shape), lengths


@dataclass(frozen=True)
class Warp(Augmentation):
    """Let time run faster in some stretches and slower in others, the same for all channels [1]_.

    Attributes
    ----------
    sigma : float
        Standard deviation of the logarithm of each stretch's speed.
    stretches : int
        Equal parts of a series that have a speed each.
    """

    name: ClassVar[str] = "warp"
    summary: ClassVar[str] = "lets time run at another speed in each of `stretches`, its logarithm deviates by `sigma`"
    limits: ClassVar[Limits] = {"sigma": (1e-6, 3), "stretches": (2, 100)}

    sigma: float = 0.2
    stretches: int = 4

    def apply(self, x: Tensor, lengths: Tensor | None, rng: np.random.Generator) -> tuple[Tensor, Tensor | None]:
        """See `Augmentation`."""
        last = _lengths(x, lengths).unsqueeze(1) - 1
        parts = torch.exp(self.sigma * _normal(rng, len(x), self.stretches)).cumsum(dim=1)
        knots = torch.cat([torch.zeros(len(x), 1), parts / parts[:, -1:]], dim=1).unsqueeze(1)
        passed = (torch.arange(x.shape[2]) / last.clamp(min=1)).clamp(max=1)
        return _read(x, _read(knots, passed * self.stretches).squeeze(1).clamp(max=1) * last), lengths


@dataclass(frozen=True)
class Shift(Augmentation):
    """Move a series in time; what leaves at one end comes in at the other.

    Attributes
    ----------
    share : float
        Of the length that it moves at most, in either direction.
    """

    name: ClassVar[str] = "shift"
    summary: ClassVar[str] = "moves the series around its ends by at most `share` of its length"
    limits: ClassVar[Limits] = {"share": (1e-6, 0.5)}

    share: float = 0.1

    def apply(self, x: Tensor, lengths: Tensor | None, rng: np.random.Generator) -> tuple[Tensor, Tensor | None]:
        """See `Augmentation`."""
        steps = _lengths(x, lengths).unsqueeze(1)
        moved = (_uniform(rng, len(x), 1, low=-self.share, high=self.share) * steps).round().long()
        return _take(x, (torch.arange(x.shape[2]) - moved) % steps), lengths


@dataclass(frozen=True)
class Crop(Augmentation):
    """Cut a window out of a series [2]_; where all have one length, it is stretched to that length.

    Series of several lengths keep their rate and become shorter, down to 32 time steps.

    Attributes
    ----------
    share : float
        Of the length that is left at least.
    """

    name: ClassVar[str] = "crop"
    summary: ClassVar[str] = (
        "cuts a window of at least `share` of the length, and stretches it where all series have one length"
    )
    limits: ClassVar[Limits] = {"share": (0.01, 0.999)}

    share: float = 0.8

    def apply(self, x: Tensor, lengths: Tensor | None, rng: np.random.Generator) -> tuple[Tensor, Tensor | None]:
        """See `Augmentation`."""
        steps = _lengths(x, lengths)
        left = (_uniform(rng, len(x), low=self.share, high=1.0) * steps).ceil().long()
        left = left.clamp(min=LEAST).minimum(steps)
        begin = (_uniform(rng, len(x)) * (steps - left + 1)).long().unsqueeze(1)
        place = torch.arange(x.shape[2])
        if lengths is None:
            return _read(x, begin + place * ((left - 1) / (x.shape[2] - 1 or 1)).unsqueeze(1)), None
        longest = int(left.max())
        return _take(x, (begin + place[:longest]).clamp(max=x.shape[2] - 1)), left


@dataclass(frozen=True)
class Window(Crop):
    """Cut a window out of a series [2]_ where lengths differ: there a recording may have begun and ended anywhere.

    Series that all have one length stay as they are. Of others a window has at least 32 time steps.

    Attributes
    ----------
    share : float
        Of the length that is left at least.
    """

    name: ClassVar[str] = "window"
    summary: ClassVar[str] = "cuts a window of at least `share` of the length, only where series have several lengths"
    needs_lengths: ClassVar[bool] = True

    share: float = 0.5

    def apply(self, x: Tensor, lengths: Tensor | None, rng: np.random.Generator) -> tuple[Tensor, Tensor | None]:
        """See `Augmentation`."""
        return (x, None) if lengths is None else super().apply(x, lengths, rng)


@dataclass(frozen=True)
class Cutout(Augmentation):
    """Set a stretch to zero in all channels [3]_.

    Attributes
    ----------
    share : float
        Of the length that it is at most.
    """

    name: ClassVar[str] = "cutout"
    summary: ClassVar[str] = "sets a stretch of at most `share` of the length to zero"
    limits: ClassVar[Limits] = {"share": (1e-6, 0.999)}

    share: float = 0.2

    def apply(self, x: Tensor, lengths: Tensor | None, rng: np.random.Generator) -> tuple[Tensor, Tensor | None]:
        """See `Augmentation`."""
        steps = _lengths(x, lengths).unsqueeze(1)
        width = _uniform(rng, len(x), 1, high=self.share) * steps
        begin = _uniform(rng, len(x), 1) * (steps - width)
        place = torch.arange(x.shape[2])
        return x.masked_fill(((place >= begin) & (place < begin + width)).unsqueeze(1), 0.0), lengths


def _lengths(x: Tensor, lengths: Tensor | None) -> Tensor:
    return torch.full((len(x),), x.shape[2]) if lengths is None else lengths


def _normal(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))


def _uniform(rng: np.random.Generator, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    return torch.from_numpy(rng.uniform(low, high, shape).astype(np.float32))


def _take(x: Tensor, index: Tensor) -> Tensor:
    """Time steps `index` (n, any) of series (n, channels, length), the same in all channels."""
    return x.gather(2, index.unsqueeze(1).expand(-1, x.shape[1], -1))


def _read(x: Tensor, places: Tensor) -> Tensor:
    """Series (n, channels, length) at `places` (n, any) between their time steps, by linear interpolation."""
    before = places.long().clamp(max=x.shape[2] - 1)
    after = (before + 1).clamp(max=x.shape[2] - 1)
    return torch.lerp(_take(x, before), _take(x, after), (places - before).unsqueeze(1))
