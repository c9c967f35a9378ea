"""Augmentation of a batch: methods one after the other, and mixtures of its series.

References
----------
.. [1] Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from tsc_lib.core.calls import parse_call
from tsc_lib.core.errors import UserError
from tsc_lib.core.limits import quote
from tsc_lib.training.augmentation_methods import AUGMENTATIONS, Augmentation
from tsc_lib.training.batch import TrainingBatch

EXAMPLE = "warp(0.2) > noise(0.05)"


class Augmentations(tuple[Augmentation, ...]):
    """Methods that are applied one after the other; settings write them like a recipe.

    Examples
    --------
    >>> str(Augmentations.parse("scale(sigma=0.1) > shift(0.2)"))
    'scale > shift(0.2)'
    """

    __slots__ = ()

    @classmethod
    def parse(cls, value: str | Iterable[Augmentation]) -> Augmentations:
        """The methods that a text describes, none if it is empty; or those that are given.

        Raises
        ------
        UserError
            If the text is not well formed, or names an unknown method or parameter.
        """
        if isinstance(value, str):
            where, parts = f"augment {quote(value)}", [part for part in value.split(">") if value.strip()]
            return cls(parse_call(part, AUGMENTATIONS, where, EXAMPLE) for part in parts)
        methods = tuple(value) if isinstance(value, Iterable) else (None,)
        if all(isinstance(each, Augmentation) for each in methods):
            return cls(methods)
        raise UserError(f"augment is text such as {EXAMPLE!r}, not {quote(value)}")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> object:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(cls.parse)

    def __str__(self) -> str:
        return " > ".join(map(str, self))

    def to_json(self) -> str:
        """The methods as specifications store them."""
        return str(self)


NO_AUGMENTATION = Augmentations()


def augment(batch: TrainingBatch, methods: Augmentations, rng: np.random.Generator) -> TrainingBatch:
    """A batch of other series of the same classes; padding stays padding."""
    x, lengths = batch.x, batch.lengths
    for method in methods:
        x, lengths = method.apply(x, lengths, rng)
    if lengths is not None:
        x = x * (torch.arange(x.shape[2]) < lengths.unsqueeze(1)).unsqueeze(1)
    return batch._replace(x=x, lengths=lengths)


def mix(batch: TrainingBatch, alpha: float, rng: np.random.Generator) -> TrainingBatch:
    """Mix every series of a batch with another [1]_: its share is drawn from Beta(alpha, alpha).

    A mixture is as long as the longer of its two series.
    """
    partner = torch.from_numpy(rng.permutation(len(batch.x)))
    share = torch.from_numpy(rng.beta(alpha, alpha, len(batch.x)).astype(np.float32))
    lengths = batch.lengths
    return TrainingBatch(
        torch.lerp(batch.x[partner], batch.x, share[:, None, None]),
        None if lengths is None else lengths.maximum(lengths[partner]),
        batch.index,
        batch.index[partner],
        share,
    )
