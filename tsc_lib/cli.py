"""The command line: ``python -m tsc_lib COMMAND --help`` tells what each command takes, does and leaves behind."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tsc_lib.arguments import parser
from tsc_lib.core.errors import INSTALL, UserError, run_command
from tsc_lib.core.files import write_text
from tsc_lib.core.limits import THREADS, check_whole

if TYPE_CHECKING:
    import pandas as pd

    from tsc_lib.compress import Variant
    from tsc_lib.study import Study


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 1 after one sentence on what is wrong, or 128 and a signal's number."""
    try:
        return run_command(_choose, arguments)
    except ModuleNotFoundError as error:  # with the packages of a model alone, only predict works
        print(f"error: this command needs {error.name}, which is not installed: {INSTALL}", file=sys.stderr)
        return 1


def _choose(arguments: list[str] | None) -> None:
    options = parser().parse_args(arguments)
    COMMANDS[options.command](options)


def _report(options: argparse.Namespace) -> None:
    from tsc_lib.report.engine import run_report

    check_whole(options.cores, "--cores", *THREADS)
    print(run_report(options.profile, options.cores, options.engine))


def _study(options: argparse.Namespace, runtime: str | None) -> tuple[Study, Variant]:
    """The study of the one variant that the options choose, and the variant."""
    from tsc_lib.benchmark import BenchmarkSettings
    from tsc_lib.compress import Recipe, Variant
    from tsc_lib.core import store
    from tsc_lib.runtimes.convert import list_supporting
    from tsc_lib.study import Study
    from tsc_lib.study.sections import DataChoice

    recipe = Recipe.parse(options.recipe)
    if runtime is None:
        runtime = list_supporting(recipe.number_format, recipe.observer)[0]
    variant = Variant(recipe, runtime)
    store.forget_failures()  # what was missing may be there by now
    choice = DataChoice(options.dataset, options.scaling, options.gaps)
    benchmark = BenchmarkSettings(batch_sizes=tuple(options.batch_sizes), threads=options.threads)
    study = Study.of_variant(choice, options.model, options.seed, _training(options), variant, benchmark)
    return study, variant


def _training(options: argparse.Namespace) -> dict[str, object]:
    """What the options say of the training, where it is not as the model's own."""
    from tsc_lib.training.settings import parse_settings

    return ({} if options.epochs is None else {"epochs": options.epochs}) | parse_settings(options.train)


def _run(options: argparse.Namespace) -> None:
    study, variant = _study(options, options.runtime)
    table = study.results()
    shown = ["recipe", "runtime", "batch_size", "accuracy", "accuracy_drop", "params", "model_bytes"]
    if table.test_in_train.any():
        shown.insert(4, "accuracy_unseen")
    shown += ["cpu_ms_per_sample", "cpu_ratio", "cpu_ratio_low", "cpu_ratio_high", "latency_p50_ms"]
    shown += ["energy_mj_per_sample", "energy_source"]
    print(f"{table.dataset[0]}, {options.model}, seed {options.seed}, {options.threads} thread(s)\n")
    print(table[shown].to_string(index=False, float_format="{:.4g}".format))
    _tell_what_misleads(study, table)
    for status in sorted(set(table.status) - {"ok"}):
        raise UserError(f"{variant} {status}")


def _tell_what_misleads(study: Study, table: pd.DataFrame) -> None:
    """What about the data of one run could mislead, and which of its variants do no better than one label for all."""
    from tsc_lib.analysis.findings import collapse, remarks

    for text in remarks(study.datasets[table.dataset.iloc[0]]):
        print(f"\n{text}")
    for _, row in table.drop_duplicates(["recipe", "runtime"]).iterrows():
        if flaw := collapse(row):
            print(f"\nwarning: {row.recipe} in {row.runtime} {flaw}.")


def _export(options: argparse.Namespace) -> None:
    from tsc_lib.analysis.rows import select_variant
    from tsc_lib.export.write import export

    study, variant = _study(options, "onnxruntime" if options.runtime is None else options.runtime)
    export(study, study.runs[0], variant, options.folder, this_processor_only=options.this_processor_only)
    _tell_what_misleads(study, select_variant(study.results(), variant))
    print(f"{options.folder} holds the model; read {options.folder / 'model_card.md'}")


def _predict(options: argparse.Namespace) -> None:
    from tsc_lib.export.predict import predict
    from tsc_lib.series.csvfile import CsvLayout

    if options.out is not None:
        _check_writable(options.out)
        _check_kept(options.out, [options.file, *options.folder.glob("*")])
        if options.out.resolve().parent == options.folder.resolve():
            raise UserError(f"{options.folder} holds a model and nothing else; write {options.out.name} elsewhere")
    layout = CsvLayout(options.header, options.index_column, options.label_column)
    prediction = predict(
        options.folder,
        options.file,
        layout=layout,
        batch_size=options.batch_size,
        threads=options.threads,
        trust_native_code=options.trust_native_code,
    )
    _write(options.out, prediction.to_csv(), len(prediction.predicted))
    if said := prediction.describe_accuracy():
        print(said, file=sys.stderr)


def _check_writable(path: Path) -> None:
    """Refuse, before any work, what could not be written."""
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a file to write, or none to print")
    folder = path.resolve().parent
    if not (_is_device(path) or (os.access(folder, os.W_OK | os.X_OK) and folder.is_dir())):
        raise UserError(f"cannot write {path}; name a file in a folder that exists and may be written to")


def _check_kept(path: Path, read: Iterable[Path]) -> None:
    """Refuse to write over a file that the command reads, under whatever name."""
    for file in read:
        if path.exists() and file.exists() and path.samefile(file):
            what = "a file that" if path == file else f"the same file as {file}, which"
            raise UserError(f"{path} is {what} is read; name another file to write")


