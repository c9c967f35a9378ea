"""The model card of an exported model: what it is, how good, at what cost, and what it must not be trusted with.

After Mitchell et al., "Model Cards for Model Reporting", FAT* 2019. Every number comes from the study's records.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from tsc_lib.analysis.findings import collapse, remarks
from tsc_lib.analysis.wording import bullet_list, format_estimate, format_number, join_items, markdown_table, pluralize
from tsc_lib.benchmark.host import Host
from tsc_lib.compress import Recipe
from tsc_lib.data import Dataset
from tsc_lib.energy import MEANING
from tsc_lib.export.bundle import CARD, SUMS, Bundle
from tsc_lib.export.card_limits import list_limits, list_limits_of_measurement
from tsc_lib.models.compressed import CompressedModel, Evidence
from tsc_lib.models.transformer import TransformerConfig
from tsc_lib.models.zoo import ConvTransformer, find_architecture
from tsc_lib.runtimes.conversion import Conversion
from tsc_lib.study.evaluation import Evaluation, Exits
from tsc_lib.study.specs import TrainingRun

VALIDATION = {"blocks": "neighbours in it, class by class", "random": "drawn at random, class by class"}

SCALING = {
    "channel": "each channel is standardised by the mean and deviation of the training series, which the folder holds",
    "series": "each series is standardised by its own mean and deviation, channel by channel",
    "none": "series are taken as they are",
}

GAPS = {"refuse": "", "interpolate": "; before that, missing values are interpolated linearly in each channel"}


def model_card(
    bundle: Bundle,
    run: TrainingRun,
    dataset: Dataset,
    config: TransformerConfig,
    evaluation: Evaluation,
    rows: pd.DataFrame,
    reference: pd.DataFrame,
    host: Host,
) -> str:
    """The card as Markdown.

    Parameters
    ----------
    bundle : Bundle
        What is exported.
    run : TrainingRun
        The training behind it.
    dataset : Dataset
        What it was trained and tested on.
    config : TransformerConfig
        Of the model before compression.
    evaluation : Evaluation
        How it classifies the test set, and what its runtime executes.
    rows, reference : DataFrame
        Its rows of the results table, and those of the uncompressed model in eager fp32; one for each batch size.
    host : Host
        The machine it was measured on.
    """
    return _card(
        bundle,
        bullet_list([*_data_and_model(run, dataset, config), *_training(bundle, run, len(dataset.valid) > 0)]),
        evaluation.evidence,
        [
            "## How good it is",
            _quality(bundle, dataset, rows.iloc[0], reference.iloc[0]),
            "## What it costs",
            _cost(bundle, rows, host, evaluation),
        ],
        list_limits(bundle) + remarks(dataset) + list_limits_of_measurement(bundle, rows.iloc[0], host),
    )


def unmeasured_card(bundle: Bundle, run: TrainingRun, model: CompressedModel, validated: bool) -> str:
    """The card of a model that no study tested and measured, as Markdown; it says so.

    `validated` tells whether validation series chose the epoch.
    """
    unknown = (
        "Neither accuracy nor time nor energy was measured when it was exported; `tsc_lib.compare` measures them on a "
        "test set."
    )
    results = ["## How good it is, and what it costs", unknown]
    return _card(bundle, bullet_list(_training(bundle, run, validated)), model.evidence, results, list_limits(bundle))


def _card(bundle: Bundle, made: str, evidence: Sequence[Evidence], results: list[str], limits: list[str]) -> str:
    parts = [
        f"# {bundle.model} for {bundle.dataset}: {bundle.recipe} in {bundle.runtime}",
        _what(bundle, evidence),
        "## How it was made",
        made,
        _steps(evidence),
        *results,
        "## Intended use and limits",
        bullet_list(limits),
        "## How to run it",
        _run(bundle),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _what(bundle: Bundle, evidence: Sequence[Evidence]) -> str:
    chosen = [step.details["input_channels"] for step in evidence if "input_channels" in step.details]
    width = pluralize(bundle.channels, "channel")
    if chosen:
        width += f" (it reads channels {join_items(str(channel + 1) for channel in chosen[-1])}, counted from 1)"
    return (
        f"A transformer that classifies time series. It takes series of {width} and "
        f"{bundle.lengths} time steps, and gives each one of {len(bundle.labels)} labels with a probability for every "
        f"label: {join_items(bundle.labels)}. Its linear layers run in {bundle.number_format}."
    )


def _data_and_model(run: TrainingRun, dataset: Dataset, config: TransformerConfig) -> list[str]:
    size, patch = find_architecture(run.model), config.embedding.patch
    source = f"{run.model} (arXiv:2502.16627)" if run.model in ("T1", "T2") else run.model
    longer = "" if patch == size.patch or not size.patch else f", where {size.patch} fit shorter series"
    filters = ""
    if isinstance(size, ConvTransformer):
        mixed = f", {size.pointwise} weighted sums of them" if size.pointwise else ""
        filters = f", {size.filters} convolution filters of {size.kernel} time steps{mixed}"
    trained, chose = len(dataset.train), len(dataset.valid)
    held_out = f"{chose or 'none'} of the training file were held out for validation"
    held_out += f" ({VALIDATION[run.data.validation]})"
    if run.train.refit and run.train.keep == "best" and chose:
        held_out += " and trained it in the end"
    elif run.train.refit:
        trained, held_out = trained + chose, "none of the training file were held out"
    return [
        f"Data: {_source(run)}; {trained} series trained it, {held_out}, and {len(dataset.test)} of the test file "
        "tested it.",
        f"Model before compression: {source}, {size.layers} layers of {size.heads} heads, "
        f"embedding {size.d_model}, feed-forward {size.d_ff}{filters}, patches of {patch} time steps{longer}.",
    ]


def _training(bundle: Bundle, run: TrainingRun, validated: bool) -> list[str]:
    by_validation = validated and run.train.keep == "best"
    chosen = "the epoch was chosen on the validation series" if by_validation else "the last epoch was kept"
    return [
        f"Training: {run.train}, seed {run.seed}; {chosen}.",
        f"Preprocessing: {SCALING[bundle.scaling.kind]}{GAPS[bundle.gaps]}.",
        f"Recipe: `{bundle.recipe}`. Runtime: {bundle.runtime}, exported with "
        f"{join_items(f'{name} {version}' for name, version in bundle.versions.items())}.",
    ]


def _source(run: TrainingRun) -> str:
    from aeon.datasets.tsc_datasets import tsc_zenodo

    files = f"`{run.data.name}_TRAIN.ts` and `{run.data.name}_TEST.ts`, SHA-256 of both {run.data.sha256}"
    if run.data.name not in tsc_zenodo:
        return f"a data set of one's own, {files}"
    page = f"https://www.timeseriesclassification.com/description.php?Dataset={run.data.name}"
    return f"{run.data.name} of the UCR and UEA archives ({page}) in its default split, {files}"


def _steps(evidence: Sequence[Evidence]) -> str:
    """What every step of the recipe does, and what it changed."""
    rows = []
    for step in evidence:
        sizes = [
            (step.params_before, step.params_after),
            (step.nonzero_before, step.nonzero_after),
            (step.macs_before, step.macs_after),
        ]
        summary = Recipe.parse(step.step).steps[0].summary
        rows.append([f"`{step.step}`: {summary}", *(f"{before:,} → {after:,}" for before, after in sizes)])
    return markdown_table("step | parameters: | not zero: | MACs per series:", rows) if rows else ""


def _quality(bundle: Bundle, dataset: Dataset, row: pd.Series, reference: pd.Series) -> str:
    count, copies = len(bundle.labels), int(row.test_in_train)
    unseen = [format_number(of.accuracy_unseen, 4) for of in (row, reference)]
    text = markdown_table(
        "| this model: | uncompressed, eager fp32:",
        [
            ["accuracy", *(format_estimate(of, "accuracy", 4) for of in (row, reference))],
            *([["accuracy without copies of training series", *unseen]] if 0 < copies < len(dataset.test) else []),
            ["points of accuracy lost", format_estimate(row, "accuracy_drop", 2), ""],
            ["macro F1", format_number(row.f1_macro, 4), format_number(reference.f1_macro, 4)],
            ["classes predicted", *(f"{of.classes_predicted:.0f} of {count}" for of in (row, reference))],
        ],
    )
    flaw, tested = collapse(row), len(dataset.test)
    part = "which took no part in training or selection"
    if copies:
        others = tested - copies
        rest = f"the other {others} took no part in training" if others else "there are no others to test with"
        part = f"of which {copies} are copies of training series; {rest}"
    return (
        (f"**Do not use it as it is: it {flaw}.**\n\n" if flaw else "")
        + f"{text}\n\nOn the {tested} series of the test file, {part}. "
        "Brackets are 95 % intervals over test series: Wilson's for the accuracy, a paired bootstrap for the points "
        "lost. They do not cover what another seed or another split would change."
        + (
            " This model was trained further, and the uncompressed one was not."
            if Recipe.parse(bundle.recipe).is_tuned
            else ""
        )
    )


def _cost(bundle: Bundle, rows: pd.DataFrame, host: Host, evaluation: Evaluation) -> str:
    first = rows.iloc[0]
    sizes = (
        f"{first.model_bytes:,.0f} bytes of weights as executed, {first.params:,.0f} parameters "
        f"({first.nonzero_params:,.0f} not zero), {first.macs:,.0f} multiply-accumulates for a series of the training "
        f"data's median length; {executed(evaluation.conversion)}.{footprint(evaluation.conversion)}"
    )
    cells = [
        [
            f"{row.batch_size}",
            f"{row.cpu_ms_per_sample:.4g}",
            format_estimate(row, "cpu_ratio", 3),
            f"{row.latency_p50_ms:.4g} / {row.latency_p95_ms:.4g}",
            _energy(row),
            format_estimate(row, "aa_ratio", 3),
        ]
        for row in rows.itertuples()
    ]
    head = (
        "batch size | CPU ms per series: | ÷ uncompressed eager fp32: | call p50 / p95, ms: | "
        f"energy per series, mJ ({first.energy_source}): | A/A control:"
    )
    warnings = "".join(f" Warning: {text}." for text in sorted(set(rows.energy_warning.dropna()) - {""}))
    libraries = join_items(f"{name} {version}" for name, version in host.versions.items())
    return (
        f"{sizes}\n\n{_exits(evaluation.exits)}{markdown_table(head, cells)}\n\n"
        f"Measured on {host.date[:10]} on {host.cpu_model} ({host.system}), "
        f"{pluralize(bundle.threads, 'thread')}, with Python {host.python} and {libraries}. Ratios are paired, with "
        "95 % intervals over blocks, and below 1 where this model is cheaper. The A/A control is the uncompressed "
        "model against itself: how far it is from 1 is what the session cannot tell apart.\n\n"
        f"Energy is {first.energy_source} ({first.energy_backend}); brackets are the bounds of that source. "
        f"It is {MEANING[first.energy_source].origin}. {MEANING[first.energy_source].limits}{warnings}"
    )


def executed(conversion: Conversion) -> str:
    """How many linear layers run in which number format."""
    counts = {"bf16": conversion.bf16_ops, "fp32": conversion.fp32_ops}
    others = [f"{count} in {kind}" for kind, count in counts.items() if count is not None]
    text = f"{conversion.int8_ops} linear layers run in {join_items(['int8', *others])}"
    makers = {"library": "PyTorch's library", "compiler": "the compiler's own loops"}
    choices = [f"{makers[each.faster]} for {each.series} series a call" for each in conversion.products or ()]
    return f"{text}; the faster of two makers computes their products, {join_items(choices)}" if choices else text


def footprint(conversion: Conversion) -> str:
    """What a program without a runtime takes; nothing for other models."""
    if conversion.flash_bytes is None:
        return ""
    stack = f", and {conversion.stack_bytes:,} bytes of stack" if conversion.stack_bytes is not None else ""
    return (
        " As a program, compiled with -O2 -DMODEL_SMALL for the machine that exported it: "
        f"{conversion.flash_bytes:,} bytes of flash (code, weights and constants), {conversion.ram_bytes:,} bytes of "
        f"RAM that the caller gives{stack}."
    )


def _exits(exits: Exits | None) -> str:
    """Where series leave; nothing for a model without early exits."""
    if exits is None:
        return ""
    places = zip(exits.layers, exits.left, exits.macs, strict=True)
    leaves = join_items(f"{share:.1%} after layer {layers} ({macs:,})" for layers, share, macs in places)
    return (
        f"That is the mean over the test series, which leave the network at different places: {leaves}. The 95th "
        f"percentile is {exits.macs_p95:,}, the worst {exits.macs_worst:,}. A call takes as long as its series "
        "need, so its time depends on them.\n\n"
    )


def _energy(row: Any) -> str:
    if pd.isna(row.energy_mj_per_sample):
        return "unknown"
    low, high = row.energy_low_mj_per_sample, row.energy_high_mj_per_sample
    return f"{row.energy_mj_per_sample:.4g} [{low:.4g}, {high:.4g}]"


def _run(bundle: Bundle) -> str:
    return (
        "```sh\npip install TSC_LIB -r FOLDER/requirements.txt\n"
        "python -m tsc_lib predict FOLDER FILE --out predictions.csv\n```\n\n"
        "`TSC_LIB` is the source of tsc_lib, `FOLDER` is this folder, and `FILE` holds series as `.ts`, `.csv` (one "
        "series in each line) or `.npz` (an array `x` of shape series × channels × length). "
        f"`{SUMS}` covers every file here, `{CARD}` included: edited files are refused."
    )
