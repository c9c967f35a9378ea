"""What the command line takes, and what its help says."""

from __future__ import annotations

import argparse
from pathlib import Path

from tsc_lib.core.cpus import usable_cpus

DESCRIPTION = """\
What does it cost to classify a time series with a transformer, and how much can be saved?

Results are stored under outputs/ (TSC_OUTPUTS moves it) and never computed twice. Data sets are UCR/UEA names, looked
for in the folder that AEON_DATA names, among those that aeon brings along, in ~/aeon_data, and last on the network; or
paths of folders with *_TRAIN.ts and *_TEST.ts."""

REPORT = """\
Run a whole profile and build outputs/report/index.html: train and compress every model, benchmark them one session at
a time, execute the notebooks, build the site. A run that was stopped goes on where it was; a finished one takes
seconds. Work that failed before is tried again."""

DATA = """\
Check a data set's two files and print what is in them: series in train, validation and test, channels, lengths,
repeated series, and how many series each class has. A file that cannot be used is told with its line."""

RUN = """\
Make one variant of a model and print its accuracy, size, time and energy beside the uncompressed model's. A recipe is
'baseline' or steps joined by '>':

  mask(l1, 0.5)           zero half of the rows of every linear layer; norms are l1 and l2
  prune(l1, 0.5)          remove half of the attention heads and feed-forward neurons, those that matter least by a
                          criterion: l1, l2, taylor, activation or random; parts=heads or neurons for one kind alone,
                          scope=global for half over all layers, multiple=8 to keep widths that are multiples of 8
  gradual(taylor, 0.5)    the same in steps=4 rounds with epochs=1 of training=finetune or distill between them
  layers(2)               keep two encoder layers, by influence, or first, last, even or random
  width(activation, 16)   keep 16 channels of the embedding, by a criterion
  lowrank(0.9)            factorise linear layers where that is cheaper, keeping 90 % of their squared singular values
  patch(16)               read the series in patches of 16 time steps, a multiple of the model's; train on after it
  student(layers=2)       start anew with a small network; heads=4, d_ff=64, d_model=32, patch=8
  merge(0.5)              merge similar tokens until half are left, after the attention of layer=2
  drop(0.5)               keep the half of the tokens that the class token attends to most, after that of layer=2
  finetune(4)             train four more epochs; learning_rate=0.0005
  distill(4)              the same with the uncompressed model as teacher; temperature=2, weight=0.5 of its logits,
                          features=1 for a loss on the class token too
  exits(3)                let series leave after three layers where a classifier there is sure enough, so that
                          validation accuracy falls by at most tolerance=0.5 points; always last, fp32, not in inductor
  bf16                    bfloat16, where the processor has it (eager, inductor, openvino)
  int8(dynamic)           int8 linear layers, ranges taken from every input (eager, onnxruntime)
  int8(static)            int8 linear layers, ranges observed on training series (inductor, onnxruntime, openvino);
                          calibration=128 series, observer=native, minmax, percentile or mse, percentile=99.99,
                          fp32_layers=8 to leave the eight most sensitive layers in fp32
  int8(weights)           int8 weights, arithmetic in fp32 (onnxruntime, openvino)
  int4                    the same in int4, group=32 weights to a scale
  qat(4)                  train four more epochs as int8(static) will round; learning_rate=0.0005, teacher=0.5 for half
                          of the loss from the uncompressed model's logits

for example:  python -m tsc_lib run --dataset ItalyPowerDemand --recipe 'prune(l1, 0.5) > finetune(4)'"""


EXPORT = """\
Write one variant of a model to a folder that runs elsewhere: the model in its runtime's own format, labels and
preprocessing, the packages it needs, and model_card.md with its measured accuracy, size, time and energy. What was not
made and measured yet is made first, as 'run' does. An earlier export in the same folder is replaced; a folder that
holds anything else is left alone. Recipes are explained by 'run --help'. For example:

  python -m tsc_lib export my-model --dataset ItalyPowerDemand --recipe 'prune(l1, 0.5) > finetune(4)'"""

PREDICT = """\
Classify the series of a file with an exported model. Needed are numpy and the model's runtime, no training data. The
file is one of:

  .ts     the archives' format; labels in it are not used, but compared with at the end
  .csv    one series of one channel in each line, values only; a first line without numbers is taken as a header
  .npz    an array x of shape (series, channels, length) or (series, length), and optionally lengths (series,)

Out come lines of CSV: the number of the series in the file, from 1, its label, the probability of every label."""


OPTIMIZE = """\
Search for a recipe and a runtime that cost little and lose at most --max-drop points of accuracy. Within --budget
minutes, after the uncompressed model is trained, recipes are tried: first their size, then a short benchmark, then
training, which stops early where it does not pay. Optuna proposes them. What did best is measured in a session of its
own, and the Pareto front, the pick and the command that exports it are printed and kept in outputs/search/.

Everything is decided on validation series. The pick is the cheapest recipe whose drop, corrected for the luck of being
chosen, keeps to --max-drop with a standard error to spare; if none does, the cheapest that keeps to it at its expected
value. The accuracy on the test set is told at the end, as a score. The same command goes on where it was stopped, and
with a larger budget it looks further. Objectives are, as shares of the uncompressed model's in eager PyTorch:

  energy   per inference at the large batch; without an energy counter it is in proportion to CPU time
  time     CPU time at the large batch
  latency  wall time of one call with one series
  size     bytes of the weights

for example:  python -m tsc_lib optimize --dataset ElectricDevices --model T1 --max-drop 1.0 --objective energy"""


