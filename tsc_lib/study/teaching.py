"""What teaching takes, and where it pays: one model, trained alike with several teachers, judged on validation series.

Seed `s` holds out the block `s` of each class, so that five seeds judge every series of the training file once. The
weights of the last epoch are judged: the validation series choose nothing::

    python -m tsc_lib.study.teaching ItalyPowerDemand PowerCons --teachers QUANT --seeds 0 1 --train versions=32
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence

import pandas as pd

from tsc_lib import data
from tsc_lib.core.errors import run_command
from tsc_lib.core.files import read_json
from tsc_lib.study import stages
from tsc_lib.study.specs import TrainingRun
from tsc_lib.training import Epoch, TrainSpec, find_train_spec
from tsc_lib.training.settings import parse_settings


def compare_teachers(
    datasets: Sequence[str],
    teachers: Sequence[str],
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    model: str = "ConvTransformer",
    settings: TrainSpec | None = None,
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
    settings : TrainSpec, optional
        Of all trainings, by default the model's own. No epoch is chosen, and no validation series is trained on.

    Returns
    -------
    DataFrame
        A row for each data set, seed and teacher: columns `dataset`, `model`, `seed`, `teacher` ("none" for none),
        `settings` (what differs from the model's own), `valid_accuracy` of the last epoch, `valid_series`, and CPU
        seconds: `train_cpu_seconds`, `fit_cpu_seconds` of the teacher and `label_cpu_seconds` of the series.
    """
    rows = []
    own = dataclasses.replace(find_train_spec(model), keep="last", refit=False)
    settings = dataclasses.replace(settings or own, keep="last", refit=False, teacher="")
    alone = dataclasses.replace(settings, **{name: getattr(own, name) for name in ("teacher_weight", "versions")})
    for name in datasets:
        for seed in seeds:
            for teacher in ("", *teachers):
                shared = settings if teacher else alone
                spec = dataclasses.replace(shared, teacher=teacher)
                run = TrainingRun(data.resolve(name, split_seed=seed), model, spec, seed)
                folder, history = stages.train(run)
                rows.append(
                    {
                        **run.names,
                        "teacher": teacher or "none",
                        "settings": " ".join(shared.write_changes(own)),
                        "valid_accuracy": history[-1]["valid_accuracy"],
                        "valid_series": len(data.load(run.data).valid),
                        **_sum_costs(history, read_json(folder / "record.json").get("teaching", [])),
                    }
                )
    return pd.DataFrame(rows)


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
    parser.add_argument("--train", nargs="*", default=[], help="settings of all trainings, such as versions=32")
    chosen = parser.parse_args(arguments)

    def work() -> None:
        settings = find_train_spec(chosen.model).change(parse_settings(chosen.train))
        found = compare_teachers(chosen.datasets, chosen.teachers, chosen.seeds, chosen.model, settings)
        print(found.to_csv(index=False, float_format="%.4g"), end="")

    return run_command(work, farewell="")


if __name__ == "__main__":
    sys.exit(main())
