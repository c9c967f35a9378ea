"""The stages of the study: train, compress, evaluate and measure, each done once or loaded from the store."""

from __future__ import annotations

import dataclasses
import logging
import shutil
import time
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save

from tsc_lib import data, runtimes, training
from tsc_lib.benchmark import (
    PEAK,
    BenchmarkSettings,
    Candidate,
    Role,
    Session,
    peak,
    run_session,
    save_inputs,
)
from tsc_lib.benchmark.host import describe_machine
from tsc_lib.benchmark.peak import Peak
from tsc_lib.benchmark.place import find_place
from tsc_lib.compress import BASELINE, REFERENCE, Recipe, TrainingContext, Variant, apply
from tsc_lib.core.files import Json, read_json, write_bytes
from tsc_lib.core.store import run_or_load
from tsc_lib.energy import EnergyMeter, Reading
from tsc_lib.energy.opcount import model_energy
from tsc_lib.models import zoo
from tsc_lib.models.classic import CLASSICS
from tsc_lib.models.compressed import CompressedModel, load_model, measure_size, save_model
from tsc_lib.models.transformer import TransformerConfig
from tsc_lib.runtimes import convert
from tsc_lib.runtimes.cascade import CascadePredictor
from tsc_lib.runtimes.graph import find_sources
from tsc_lib.study.evaluation import Evaluation, Exits
from tsc_lib.study.operations import operations
from tsc_lib.study.specs import (
    BenchmarkJob,
    CompressJob,
    EvaluationJob,
    PeakJob,
    PretrainJob,
    TeachJob,
    TrainingRun,
)
from tsc_lib.study.versions import version
from tsc_lib.training import pretraining

logger = logging.getLogger(__name__)

PEAK_LOADER = "tsc_lib.benchmark.peak:load"


def train(run: TrainingRun) -> tuple[Path, list[training.Epoch]]:
    """Train a run's model, or load it: the folder that holds it, as `load_model` reads it, and its history."""

    def work(folder: Path) -> Json:
        torch.set_num_threads(1)  # more threads would change the order of sums, and so the weights
        logger.info("%s: training", run.label)
        dataset = data.load(run.data)
        checkpoint = folder / "checkpoint.safetensors"
        pools = {len(split): teach(run, run.train.teacher, split) for split in training.list_taught(dataset, run.train)}
        start = pretrain(run) if run.train.pretrain else None
        resumed = any(folder.glob("checkpoint*.safetensors"))
        with EnergyMeter.auto().measure(f"{run.label}, training") as window:
            model, history = training.train(
                zoo.configure(run.model, dataset.channels, len(dataset.classes), dataset.longest),
                dataset,
                run.train,
                run.seed,
                checkpoint=checkpoint,
                teach=lambda split: pools[len(split)],
                start=start,
            )
        for each in folder.glob("checkpoint*.safetensors"):  # of the choice, and of the training after it
            each.unlink()
        save_model(model, folder)
        taught = [dataclasses.asdict(pool.teaching) for pool in pools.values()]
        cost = None if resumed else window.reading.to_json()
        return {"history": history, "cost": cost, **({"teaching": taught} if taught else {})}

    folder, record = run_or_load("train", version("train"), run.label, run, work)
    return folder, record["history"]


def read_training_cost(run: TrainingRun) -> Reading | None:
    """What the training of a run's model cost; None where it was interrupted."""
    cost = read_json(train(run)[0] / "record.json").get("cost")
    return Reading.from_json(cost) if cost else None


def pretrain(run: TrainingRun) -> dict[str, torch.Tensor]:
    """Weights of a run's embedding and encoder after masked pre-training, or load them."""
    sources = pretraining.find_sources(run.train.pretrain, run.data)
    own = data.load(run.data)
    config = zoo.configure(run.model, own.channels, len(own.classes), own.longest)

    def work(folder: Path) -> Json:
        torch.set_num_threads(1)
        logger.info("%s: pre-training on %d data sets", run.label, len(sources))
        started = time.process_time()
        weights = pretraining.pretrain(config, [data.load(source) for source in sources], run.seed)
        write_bytes(folder / "weights.safetensors", save(weights))
        return {"cpu_seconds": time.process_time() - started}

    job = PretrainJob(config, tuple(sources), run.seed)
    return load_file(run_or_load("pretrain", version("train"), run.label, job, work)[0] / "weights.safetensors")


