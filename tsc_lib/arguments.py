"""What the command line takes, and what its help says."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from tsc_lib import __version__
from tsc_lib.core.cpus import count_usable_cpus
from tsc_lib.core.errors import INSTALL
from tsc_lib.core.limits import parse_number, parse_whole

DESCRIPTION = """\
What does it cost to classify a time series with a transformer, and how much can be saved?

Results are stored under outputs/ (TSC_OUTPUTS moves it) and never computed twice. Data sets are UCR/UEA names, looked
for in the folder that AEON_DATA names, among those that aeon brings along, in ~/aeon_data, and last on the network; or
paths of folders with *_TRAIN.ts and *_TEST.ts."""

REPORT = """\
Run a whole profile and build outputs/report/<profile>/index.html, beside the reports of other profiles, which
outputs/report/index.html lists: train and compress every model, benchmark them one session at a time, execute the
notebooks, build the site. A run that was stopped goes on where it was; a finished one takes seconds. Work that failed
before is tried again. What a profile in a file of your own produces has six digits of its path behind its name."""

DATA = """\
Check a data set's two files and print what is in them: series in train, validation and test, channels, lengths,
repeated series, how many series each class has, the values of each channel, and what of all that could mislead. A file
that cannot be used is told with its line."""

RUN = """\
Make one variant of a model and print its accuracy, size, time and energy beside the uncompressed model's. A recipe is
'baseline' or steps joined by '>'."""

EXPORT = """\
Write one variant of a model to a folder that runs elsewhere: the model in its runtime's own format, labels and
preprocessing, the packages it needs, and model_card.md with its measured accuracy, size, time and energy. What was not
made and measured yet is made first, as 'run' does. An earlier export in the same folder is replaced; a folder that
holds anything else is left alone. Recipes are explained by 'run --help'.

The model answers alike on every processor that its runtime works on. One for inductor is native code for processors
like this one, which --this-processor-only asks for."""

PREDICT = """\
Classify the series of a file with an exported model. Needed are numpy and the model's runtime, no training data. The
file is one of:

  .ts     the archives' format; labels in it are not used, but compared with at the end
  .csv    one series of one channel in each line; a header, an index and labels are told from the values by the
          model's length and labels, by names in the header, and by how numbers are written; what stays ambiguous is
          refused, and the options below say what it is
  .npz    an array x of shape (series, channels, length) or (series, length), and optionally lengths (series,)

Out come lines of CSV: the number of the series in the file, from 1, its label, the probability of every label.

A folder that was damaged is refused, by its checksums. They are no signature: who changes a model can change them too.
A model for inductor is native code, which may do anything on this computer as soon as it is loaded, so it is loaded
only with --trust-native-code; models of the other runtimes are data."""

MICROCONTROLLER = """\
Compile a model that was exported with --runtime c for Arm's Cortex-M, and execute it on boards that QEMU imitates:
first its own test, then ten series of noise. Printed are flash and RAM of the whole program, the stack as deep as it
was written to, instructions for a series, and how far logits are from this machine's, relative to 1 + their size.

Time and energy are modelled, not measured: one cycle for each instruction, at the clock and the power of a device that
MLPerf Tiny measured; a real one also waits for its memory. It needs Debian's gcc-arm-none-eabi,
libnewlib-arm-none-eabi and qemu-system-arm. The code can read and write your files, on an imitated board too."""

OPTIMIZE = """\
Search for a recipe and a runtime that cost little and lose at most --max-drop points of accuracy. Within --budget
minutes, after the uncompressed model is trained, recipes are tried: first their size, then a short benchmark, then
training, which stops early where it does not pay. Optuna proposes them. After the budget, less a reserve
of two minutes at most, the finalists, up to six recipes and number formats of the best, are measured in a session of
their own. The Pareto front, the pick and the command that exports it are printed and kept in outputs/search/.

Everything is decided on validation series. The pick is the cheapest recipe whose drop, corrected for the luck of being
chosen, keeps to --max-drop with a standard error to spare; if none does, the cheapest that keeps to it at its expected
value. Then the pick and the uncompressed model are trained anew without each of --folds folds of the training series,
which chose nothing, and what is lost on them becomes the promise. The accuracy on the test set is told at the end, as a
score. The same command goes on where it was stopped, and with a larger budget it looks further. Objectives are, as
shares of the uncompressed model's in eager PyTorch:

  energy   per inference at the large batch; without an energy counter it is in proportion to CPU time
  time     CPU time at the large batch
  latency  wall time of one call with one series
  size     bytes of the weights"""

RUNTIME = "eager, inductor, onnxruntime, openvino or c (default: the first that executes the recipe)"

SCALING = "channel, series or none (default: channel)"

GAPS = "missing values: refuse, or interpolate in their series (default: refuse)"

DOCTOR = """\
Try every source of energy on this machine and print which work, which is chosen, and for the others what enables them.
Measured are: how often each counter changes, the CPU time that a window's two ends take, and the A/A noise floor, some
work against the same work, finer than which no comparison here can be. TSC_ENERGY names the source to use instead of
the best, e.g. pyrapl; TSC_SYSFS_ROOT another place of /sys; TSC_WATTS_PER_CORE the watts for estimates."""


class _Once(argparse.Action):
    """Stores what is given, and refuses it a second time: which of two would count is told by nothing."""

    given = False

    def __call__(self, parser: object, namespace: object, values: object, option_string: str | None = None) -> None:
        if self.given:
            raise argparse.ArgumentError(self, "is given twice")
        self.given = True
        setattr(namespace, self.dest, values)


class _Version(argparse.Action):
    """Prints the version; what cannot be printed is an `OSError`, which argparse's own action leaves out."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"tsc_lib {__version__}", flush=True)
        parser.exit()


