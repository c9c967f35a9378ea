"""How each named model is trained unless somebody says otherwise."""

from __future__ import annotations

from tsc_lib.training.augmentation import Augmentations
from tsc_lib.training.settings import TrainSpec

OWN = {
    # No epoch is chosen, so no training series has to be set aside for the choice.
    "ConvTransformer": TrainSpec(
        steps=3000,
        learning_rate=0.003,
        warmup_steps=50,
        optimizer="adamw",
        weight_decay=0.05,
        schedule="cosine",
        clip=1.0,
        average=0.99,
        filter_norm=True,
        augment=Augmentations.parse("window(0.5) > shift(0.1) > scale(0.1) > noise(0.03)"),
        keep="last",
        refit=True,
    )
}
"""Settings of the architectures that are not trained as the study trained, by name."""


def find_train_spec(model: object) -> TrainSpec:
    """The training of a model of `tsc_lib.models.zoo` by its name, whatever sizes follow it; by default the study's.

    Examples
    --------
    >>> find_train_spec("T1") == TrainSpec()
    True
    """
    return OWN.get(model.partition("(")[0].strip(), TrainSpec()) if isinstance(model, str) else TrainSpec()