def teach(run: TrainingRun, teacher: str, split: data.Split | None = None) -> training.Pool:
    """What a teacher says of the series that a run is trained on, by default its training series; labelled or loaded.

    Runs that differ in their model alone share the labels of classics.
    """
    dataset = data.load(run.data)
    series = dataset.train if split is None else split
    networks = {name for name in training.parse_teacher(teacher) if name not in CLASSICS}
    settings = run.train.augment, run.train.mixing, run.train.versions
    job = TeachJob(run.data, teacher, *settings, run.seed, len(series), run if networks else None)

    def find_network(name: str) -> training.Predict:
        other = dataclasses.replace(run, model=name, train=training.find_train_spec(name))
        return training.make_predictor(load_model(train(run if name == training.SELF else other)[0]).network)

    def make_pool(folder: Path, found: dict[str, training.Predict]) -> training.Pool:
        return training.make_pool(
            teacher,
            series,
            run.train,
            run.seed,
            classes=len(dataset.classes),
            equal_length=dataset.equal_length,
            networks=found,
            folder=folder,
        )

    def work(folder: Path) -> Json:
        torch.set_num_threads(1)
        logger.info("%s: %s labels", run.label, teacher)
        pool = make_pool(folder, {name: find_network(name) for name in networks})
        return {"teaching": dataclasses.asdict(pool.teaching)}

    label = f"{run.data.name}-{teacher}-s{run.seed}"
    return make_pool(run_or_load("teach", version("train"), label, job, work)[0], {})


def make_context(run: TrainingRun, dataset: data.Dataset) -> TrainingContext:
    """What a compression step may use of a run's data and settings."""
    return TrainingContext(
        dataset.train, dataset.valid, dataset.equal_length, run.train, run.seed, find_pool=partial(teach, run)
    )


def compress_model(
    run: TrainingRun, recipe: Recipe, watch: training.Watch | None = None
) -> tuple[Path, CompressedModel]:
    """Apply a recipe to a run's model, or load the result; recipes that begin alike share their beginnings.

    If the last step trains, `watch` sees its history after every epoch, and may raise a `StageFailed` to leave it.
    """
    if recipe == BASELINE:
        folder, _ = train(run)
        return folder, load_model(folder)

    def work(folder: Path) -> Json:
        torch.set_num_threads(1)
        _, parent = compress_model(run, recipe[:-1])
        logger.info("%s: %s", run.label, recipe)
        dataset = data.load(run.data)
        checkpoints = folder / "checkpoints"
        teacher = compress_model(run, BASELINE)[1]
        context = dataclasses.replace(make_context(run, dataset), folder=checkpoints, teacher=teacher, watch=watch)
        model = apply(parent, recipe[-1:], context)
        training.check_lengths(model.network.config, dataset)  # a step may have made longer patches
        save_model(model, folder)
        shutil.rmtree(checkpoints, ignore_errors=True)
        return {}

    folder, _ = run_or_load("compress", version("compress"), run.label, CompressJob(run, recipe), work)
    return folder, load_model(folder)


def evaluate(run: TrainingRun, variant: Variant) -> Evaluation:
    """Bring a compressed model into a runtime and classify the test set there, or load the result.

    Raises
    ------
    StageFailed
        If the model cannot be made, or the runtime cannot execute it.
    """

    def work(folder: Path) -> Json:
        torch.set_num_threads(1)
        _, model = compress_model(run, variant.recipe)
        logger.info("%s: %s", run.label, variant)
        dataset = data.load(run.data)
        conversion = convert.convert(
            model, variant.runtime, folder, equal_length=dataset.equal_length, longest=dataset.longest
        )
        predictor = runtimes.load(folder, variant.runtime)
        logits = training.classify(predictor, dataset.test, dataset.equal_length)
        if not np.isfinite(logits).all():
            raise RuntimeError("the logits of the test set are not finite")
        size, exits = measure_size(model), None
        if isinstance(predictor, CascadePredictor):
            exits = Exits.count(model, predictor.left)
            size = dataclasses.replace(size, macs=round(exits.macs_mean))
        return Evaluation(
            variant=variant,
            classes=dataset.classes,
            true=dataset.test.y,
            predicted=logits.argmax(axis=1),
            number_format=model.number_format,
            size=size,
            conversion=conversion,
            evidence=tuple(model.evidence),
            exits=exits,
            folder=folder,
        ).to_json()

    job = EvaluationJob(run, variant.recipe, variant.runtime, find_place().machine)
    folder, record = run_or_load("evaluate", version("evaluate", variant.runtime), run.label, job, work)
    return Evaluation.from_json(record, variant, folder)


