"""What teaching takes, and where it pays: one model, trained alike with several teachers, judged on validation series.

Seed `s` holds out the block `s` of each class, so that five seeds judge every series of the training file once. The
weights of the last epoch are judged: the validation series choose nothing::

    python -m tsc_lib.study.teaching ItalyPowerDemand PowerCons --teachers QUANT --seeds 0 1
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence

import pandas as pd

from tsc_lib import data
from tsc_lib.compress import BASELINE
from tsc_lib.core.errors import run_command
from tsc_lib.core.files import read_json
from tsc_lib.study import Study, stages
from tsc_lib.study.specs import TrainingRun
from tsc_lib.training import Augmentations, Epoch, TrainSpec

SETTINGS = TrainSpec(
    batch_size=32,
    steps=1500,
    optimizer="adamw",
    weight_decay=0.05,
    schedule="cosine",
    augment=Augmentations.parse("scale > noise > shift"),
)
"""How the compared models are trained, their teacher aside."""


def compare_teachers(
    datasets: Sequence[str],
    teachers: Sequence[str],
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    model: str = "ConvTransformer",
    settings: TrainSpec = SETTINGS,
) -> pd.DataFrame:
    """Train a model with each teacher, and with none.

    Parameters
    ----------
    datasets, teachers : sequence of str
        Names; see `tsc_lib.data.resolve` and `tsc_lib.training.teachers.parse_teacher`.
    seeds : sequence of int
        Of the training and of the cut.
    model : str
        Name of an architecture.
    settings : TrainSpec
        Of all trainings.

    Returns
    -------
    DataFrame
        A row for each data set, seed and teacher: columns `dataset`, `model`, `seed`, `teacher` ("none" for none),
        `pretrained` on, `valid_accuracy` of the last epoch, `valid_series`, and CPU seconds: `train_cpu_seconds`,
        `fit_cpu_seconds` of the teacher and `label_cpu_seconds` of the series.
    """
    rows = []
    for name in datasets:
        for seed in seeds:
            for teacher in ("", *teachers):
                spec = dataclasses.replace(settings, teacher=teacher, keep="last")
                run = TrainingRun(data.resolve(name, split_seed=seed), model, spec, seed)
                folder, history = stages.train(run)
                rows.append(
                    {
                        **run.names,
                        "teacher": teacher or "none",
                        "pretrained": spec.pretrain or "no",
                        "valid_accuracy": history[-1]["valid_accuracy"],
                        "valid_series": len(data.load(run.data).valid),
                        **_sum_costs(history, read_json(folder / "record.json").get("teaching", [])),
                    }
                )
    return pd.DataFrame(rows)


def tabulate_costs(study: Study) -> pd.DataFrame:
    """What the trainings of a study took, and their teaching.

    Returns
    -------
    DataFrame
        A row for each training of a model, and for each recipe that ends in a step that trains: columns `dataset`,
        `model`, `seed`, `recipe`, `teacher` (empty without one, or with the uncompressed model, which is there already)
        and CPU seconds: `train_cpu_seconds`, `fit_cpu_seconds` of the teacher, `label_cpu_seconds` of the series. What
        several trainings share stands beside each of them.
    """
    rows: dict[tuple[TrainingRun, str], dict[str, object]] = {}
    for run in study.runs:
        folder, history = stages.train(run)
        taught = read_json(folder / "record.json").get("teaching", [])
        rows[run, str(BASELINE)] = {"teacher": run.train.teacher, **_sum_costs(history, taught)}
        for variant, found in study.working(run, study.variants_of(run)).items():
            for number, step in enumerate(found.evidence, start=1):
                if "history" in step.details:
                    taught = [step.details["teaching"]] if "teaching" in step.details else []
                    about = {"teacher": taught[0]["teacher"] if taught else ""}
                    rows[run, str(variant.recipe[:number])] = {**about, **_sum_costs(step.details["history"], taught)}
    return pd.DataFrame([{**run.names, "recipe": recipe, **row} for (run, recipe), row in rows.items()])


def _sum_costs(history: Sequence[Epoch], taught: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """CPU seconds of a training, and of the teachings for it."""
    costs = {"train_cpu_seconds": sum(epoch["cpu_seconds"] for epoch in history)}
    return costs | {key: sum(each[key] for each in taught) for key in ("fit_cpu_seconds", "label_cpu_seconds")}


def main(arguments: list[str] | None = None) -> int:
    """Print the table as CSV; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tsc_lib.study.teaching", description=__doc__.splitlines()[0])
    parser.add_argument("datasets", nargs="+")
    parser.add_argument("--teachers", nargs="*", default=["QUANT"], help="names, such as QUANT+MiniROCKET")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--model", default="ConvTransformer")
    parser.add_argument("--pretrain", default="", help="data sets to pre-train on, such as ScreenType+PowerCons")
    chosen = parser.parse_args(arguments)
    settings = dataclasses.replace(SETTINGS, pretrain=chosen.pretrain)

    def work() -> None:
        found = compare_teachers(chosen.datasets, chosen.teachers, chosen.seeds, chosen.model, settings)
        print(found.to_csv(index=False, float_format="%.4g"), end="")

    return run_command(work, farewell="")


if __name__ == "__main__":
    sys.exit(main())