def _write(path: Path | None, table: str, rows: int) -> None:
    """Print a table, or write it to a file whole or not at all; a device or a pipe must not be replaced by a file."""
    if path is None:
        _check_printable(table)
        print(table.rstrip("\n"))
        return
    if _is_device(path):
        path.write_text(table, encoding="utf-8")
    else:
        write_text(path.resolve(), table)  # a link stays one
    print(f"{rows} rows written to {path}")


def _check_printable(table: str) -> None:
    """Refuse to print a table with characters that would be escaped: a label must stay what it is."""
    try:
        table.encode(sys.stdout.encoding)
    except UnicodeEncodeError as error:
        raise UserError(
            f"standard output takes {error.encoding} alone, not {table[error.start]!a}; set PYTHONIOENCODING=utf-8, or "
            "write to a file"
        ) from None


def _is_device(path: Path) -> bool:
    return path.exists() and not path.is_file() and not path.is_dir()


def _microcontroller(options: argparse.Namespace) -> None:
    from tsc_lib.analysis.microcontrollers import list_devices
    from tsc_lib.export.microcontroller import try_on_microcontrollers

    table = try_on_microcontrollers(options.folder, options.cpu, trust_native_code=options.trust_native_code)
    print(table.drop(columns="its own test").to_string(index=False, na_rep="-", float_format="{:.4g}".format))
    for row in table.to_dict("records"):
        print(f"\n{row['processor']}, its own test: {row['its own test']}")
    for row in list_devices().to_dict("records"):
        if row["processor"] in set(table.processor):
            print(
                f"\nmodelled for {row['processor']}: one instruction a cycle, {row['device']} at "
                f"{row['clock, MHz']} MHz and {row['measured power, mW']} mW ({row['source']})"
            )


def _optimize(options: argparse.Namespace) -> None:
    from tsc_lib.core import store
    from tsc_lib.search.optimize import optimize
    from tsc_lib.search.request import SearchRequest

    options.seeds = tuple(options.seeds)
    request = SearchRequest(**{name: getattr(options, name) for name in SearchRequest.__dataclass_fields__})
    store.forget_failures()
    print(optimize(request, options.budget, options.jobs, options.trials, options.output))


def _data(options: argparse.Namespace) -> None:
    from tsc_lib import data
    from tsc_lib.analysis.data_tables import channel_spreads, class_counts
    from tsc_lib.analysis.findings import remarks

    dataset = data.load(data.resolve(options.dataset, scaling=options.scaling, gaps=options.gaps))
    print(data.describe(dataset).T.to_string(header=False))
    print(f"\n{class_counts({dataset.name: dataset}).to_string(index=False)}")
    spreads = channel_spreads(dataset)
    print(f"\n{spreads.to_string(index=False, max_rows=20, float_format='{:.4g}'.format)}")
    for text in remarks(dataset):
        print(f"\n{text}")


def _results(options: argparse.Namespace) -> None:
    from tsc_lib.study import Study

    if options.csv is not None:
        _check_writable(options.csv)
        _check_kept(options.csv, [Path(options.profile)])
    table = Study.open(options.profile).results()
    if options.csv is not None:
        text = table.to_csv(index=False)
    else:
        text = (table if options.all else table[BRIEF]).to_string(index=False, float_format="{:.4g}".format)
    _write(options.csv, text, len(table))
    failed = table[table.status != "ok"]
    if len(failed) == len(table):
        raise UserError(f"none of the {len(table)} rows could be computed; the first one {table.status.iloc[0]}")
    if len(failed):
        print(f"{len(failed)} of {len(table)} rows failed, the first one {failed.status.iloc[0]}", file=sys.stderr)


def _doctor(options: argparse.Namespace) -> None:
    from tsc_lib.benchmark import doctor
    from tsc_lib.core.cpus import describe_cpu_quota
    from tsc_lib.energy import MEANING, EnergyMeter
    from tsc_lib.energy.crosscheck import measure_with_codecarbon

    if quota := describe_cpu_quota():
        print(f"{quota[0].upper()}{quota[1:]}.\n")
    sources = doctor.examine()
    print(sources.drop(columns="why").to_string(index=False, na_rep="-", float_format="{:.4g}".format), end="\n\n")
    for row in sources[sources.why != ""].itertuples():
        print(f"{row.backend}: {row.why}")
    meter = EnergyMeter.auto()
    meaning = MEANING[meter.source.kind]
    print(f"\nUsed for the CPU: {meter.source.backend}, {meter.source.kind}: {meaning.origin}. {meaning.limits}")
    energy, cpu = doctor.measure_noise_floor(meter)
    print("A/A noise floor, one work against itself over a few windows (1 would be without noise):")
    for name, floor in (("energy", energy), ("CPU time", cpu)):
        print(f"  {name:9} {floor.estimate:.4f}  [{floor.low:.4f}, {floor.high:.4f}]")
    if options.crosscheck:
        ours, theirs = measure_with_codecarbon(meter)
        print(f"\nTen seconds of work: {ours.joules:.1f} J by {ours.backend} ({ours.source}),", end=" ")
        print(f"{theirs:.1f} J by CodeCarbon.")


BRIEF = ["dataset", "model", "recipe", "runtime", "seed", "batch_size", "accuracy", "cpu_ratio"]
"""Columns of a results table that are printed unless all are asked for; a ratio is to the uncompressed model."""

COMMANDS = {
    "report": _report,
    "run": _run,
    "export": _export,
    "predict": _predict,
    "microcontroller": _microcontroller,
    "optimize": _optimize,
    "data": _data,
    "results": _results,
    "doctor": _doctor,
}
