"""How the time for a study's plan of jobs, its table of results and its report grows with the number of trained models.

The records are made up: random answers and random times, as stages write them, of models on made-up data sets. Each has
ConvTransformer as trained and a classic beside T1, whose variants are counted. The report is notebook 10 and the site::

    python benchmarks/growth.py                # 10, 100 and 1,000 trained models, 40 variants each
    python benchmarks/growth.py --units 640    # 128 data sets with five seeds
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import yaml

from tsc_lib.benchmark.host import describe_host, describe_machine
from tsc_lib.benchmark.measurement import Measurement, RawCandidate, RawSession, Session, summarise
from tsc_lib.benchmark.settings import CONTROL, BenchmarkSettings
from tsc_lib.compress import REFERENCE, Variant
from tsc_lib.core import store
from tsc_lib.core.errors import run_command
from tsc_lib.core.files import Json
from tsc_lib.data import DataSpec
from tsc_lib.energy import EnergyMeter
from tsc_lib.models import zoo
from tsc_lib.models.compressed import CompressedModel, measure_size, save_model
from tsc_lib.models.number_format import NumberFormat
from tsc_lib.runtimes.conversion import Conversion
from tsc_lib.study import Study
from tsc_lib.study.evaluation import Evaluation
from tsc_lib.study.model_comparison import ModelComparison, ModelsJob
from tsc_lib.study.plan import make_plan
from tsc_lib.study.profiles import Profile, load_profile
from tsc_lib.study.sections import DataChoice, Exclusion
from tsc_lib.study.specs import BenchmarkJob, EvaluationJob, TrainingRun
from tsc_lib.study.versions import version

NOTEBOOK = "10_archive"

SEEDS, TEST, BLOCKS = 5, 200, 20
"""Seeds of a data set, test series of each, and blocks of a session."""


def list_recipes(count: int) -> dict[str, tuple[str, ...]]:
    """So many recipes, the uncompressed model among them."""
    shares = np.linspace(0.05, 0.95, count - 1).round(4)
    return dict.fromkeys(["baseline", *(f"mask(l1, {share})" for share in shares)], ("eager",))


def write_datasets(root: Path, count: int) -> list[str]:
    """Small data sets of two classes; their names."""
    rng, names = np.random.default_rng(0), []
    for number in range(count):
        names.append(f"Made{number:04d}")
        (root / names[-1]).mkdir(parents=True)
        for part, series in (("TRAIN", 10), ("TEST", TEST)):
            x = rng.normal(size=(series, 24)).round(3)
            lines = [f"{','.join(map(str, row))}:{'ab'[i % 2]}" for i, row in enumerate(x)]
            text = "\n".join(["@problemName made", "@classLabel true a b", "@data", *lines, ""])
            (root / names[-1] / f"{names[-1]}_{part}.ts").write_text(text)
    return names


def make_session(names: Sequence[str], settings: BenchmarkSettings, rng: np.random.Generator) -> Session:
    """A session of these, the reference first, with times that scatter by a few per cent."""

    def candidate(name: str) -> RawCandidate:
        windows = {key: (0.02 * rng.lognormal(0, 0.03, BLOCKS)).tolist() for key in ("cpu_s", "wall_s")}
        windows |= {key: [5 * value for value in windows["cpu_s"]] for key in ("joules", "joules_low", "joules_high")}
        latency = rng.lognormal(0, 0.05, BLOCKS).tolist()
        return {
            "name": name, "failure": None, "sweeps": 4, "windows": {**windows}, "invalid": [], "latency_ms": latency,
        }  # fmt: skip

    reference, *others = names
    runners = [candidate(name) for name in (reference, CONTROL, *others)]
    raw: RawSession = {
        "host": {},
        "energy": {"source": "estimated", "backend": "cputime", "idle_watts": []},
        "batches": [
            {"batch_size": size, "series": 64, "blocks": BLOCKS, "runners": runners} for size in settings.batch_sizes
        ],
    }
    measured: tuple[Measurement, ...] = summarise(raw)
    return Session(describe_host(), settings, raw["energy"], reference, measured)


class MadeUp:
    """Writes the records of a study as its stages would."""

    def __init__(self, study: Study) -> None:
        self.study, self.rng = study, np.random.default_rng(1)
        network = zoo.build("T1", channels=1, classes=2, longest=24)
        self.model = CompressedModel(network, reference_length=24)
        self.size = measure_size(self.model)
        self._sessions: dict[int, Json] = {}

    def write(self) -> int:
        """Write all of them; returns how many variants there are."""
        count = 0
        for run in self.study.runs:
            variants = self.study.variants_of(run)
            if (known := len(variants)) not in self._sessions:  # one for all: only its size matters here
                settings, names = self.study.settings(run.data), [str(each) for each in variants]
                self._sessions[known] = make_session(names, settings, self.rng).to_json()
            self._train(run)
            count += sum(self._evaluate(run, variant) for variant in variants)
            self._measure(run, self._sessions[known])
        models = ModelComparison(self.study)
        for (spec, seed), entries in models.entries.items():
            for entry in entries:
                models.evaluate(entry)  # a classic of a handful of series is fitted as fast as made up
            if seed == self.study.profile.seeds[0]:
                self._compare(models, spec, seed)
        return count

    def _put(self, stage: str, versions: tuple[int, ...], label: str, job: object, record: Json) -> Path:
        return store.run_or_load(stage, versions, label, job, lambda folder: record)[0]  # type: ignore[arg-type]

    def _train(self, run: TrainingRun) -> None:
        judged = {"train_loss": 0.5, "valid_loss": 0.5, "valid_accuracy": self.rng.uniform(0.6, 0.9)}
        epoch = {"epoch": 1, "best": True, "seconds": 1.0, "cpu_seconds": 1.0, **judged}
        self._put("train", version("train"), run.label, run, {"history": [epoch], "cost": None})

    def _compare(self, models: ModelComparison, spec: DataSpec, seed: int) -> None:
        entries, settings = tuple(models.entries[spec, seed]), models.settings(spec)
        session = make_session([entry.name for entry in entries], settings, self.rng).to_json()
        job = ModelsJob(entries, settings, describe_machine(), EnergyMeter.auto().describe())
        versions = version("side-by-side", *(entry.variant.runtime for entry in entries))
        self._put("side-by-side", versions, f"{spec.name}-s{seed}", job, {"session": session})

    def _evaluate(self, run: TrainingRun, variant: Variant) -> int:
        true = np.arange(TEST) % 2
        predicted = np.where(self.rng.random(TEST) < 0.8, true, 1 - true)
        found = Evaluation(
            variant, ("a", "b"), true, predicted, NumberFormat.FP32, self.size, Conversion(720_000, 0, 52), (), None,
            Path(),
        )  # fmt: skip
        job = EvaluationJob(run, variant.recipe, variant.runtime, describe_machine())
        folder = self._put("evaluate", version("evaluate", variant.runtime), run.label, job, found.to_json())
        if not hasattr(self, "_model"):
            save_model(self.model, folder)
            self._model = (folder / "model.json").read_bytes()
        (folder / "model.json").write_bytes(self._model)
        return 1

    def _measure(self, run: TrainingRun, session: Json) -> None:
        measured = tuple(variant for variant in self.study.variants_of(run) if variant != REFERENCE)
        energy = EnergyMeter.auto().describe()
        job = BenchmarkJob(run, measured, self.study.settings(run.data), describe_machine(), energy)
        versions = version("benchmark", *(variant.runtime for variant in measured))
        self._put("benchmark", versions, run.label, job, {"session": session})


@contextlib.contextmanager
def made_up_study(units: int, variants: int) -> Iterator[Profile]:
    """The profile of a study whose records are all in the store, in a folder that goes away."""
    with tempfile.TemporaryDirectory() as folder:
        root, outputs, before = Path(folder) / "data", store.OUTPUTS, os.environ.get("AEON_DATA")
        names = write_datasets(root, -(-units // SEEDS))
        store.OUTPUTS = Path(folder) / "outputs"
        os.environ["AEON_DATA"] = str(root)
        try:
            profile = Profile(
                "growth",
                tuple(DataChoice(name, optional=True) for name in names),
                ("T1", "ConvTransformer", "QUANT"),
                tuple(range(SEEDS)),
                recipes := list_recipes(variants),
                benchmark=BenchmarkSettings(batch_sizes=(1, 64), blocks=BLOCKS),
                exclude=tuple(
                    Exclusion(model="ConvTransformer", recipe=each) for each in recipes if each != "baseline"
                ),
                notebooks=(NOTEBOOK,),
            )
            MadeUp(Study(profile)).write()
            yield profile
        finally:
            store.OUTPUTS = outputs
            os.environ.pop("AEON_DATA") if before is None else os.environ.update(AEON_DATA=before)


def clock(profile: Profile) -> dict[str, float]:
    """CPU seconds for the plan, the table whose rows are made, the one whose rows are loaded, and the report."""
    found, started = {}, time.process_time()
    study = Study(profile)
    jobs = make_plan(study)
    found["plan"] = time.process_time() - started
    assert len(jobs) == len(study.all_runs) + len(study.runs)
    started = time.process_time()
    table = study.results()
    found["table made"] = time.process_time() - started
    assert set(table.status) == {"ok"}
    started = time.process_time()
    again = Study(dataclasses.replace(profile)).results()
    found["table loaded"] = time.process_time() - started
    assert len(again) == len(table)
    return found | {"report": clock_report(profile)}


def clock_report(profile: Profile) -> float:
    """CPU seconds of the processes that execute the notebook and build the site."""
    content = profile.to_json()
    del content["name"]
    path = store.OUTPUTS / "growth.yaml"
    path.write_text(yaml.safe_dump(content))
    before, environment = resource.getrusage(resource.RUSAGE_CHILDREN), os.environ | {"TSC_OUTPUTS": str(store.OUTPUTS)}
    executed = store.OUTPUTS / "notebooks" / load_profile(str(path)).name
    for command in (["execute", NOTEBOOK, str(executed)], ["build", "site"]):
        module, *arguments = command
        call = [sys.executable, "-m", f"tsc_lib.report.{module}", *arguments, "--profile", str(path)]
        subprocess.run(call, env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    largest = max(page.stat().st_size for page in store.OUTPUTS.rglob("*.html"))
    print(f"largest page: {largest / 1e6:.2f} MB")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(arguments: list[str] | None = None) -> int:
    """Print the times; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, nargs="+", default=[10, 100, 1000], help="trained models")
    parser.add_argument("--variants", type=int, default=40, help="of each (default: 40)")
    options = parser.parse_args(arguments)

    def run() -> None:
        for units in options.units:
            with made_up_study(units, options.variants) as profile:
                times = clock(profile)
            print(f"{units:>6} models: " + ", ".join(f"{name} {s:.2f} s" for name, s in times.items()), flush=True)

    return run_command(run)


if __name__ == "__main__":
    raise SystemExit(main())
