"""Export: a variant of a study as a folder that runs elsewhere, with its model card."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import numpy as np

from tsc_lib import data, runtimes
from tsc_lib.analysis.rows import select_variant
from tsc_lib.compress import BASELINE, REFERENCE, Variant
from tsc_lib.core.errors import UserError, shorten
from tsc_lib.core.files import read_json, replace_folder, write_bytes
from tsc_lib.core.progress import track
from tsc_lib.core.store import StageFailed
from tsc_lib.data import Dataset
from tsc_lib.export import bundle, c_source
from tsc_lib.export.bundle import Bundle
from tsc_lib.export.card import model_card
from tsc_lib.models.number_format import NumberFormat
from tsc_lib.models.transformer import TransformerConfig
from tsc_lib.runtimes.conversion import Conversion
from tsc_lib.runtimes.predictor import ModelDescription
from tsc_lib.study import Study, stages
from tsc_lib.study.specs import TrainingRun

STAGES = ("training", "compressing", "converting", "measuring", "writing")
"""Of an export; what is in the store is over at once."""


def export(
    study: Study, run: TrainingRun, variant: Variant, target: Path, *, this_processor_only: bool = False
) -> Bundle:
    """Write a variant to a folder, whole or not at all; an earlier export there is replaced.

    Parameters
    ----------
    study : Study
        Makes and measures the variant, or loads what was made and measured before.
    run : TrainingRun
        One of the study's trained models.
    variant : Variant
        One of the study's variants.
    target : Path
        The folder.
    this_processor_only : bool
        See `check_processor`.

    Returns
    -------
    Bundle
        What the folder says of the model.

    Raises
    ------
    UserError
        If the variant failed or needs another `this_processor_only`, the folder holds anything that no export wrote, or
        it cannot be written.
    """
    check_processor(variant.runtime, this_processor_only)
    check_target(target)
    with track(run.label, STAGES) as begin:
        begin("training")
        with suppress(StageFailed):  # what failed is a row of the results, which has the reason
            stages.train(run)
            begin("compressing")
            stages.compress_model(run, variant.recipe)
        begin("converting")
        study.working(run, study.variants_of(run))
        begin("measuring")
        rows = study.run_results(run)
        chosen = select_variant(rows, variant)
        for status in sorted(set(chosen.status) - {"ok"}):
            raise UserError(f"{variant} cannot be exported, because it {status}")
        begin("writing")
        evaluation, dataset = stages.evaluate(run, variant), data.load(run.data)
        source, threads = evaluation.folder, int(chosen.threads.iloc[0])
        described = describe(run, variant, source, dataset, evaluation.conversion, threads)
        reference = select_variant(rows, REFERENCE)
        _, whole = stages.compress_model(run, BASELINE)
        card = model_card(described, run, dataset, whole.network.config, evaluation, chosen, reference, study.host(run))
        write(target, source, described, card, dataset.test.x)
        return described


def describe(
    run: TrainingRun, variant: Variant, source: Path, dataset: Dataset, conversion: Conversion, threads: int
) -> Bundle:
    """What an exported folder says of the model that was converted into the folder `source`."""
    facts = read_json(source / "model.json")
    embedding = TransformerConfig.from_json(facts["config"]).embedding
    shortest, longest = embedding.length_limits
    longest = conversion.longest or longest
    if dataset.equal_length:
        shortest = longest = facts["reference_length"]
    packages = ("tsc_lib", "numpy", *runtimes.packages(variant.runtime))
    return Bundle(
        dataset=run.data.name,
        model=run.model,
        recipe=str(variant.recipe),
        seed=run.seed,
        runtime=variant.runtime,
        number_format=NumberFormat(facts["number_format"]),
        channels=dataset.channels,
        labels=dataset.classes,
        patch=embedding.patch,
        shortest=shortest,
        longest=longest,
        equal_length=dataset.equal_length,
        scaling=dataset.scaler,
        gaps=run.data.gaps,
        threads=threads,
        instructions=tuple((conversion.instructions or "").split()),
        versions={name: version(name) for name in packages},
    )


def check_processor(runtime: str, this_processor_only: bool) -> None:
    """Refuse native code that was not asked for, or that was but is not made.

    Parameters
    ----------
    runtime : str
        What executes the model.
    this_processor_only : bool
        Whether the model need not run on processors unlike this one.

    Raises
    ------
    UserError
    """
    native = runtime in runtimes.NATIVE
    if native and not this_processor_only:
        raise UserError(
            f"{runtime} compiles a model for processors like this one alone; ask for that with --this-processor-only "
            "(in Python: this_processor_only=True), or export for another runtime, whose models run everywhere"
        )
    if this_processor_only and not native:
        raise UserError(
            f"a model for {runtime} runs on every processor; leave --this-processor-only out, or export for "
            f"{' or '.join(runtimes.NATIVE)}"
        )


def check_target(target: Path) -> None:
    """Refuse a folder that could not be made, or that holds what no export wrote.

    Raises
    ------
    UserError
    """
    try:
        _check_target(target)
    except (OSError, RuntimeError) as error:  # links in a circle are a RuntimeError
        raise UserError(f"{target} cannot be made ({shorten(error)}); name another folder") from None


def _check_target(target: Path) -> None:
    if not target.resolve().name:
        raise UserError(f"{target} is the root of all folders; name a folder to export to")
    if target.resolve() == Path.cwd():
        raise UserError(f"{target} is the folder that you are in, which an export would replace; name another folder")
    with suppress(FileNotFoundError, NotADirectoryError):
        target.lstat()  # fails if there cannot be such a name
    above = next(folder for folder in target.resolve().parents if os.path.lexists(folder))
    if not (os.access(above, os.W_OK | os.X_OK) and above.is_dir()):
        raise UserError(f"{target} cannot be made, because {above} is no folder to write to; name another folder")
    if target.exists() and not target.is_dir():
        raise UserError(f"{target} is a file; name a folder to export to")
    strangers = bundle.foreign_files(target) if target.is_dir() else []
    if strangers:
        raise UserError(
            f"{target} holds {strangers[0]}, which no export wrote; name another folder, or move that file away"
        )


def write(target: Path, source: Path, described: Bundle, card: str, series: Sequence[np.ndarray] | None = None) -> None:
    """Write a bundle from the folder that the model was converted into; an earlier export is replaced.

    A program in C gets a test with some of the scaled `series`, or with made-up ones.

    Raises
    ------
    UserError
        If the folder holds anything that no export wrote, or cannot be written.
    """
    try:
        _write(target.resolve(), source, described, card, series)
    except OSError as error:
        raise UserError(
            f"{target} cannot be written ({shorten(error)}); mend that or name another folder, and export again: what "
            "was made and measured is kept"
        ) from None


def _write(target: Path, source: Path, described: Bundle, card: str, series: Sequence[np.ndarray] | None) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".export.") as scratch:
        new = Path(scratch) / "new"
        new.mkdir()
        exits = len(ModelDescription.read(source).thresholds)
        for name in runtimes.files(described.runtime, exits):
            write_bytes(new / name, (source / name).read_bytes())
        if described.runtime == "c":
            predict = runtimes.load(source, described.runtime)
            c_source.write_c_source(new, described, predict, series or c_source.make_up_series(described))
        bundle.write(new, described, card)
        if target.exists():
            check_target(target)  # again: making and measuring may have taken hours
        replace_folder(target, new, Path(scratch))
