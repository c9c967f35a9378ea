"""How each named model is trained unless somebody says otherwise."""

from __future__ import annotations

from tsc_lib.training.settings import TrainSpec

OWN: dict[str, TrainSpec] = {}
"""Settings of the models that are not trained as the study trained, by name."""


def find_train_spec(model: object) -> TrainSpec:
    """The training of a model of `tsc_lib.models.zoo` by its name; the study's, unless the model has its own.

    Examples
    --------
    >>> find_train_spec("T1") == TrainSpec()
    True
    """
    return OWN.get(model, TrainSpec()) if isinstance(model, str) else TrainSpec()