RUNTIME = "eager, inductor, onnxruntime or openvino (default: the first that executes the recipe)"

GAPS = "missing values: refuse, or interpolate in their series (default: refuse)"

DOCTOR = """\
Try every source of energy on this machine and print which work, which is chosen, and for the others what enables them.
Measured are: how often each counter changes, the CPU time that a window's two ends take, and the A/A noise floor, some
work against the same work, finer than which no comparison here can be. TSC_ENERGY names the source to use instead of
the best, e.g. pyrapl; TSC_SYSFS_ROOT another place of /sys; TSC_WATTS_PER_CORE the watts for estimates."""


def parser() -> argparse.ArgumentParser:
    """The parser of the command line; what it returns names the command as ``command``."""
    raw = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(prog="python -m tsc_lib", description=DESCRIPTION, formatter_class=raw)
    commands = top.add_subparsers(required=True, dest="command", metavar="COMMAND")

    report = commands.add_parser("report", help="run a profile, build the report", description=REPORT)
    report.add_argument("--profile", default="quick", help="a name in profiles, or a YAML file (default: quick)")
    report.add_argument(
        "--cores", type=int, default=len(usable_cpus()), help="jobs at the same time (default: all cores)"
    )

    run = commands.add_parser("run", help="make and measure one variant", description=RUN, formatter_class=raw)
    _variant(run, RUNTIME)

    export = commands.add_parser(
        "export", help="write one variant to run elsewhere", description=EXPORT, formatter_class=raw
    )
    export.add_argument("folder", type=Path, metavar="FOLDER", help="where to write")
    _variant(export, "onnxruntime, openvino, eager or inductor (default: onnxruntime)")

    predict = commands.add_parser("predict", help="classify a file's series", description=PREDICT, formatter_class=raw)
    predict.add_argument("folder", type=Path, metavar="FOLDER", help="what 'export' wrote")
    predict.add_argument("file", type=Path, metavar="FILE", help="the series")
    predict.add_argument("--out", type=Path, metavar="CSV", help="write to this file (default: print)")
    predict.add_argument("--batch-size", type=int, metavar="N", help="series per call (default: by their length)")
    predict.add_argument("--threads", type=int, metavar="N", help="threads (default: one per CPU)")

    optimize = commands.add_parser(
        "optimize", help="find a cheap variant that keeps the accuracy", description=OPTIMIZE, formatter_class=raw
    )
    _data(optimize)
    optimize.add_argument("--model", default="T1", help="T1 or T2 (default: T1)")
    optimize.add_argument("--max-drop", type=float, default=1.0, metavar="POINTS", help="of accuracy (default: 1.0)")
    optimize.add_argument("--objective", default="energy", help="energy, time, latency or size (default: energy)")
    optimize.add_argument("--batch-size", type=int, metavar="N", help="the large batch (default: by the length)")
    optimize.add_argument("--budget", type=float, default=15, metavar="MINUTES", help="(default: 15)")
    optimize.add_argument("--trials", type=int, metavar="N", help="stop after so many trials (default: by the budget)")
    optimize.add_argument(
        "--seeds", type=int, nargs="+", default=[0], metavar="N", help="of the training; all judge the finalists"
    )
    optimize.add_argument("--epochs", type=int, default=20, help="of the training (default: 20)")
    optimize.add_argument("--jobs", type=int, default=1, help="trials at the same time, one core each (default: 1)")
    optimize.add_argument("--output", type=Path, metavar="FOLDER", help="of the search (default: outputs/search/...)")

    data = commands.add_parser("data", help="describe a data set", description=DATA)
    data.add_argument("dataset", help="name or folder")
    data.add_argument("--gaps", default="refuse", help=GAPS)

    results = commands.add_parser(
        "results",
        help="the table of a profile's results",
        description="Print the table of a profile's results, or write it to a CSV file; missing work is done first.",
    )
    results.add_argument("--profile", default="quick", help="a name in profiles, or a YAML file (default: quick)")
    results.add_argument("--csv", type=Path, metavar="FILE", help="write all columns to this file")

    doctor = commands.add_parser("doctor", help="what energy this machine can measure", description=DOCTOR)
    doctor.add_argument("--crosscheck", action="store_true", help="also compare with CodeCarbon, over ten seconds")
    return top


def _data(command: argparse.ArgumentParser) -> None:
    """Options that choose a data set and what is done to its series."""
    command.add_argument("--dataset", required=True, help="name or folder")
    command.add_argument("--scaling", default="channel", help="channel, series or none (default: channel)")
    command.add_argument("--gaps", default="refuse", help=GAPS)


def _variant(command: argparse.ArgumentParser, runtime: str) -> None:
    """Options that choose one variant of a model, and how it is measured."""
    _data(command)
    command.add_argument("--model", default="T1", help="T1 or T2 (default: T1)")
    command.add_argument("--recipe", default="baseline", help="what to do to the model (default: baseline)")
    command.add_argument("--runtime", default=None, help=runtime)
    command.add_argument("--seed", type=int, default=0, help="of the training (default: 0)")
    command.add_argument("--epochs", type=int, default=20, help="of the training (default: 20)")
    command.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 64], metavar="N", help="default: 1 64")
    command.add_argument("--threads", type=int, default=1, help="of the benchmark (default: 1)")