class Parser(argparse.ArgumentParser):
    """A parser that keeps the lines of its texts, and says what is wrong in one line.

    `describe`, if set, makes the description when help is asked for.
    """

    describe: Callable[[], str] | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **options)
        self.register("action", None, _Once)

    def format_help(self) -> str:
        """The help, with the description as it is now."""
        if self.describe is not None:
            self.description = self.describe()
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the arguments, and end with exit code 2."""
        self.exit(2, f"error: {' '.join(message.split())}; '{self.prog} --help' tells what it takes\n")

    def print_help(self, file: Any = None) -> None:
        """Print the help; what cannot be printed is an `OSError`, which argparse's own method leaves out."""
        print(self.format_help(), end="", file=file)


def describe_run() -> str:
    """What ``run`` does, with every step that a recipe may have."""
    try:
        from tsc_lib.compress import help_text
    except ModuleNotFoundError as error:  # with the packages of a model alone
        return f"{RUN} This command, and the list of steps, need {error.name}: {INSTALL}"
    return f"{RUN} The steps, by examples:\n\n{help_text()}"


def parser() -> argparse.ArgumentParser:
    """The parser of the command line; what it returns names the command as ``command``."""
    top = Parser(
        prog="tsc-lib" if Path(sys.argv[0]).stem == "tsc-lib" else "python -m tsc_lib", description=DESCRIPTION
    )
    top.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = top.add_subparsers(required=True, dest="command", metavar="COMMAND")

    report = commands.add_parser("report", help="run a profile, build the report", description=REPORT)
    report.add_argument("--profile", default="quick", help="a name in profiles, or a YAML file (default: quick)")
    report.add_argument(
        "--cores", type=_whole, default=count_usable_cpus(), help="jobs at the same time (default: all usable CPUs)"
    )

    report.add_argument(
        "--engine", default="local", help="local, slurm, or a folder of Snakemake's settings (default: local)"
    )

    run = commands.add_parser(
        "run",
        help="make and measure one variant",
        epilog="for example:  %(prog)s --dataset ItalyPowerDemand --recipe 'prune(l1, 0.5) > finetune(4)'",
    )
    run.describe = describe_run
    _variant(run, RUNTIME)

    export = commands.add_parser(
        "export",
        help="write one variant to run elsewhere",
        description=EXPORT,
        epilog="for example:  %(prog)s my-model --dataset ItalyPowerDemand --recipe 'prune(l1, 0.5) > finetune(4)'",
    )
    export.add_argument("folder", type=Path, metavar="FOLDER", help="where to write")
    _variant(export, "onnxruntime, openvino, c, eager or inductor (default: onnxruntime)")
    export.add_argument(
        "--this-processor-only", action="store_true", help="native code for processors like this one: inductor's"
    )

    predict = commands.add_parser("predict", help="classify a file's series", description=PREDICT)
    predict.add_argument("folder", type=Path, metavar="FOLDER", help="what 'export' wrote")
    predict.add_argument("file", type=Path, metavar="FILE", help="the series")
    yes_or_no = argparse.BooleanOptionalAction
    predict.add_argument("--header", action=yes_or_no, help="whether line 1 of a .csv names the columns")
    predict.add_argument("--index-column", action=yes_or_no, help="whether column 1 of a .csv numbers or names series")
    predict.add_argument(
        "--label-column", metavar="WHERE", help="labels of a .csv: in the first column (after the index), last or none"
    )
    predict.add_argument(
        "--trust-native-code", action="store_true", help="load native code; only if you trust who made the folder"
    )
    predict.add_argument("--out", type=Path, metavar="CSV", help="write to this file (default: print)")
    predict.add_argument("--batch-size", type=_whole, metavar="N", help="series per call (default: by their length)")
    predict.add_argument("--threads", type=_whole, metavar="N", help="threads (default: one per usable CPU)")

    microcontroller = commands.add_parser(
        "microcontroller",
        help="try an exported C program on imitated Cortex-M",
        description=MICROCONTROLLER,
        epilog="for example:  %(prog)s my-model --cpu cortex-m4 --trust-native-code",
    )
    microcontroller.add_argument("folder", type=Path, metavar="FOLDER", help="what 'export --runtime c' wrote")
    microcontroller.add_argument(
        "--cpu",
        nargs="+",
        default=["cortex-m4", "cortex-m7", "cortex-m55"],
        metavar="NAME",
        help="cortex-m4, cortex-m7 or cortex-m55 (default: all)",
    )
    microcontroller.add_argument(
        "--trust-native-code", action="store_true", help="execute the code; only if you trust who made the folder"
    )

    optimize = commands.add_parser(
        "optimize",
        help="find a cheap variant that keeps the accuracy",
        description=OPTIMIZE,
        epilog="for example:  %(prog)s --dataset ElectricDevices --model T1 --max-drop 1.0 --objective energy",
    )
    _training(optimize)
    optimize.add_argument("--max-drop", type=_number, default=1.0, metavar="POINTS", help="of accuracy (default: 1.0)")
    optimize.add_argument("--objective", default="energy", help="energy, time, latency or size (default: energy)")
    optimize.add_argument("--batch-size", type=_whole, metavar="N", help="the large batch (default: by the length)")
    optimize.add_argument(
        "--budget",
        type=_number,
        default=15,
        metavar="MINUTES",
        help="for trials; finalists are measured, and the promise made, after it (default: 15)",
    )
    optimize.add_argument("--trials", type=_whole, metavar="N", help="stop after so many (default: by the budget)")
    optimize.add_argument(
        "--seeds", type=_whole, nargs="+", default=[0], metavar="N", help="of the training; all judge the finalists"
    )
    optimize.add_argument(
        "--folds", type=_whole, default=3, metavar="N", help="of train, for the promise; 0 for none (default: 3)"
    )
    chosen = "what is to execute the model (default: whatever is cheapest; c is tried for latency alone)"
    optimize.add_argument("--runtime", help=chosen)
    optimize.add_argument(
        "--max-ram", type=_bytes, metavar="BYTES", help="workspace and stack of a program in C at most, such as 64k"
    )
    optimize.add_argument(
        "--max-flash", type=_bytes, metavar="BYTES", help="code and weights of a program in C at most, such as 256k"
    )
    optimize.add_argument("--jobs", type=_whole, default=1, help="trials at the same time, one core each (default: 1)")
    optimize.add_argument("--output", type=Path, metavar="FOLDER", help="of the search (default: outputs/search/...)")

    data = commands.add_parser("data", help="describe a data set", description=DATA)
    data.add_argument("dataset", help="name or folder")
    data.add_argument("--scaling", default="channel", help=SCALING)
    data.add_argument("--gaps", default="refuse", help=GAPS)

    results = commands.add_parser(
        "results",
        help="the table of a profile's results",
        description="Print the table of a profile's results, or write it to a CSV file; missing work is done first.",
    )
    results.add_argument("--profile", default="quick", help="a name in profiles, or a YAML file (default: quick)")
    results.add_argument("--all", action="store_true", help="print all columns, not the eight that are read first")
    results.add_argument("--csv", type=Path, metavar="FILE", help="write all columns to this file")

    doctor = commands.add_parser("doctor", help="what energy this machine can measure", description=DOCTOR)
    doctor.add_argument("--crosscheck", action="store_true", help="also compare with CodeCarbon, over ten seconds")
    return top


