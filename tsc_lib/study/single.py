"""The study of one variant of one model, as the command line and a search's pick need it."""

from __future__ import annotations

from collections.abc import Mapping

from tsc_lib.benchmark import BenchmarkSettings
from tsc_lib.compress import Variant
from tsc_lib.study.profiles import Profile
from tsc_lib.study.sections import DataChoice
from tsc_lib.study.study import Study


def study_variant(
    choice: DataChoice,
    model: str,
    seed: int,
    train: Mapping[str, object],
    variant: Variant,
    benchmark: BenchmarkSettings,
) -> Study:
    """A study of a variant beside the uncompressed model.

    Parameters
    ----------
    choice : DataChoice
        The data set.
    model : str
        The architecture that is trained.
    seed : int
        Of its training.
    train : mapping
        Settings of the training that are not the model's own.
    variant : Variant
        What is made of the trained model.
    benchmark : BenchmarkSettings
        How both are measured.

    Raises
    ------
    UserError
        As `Study`.
    """
    profile = Profile(
        name="run",
        datasets=(choice,),
        models=(model,),
        seeds=(seed,),
        train=dict(train),
        variants={str(variant.recipe): (variant.runtime,)},
        benchmark=benchmark,
    )
    return Study(profile)