def compute_modelled_energy(evaluation: Evaluation, batch_size: int) -> Reading:
    """Energy of one call of a variant, for series of train's median length.

    With early exits it is expected, from where the test series leave.
    """
    model = _read_model(evaluation.folder / "model.json")
    counted = operations(
        TransformerConfig.from_json(model["config"]),
        model["reference_length"],
        batch_size,
        evaluation.number_format,
        {own for layer in model.get("quantization", {}).get("fp32_layers", ()) for own in find_sources(layer)},
        evaluation.exits.left if evaluation.exits else None,
    )
    return model_energy(evaluation.folder.name, counted, inferences=batch_size)


@lru_cache(maxsize=4)
def _read_model(path: Path) -> Json:
    return dict(read_json(path))  # of one that is asked for at every batch size


def measure(
    run: TrainingRun,
    variants: list[Variant],
    settings: BenchmarkSettings,
    beside_peak: bool = False,
) -> Session:
    """Measure variants of a run against the reference in one session, or load the session.

    Parameters
    ----------
    run : TrainingRun
        Whose model to measure.
    variants : list of Variant
        The reference need not be among them.
    settings : BenchmarkSettings
        How to measure.
    beside_peak : bool
        Whether to measure the peak of the processor among them.

    Raises
    ------
    StageFailed
        If the session failed.
    """
    measured = tuple(v for v in variants if v != REFERENCE)

    def candidate(variant: Variant) -> Candidate:
        return Candidate.of_model(str(variant), evaluate(run, variant).folder, variant.runtime, settings.threads)

    def work(folder: Path) -> Json:
        dataset = data.load(run.data)
        inputs = folder / "inputs.npz"
        save_inputs(inputs, dataset.test.x, equal_length=dataset.equal_length, settings=settings)
        candidates = [candidate(v) for v in measured]
        logger.info("%s: measuring %d variants", run.label, len(measured) + 1)
        if beside_peak:
            options = {"number_format": "fp32", "threads": settings.threads, "classes": len(dataset.classes)}
            candidates.append(Candidate(PEAK, PEAK_LOADER, options))
        session = run_session(candidate(REFERENCE), candidates, inputs, settings)
        return {"session": session.to_json()}

    place = find_place()
    job = BenchmarkJob(run, measured, settings, place.machine, place.energy, beside_peak)
    versions = version("benchmark", *(variant.runtime for variant in measured))
    _, record = run_or_load("benchmark", versions, run.label, job, work)
    return Session.from_json(record["session"], {str(variant): variant for variant in (REFERENCE, *measured)})


def measure_peaks() -> list[Peak]:
    """Measure what one core computes at most in each number format, or load it."""
    settings = BenchmarkSettings(batch_sizes=(1,), series=1, blocks=20, max_seconds=10.0)

    def work(folder: Path) -> Json:
        inputs = folder / "inputs.npz"
        save_inputs(inputs, [np.zeros((1, 1), np.float32)], equal_length=True, settings=settings)
        candidates = [Candidate(name, PEAK_LOADER, {"number_format": name, "threads": 1}) for name in peak.FORMATS]
        session = run_session(candidates[0], candidates[1:], inputs, settings)
        found = [Peak.of(each) for each in session.measurements if each.role is not Role.CONTROL]
        return {"peaks": [dataclasses.asdict(each) for each in found]}

    job = PeakJob(describe_machine().cpu_model, describe_machine().versions["torch"])
    return [Peak(**each) for each in run_or_load("peak", version("peak"), "peak", job, work)[1]["peaks"]]