def _whole(text: str) -> int:
    """The value of an option that takes whole numbers."""
    try:
        return parse_whole(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _bytes(text: str) -> int:
    """The value of an option that takes bytes; ``64k`` are 64 times 1024."""
    units = {"k": 1024, "m": 1024**2}
    unit = units.get(text[-1:].lower(), 1)
    return _whole(text[:-1] if unit > 1 else text) * unit


def _number(text: str) -> float:
    """The value of an option that takes numbers."""
    try:
        return parse_number(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _training(command: argparse.ArgumentParser) -> None:
    """Options that choose a data set, what is done to its series, and the model that is trained on them."""
    command.add_argument("--dataset", required=True, help="name or folder")
    command.add_argument("--scaling", default="channel", help=SCALING)
    command.add_argument("--gaps", default="refuse", help=GAPS)
    command.add_argument(
        "--model", default="T1", help="T1, T2 or ConvTransformer, sizes as in 'T1(layers=2)' (default: T1)"
    )
    command.add_argument("--epochs", type=_whole, help="of the training (default: the model's own, 20 of T1 and T2)")


def _variant(command: argparse.ArgumentParser, runtime: str) -> None:
    """Options that choose one variant of a model, and how it is measured."""
    _training(command)
    command.add_argument("--recipe", default="baseline", help="what to do to the model (default: baseline)")
    command.add_argument("--runtime", help=runtime)
    command.add_argument(
        "--train",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="settings of the training, such as optimizer=adamw steps=1500 'augment=shift(0.1) > noise'; "
        "docs/training.md lists them",
    )
    command.add_argument("--seed", type=_whole, default=0, help="of the training (default: 0)")
    command.add_argument("--batch-sizes", type=_whole, nargs="+", default=[1, 64], metavar="N", help="default: 1 64")
    command.add_argument("--threads", type=_whole, default=1, help="of the benchmark (default: 1)")
