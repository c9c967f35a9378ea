"""How each named model is trained unless somebody says otherwise."""

from __future__ import annotations

from tsc_lib.training.settings import TrainSpec

OWN: dict[str, TrainSpec] = {}
"""Settings of the architectures that are not trained as the study trained, by name."""


def find_train_spec(model: object) -> TrainSpec:
    """The training of a model of `tsc_lib.models.zoo` by its name, whatever sizes follow it; by default the study's.

    Examples
    --------
    >>> find_train_spec("T1") == TrainSpec()
    True
    """
    return OWN.get(model.partition("(")[0].strip(), TrainSpec()) if isinstance(model, str) else TrainSpec()
