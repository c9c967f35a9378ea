"""The published tables in words: each function renders one block of a page."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from tsc_lib.analysis.ablation import without_each
from tsc_lib.analysis.claims import CLAIMS, UNTESTED, judge
from tsc_lib.analysis.findings.study import AGE, name_claim
from tsc_lib.analysis.quantities import average, control_deviations, over_seeds, pool, select_for_claim
from tsc_lib.analysis.references import reference_accuracies
from tsc_lib.analysis.rows import CASE_KEYS, select_batch, select_reference, select_variant
from tsc_lib.analysis.tables import strategy_table
from tsc_lib.analysis.wording import (
    format_estimate,
    format_interval,
    format_number,
    format_range,
    join_items,
    markdown_table,
)
from tsc_lib.compress import Family, Variant
from tsc_lib.core.files import PACKAGE
from tsc_lib.study.schema import COLUMNS

ROOT = PACKAGE.parent

OTHER_RUNS = "other_runs"
"""Folder of the table of `tsc_lib.report.other_runs`."""

STATIC_RATIO, STUDENT_LOST = "static int8: CPU time ÷ fp32 in the same runtime", "student: points lost"
"""What it calls two of its quantities."""

INTEL = "Intel with AMX"
OTHER_PROCESSORS = {"vnni": "AMD with VNNI, earlier code", "avx2": "AMD with AVX2 alone, earlier code"}
"""What pages call the processors of the published study and of other runs."""

ZEROED = Variant.parse("mask(l1, 0.5)", "eager")
REMOVED = Variant.parse("prune(l1, 0.5) > finetune(4)", "eager")
EXECUTED = Variant.parse("baseline", "onnxruntime")
STUDENT = Variant.parse("student(2, 2) > distill(80, 2.0, 0.5, 0.001)", "onnxruntime")
TREATMENTS = {
    "L1 masks on half of the heads and neurons (zeroed weights)": ZEROED,
    "half of them removed (L1), four epochs of fine-tuning": REMOVED,
    "dynamic int8": Variant.parse("int8(dynamic)", "eager"),
    "ONNX Runtime, fp32": EXECUTED,
    "ONNX Runtime, static int8": Variant.parse("int8(static)", "onnxruntime"),
    "inductor, fp32": Variant.parse("baseline", "inductor"),
    "inductor, static int8": Variant.parse("int8(static)", "inductor"),
    "half removed, fine-tuned, static int8 in ONNX Runtime": Variant.parse(
        "prune(l1, 0.5) > finetune(4) > int8(static)", "onnxruntime"
    ),
    "**a distilled student of two layers in ONNX Runtime**": STUDENT,
}
"""The rows of README's table of savings."""


@dataclass(frozen=True)
class Published:
    """The published tables.

    Attributes
    ----------
    folder : Path
        Where they lie.
    """

    folder: Path = ROOT / "outputs" / "published"

    @property
    def exists(self) -> bool:
        """Whether there is one: an installed package has none."""
        return (self.folder / "results.csv").is_file()

    @property
    def notebooks(self) -> list[Path]:
        """The executed notebooks, by name; those of a profile that has a folder of its own stand for the main one's."""
        own, others = (sorted(self.folder.glob(f"{place}notebooks/*.ipynb")) for place in ("", "*/"))
        found = {path.name: path for path in [*own, *others]}
        return [found[name] for name in sorted(found)]

    def read(self, run: str, table: str = "results") -> pd.DataFrame:
        """A table of one of the published runs, "" for the whole study."""
        return pd.read_csv(self.folder / run / f"{table}.csv")

    @cached_property
    def results(self) -> pd.DataFrame:
        """The results of the profile `paper`; no row where there are none."""
        return self.read("") if self.exists else pd.DataFrame(columns=COLUMNS)

    @cached_property
    def other_runs(self) -> pd.DataFrame:
        """Headline numbers of runs on other processors or with more seeds; see `tsc_lib.report.other_runs`."""
        return self.read(OTHER_RUNS).fillna({"runtime": "", "verdict": ""})

    @cached_property
    def strategies(self) -> dict[str, pd.DataFrame]:
        """The strategies at each kind of batch size."""
        return {which: strategy_table(self.results, which) for which in ("large", "small")}

    @cached_property
    def contender_costs(self) -> pd.DataFrame:
        """Costs beside T1 as trained in eager, one session a data set: of ConvTransformer in C, and of classics."""
        table = self.read("classics", "costs")
        return table[table.runtime.isin(["c", "aeon"]) & ~table.model.isin(self.results.model)]

    @cached_property
    def contenders(self) -> pd.DataFrame:
        """Those models with their accuracy (%), a mean over seeds, and their energy in a large batch ÷ that of T1."""
        table = self.read("classics", "accuracies")
        found = 100 * table.groupby(["dataset", "model"], sort=False).accuracy.mean()
        columns = ["energy_ratio", "energy_ratio_low", "energy_ratio_high"]
        return select_batch(self.contender_costs)[["dataset", "model", *columns]].merge(found.reset_index())

    @cached_property
    def claims(self) -> pd.DataFrame:
        """The study's claims, judged by the rules of today."""
        return judge(self.results)


def provenance(published: Published) -> str:
    """Which code and which processor the published tables are of."""
    return _prose(
        f"The numbers on this page are rendered from the tables in `outputs/published`. {AGE}; [Runtimes](runtimes.md) "
        "has today's ratios, like for like."
    )


def models(published: Published) -> str:
    """What the uncompressed models weigh, cost and reach."""
    large = select_reference(select_batch(published.results))
    weights = large.groupby("model").params.mean()
    sizes = join_items(f"{10 * round(weights[model] / 1e4)}" for model in ("T1", "T2"))
    energy = over_seeds(large, CASE_KEYS, means=["energy_mj_per_sample"]).energy_mj_per_sample
    accuracy = {str(name): 100 * average(part, "accuracy") for name, part in large.groupby("dataset", sort=False)}
    first, *others = [f"{value:.0f} % of {{}}{name}" for name, value in accuracy.items()]
    right = join_items([first.format("the test series of "), *(text.format("") for text in others)])
    references = reference_accuracies().groupby("dataset").accuracy.max()
    best = join_items(f"{100 * references[name]:.0f}" for name in accuracy)
    return _prose(
        f"T1 (8 layers of 8 heads) and T2 (12 layers of 16) are small: some {sizes} thousand weights. One inference in "
        f"a large batch takes {energy.min():.2g} to {energy.max():.2g} mJ here, {large.energy_source.iloc[0]} from CPU "
        f"time, and is right for {right} (means of both models). The best published methods reach {best} %, so what is "
        "kept below is the accuracy of the study's models, not the best there is."
    )


def savings(published: Published) -> str:
    """CPU time and accuracy of the study's strategies and of ours."""
    rows = []
    for name, variant in TREATMENTS.items():
        large, small = (select_variant(published.strategies[which], variant) for which in ("large", "small"))
        cells = [share(100 * large.cpu_ratio), share(100 * small.cpu_ratio), _points(large.points_lost)]
        rows.append([name, *(f"**{cell}**" if name.startswith("**") else cell for cell in cells)])
    head = "what is done to the model, or executes it | CPU time left, large batch¹: | single series: | points lost²:"
    sizes = select_batch(published.results).batch_size.unique()
    seeds = published.results.seed.nunique()
    notes = (
        f"¹ *Of the same model's in eager PyTorch, in per cent, by data set and model, geometric means over {seeds} "
        f"seeds; a large batch is {join_items(sizes)} series, about three thousand tokens.* ² *Arithmetic means over "
        f"{seeds} seeds; negative: gained.*"
    )
    return f"{markdown_table(head, rows)}\n\n{_prose(notes)}"


def student(published: Published) -> str:
    """How many times less CPU time the student takes."""
    large, small = (select_variant(published.strategies[which], STUDENT) for which in ("large", "small"))
    least = min(1 / large.cpu_ratio_high.max(), 1 / small.cpu_ratio_high.max())
    return _prose(
        f"It takes {format_range(1 / large.cpu_ratio, 0)} times less CPU time at the large batch and "
        f"{format_range(1 / small.cpu_ratio, 0)} times less for single series; no 95 % interval over the seeds reaches "
        f"below {least:.0f} times."
    )


def contenders(published: Published) -> str:
    """Accuracy and cost of ConvTransformer and of classics, as a table."""
    accuracy = published.contenders.set_index(["dataset", "model"]).accuracy
    rows = []
    for (dataset, model), own in published.contender_costs.groupby(["dataset", "model"], sort=False):
        cells = []
        for which in ("large", "small"):
            [cost] = select_batch(own, which).to_dict("records")
            cells += [f"{1000 * cost['cpu_ms_per_sample']:,.0f}"]
            cells += ["{:.3g} [{:.3g}, {:.3g}]".format(*(cost[f"cpu_ratio{end}"] for end in ("", "_low", "_high")))]
        rows.append([dataset, model, f"{accuracy[dataset, model]:.1f}", *cells])
    head = "data set | model | accuracy, %: | µs, large batch: | ÷ T1: | µs, one series: | ÷ T1:"
    return f"{markdown_table(head, rows)}\n\n" + _prose(
        "Accuracies are means over the seeds in `outputs/published/classics`. Costs are of one session a data set, one "
        "thread: CPU time of a series, and its ratio to that of T1 as trained, in eager, with 95 % intervals. "
        "ConvTransformer is measured as C code; in batches ONNX Runtime may be cheaper."
    )


def seeds(published: Published) -> str:
    """What the student loses over more seeds, and what its teacher is worth."""
    table = published.other_runs
    table = table[(table.run == "seeds") & (table.quantity == STUDENT_LOST)].sort_values("value")
    cases = join_items(
        f"{row.model} on {row.dataset} {signed(format_interval(row.value, row.low, row.high))}"
        for row in table.itertuples()
    )
    taught = without_each(published.results, STUDENT)
    taught = taught.pivot_table("points_lost", CASE_KEYS, "left_out")
    gain = (taught["the teacher"] - taught["nothing"]).rename("gain").dropna().reset_index()
    names = join_items(sorted(gain.model.unique()))
    lost = average(table.drop(columns="seeds"), "value")
    return _prose(
        f"Over {table.seeds.max()} seeds (`{OTHER_RUNS}/results.csv`) its accuracy is "
        f"{format_number(abs(lost))} points {'better' if lost < 0 else 'worse'} than the model's on average over data "
        f"sets and models. Points lost (negative: gained) with 95 % intervals over the seeds: {cases}. "
        "What another test set would add to the doubt is in notebook 06. The teacher is worth "
        f"{signed(format_number(average(gain, 'gain')))} points on average for {names}, within the doubt of "
        f"{published.results.seed.nunique()} seeds."
    )


def claims(published: Published) -> str:
    """The study's claims that could be tested, beside our results."""
    rows = []
    for row in published.claims[published.claims.verdict != UNTESTED].itertuples():
        ours = f"{signed(format_estimate(row, 'ours'))} {row.unit}"
        rows.append([name_claim(row), f"{row.published:g} {row.unit}", ours, row.verdict])
    untested = int((published.claims.verdict == UNTESTED).sum())
    notes = (
        f"Of {len(CLAIMS)} claims, {untested} are on joules: they need a counter and *cannot be tested* on this "
        "machine. A claim on a cost is judged in every runtime by itself; that CPU time is saved, or a value that was "
        "published for other data, is the *same direction* at most. The rules are written down in "
        "`tsc_lib/analysis/claims.py`; [The study's claims](claims.md) has the reason for each verdict."
    )
    return f"{markdown_table('claim | published: | ours: | verdict', rows)}\n\n{_prose(notes)}"


def processors(published: Published) -> str:
    """How much static int8's saving depends on the processor, and how sure a session is."""
    runtimes, table = ["inductor", "onnxruntime"], published.other_runs
    parts = dict(list(select_for_claim(published.results, [Family.STATIC], None).groupby("runtime")))
    ratios = [pool(parts[runtime], "cpu_ratio_to_fp32", geometric=True).interval for runtime in runtimes]
    rows = [[INTEL, "the published study", *(format_interval(*ratio, digits=2) for ratio in ratios)]]
    for run, name in OTHER_PROCESSORS.items():
        own = table[(table.run == run) & (table.quantity == STATIC_RATIO)].set_index("runtime")
        found = own.loc[runtimes].itertuples()
        first = own.iloc[0]
        made = f"{first.date}, `{first.command}`, code {first.code}"
        rows.append([name, made, *(format_interval(each.value, each.low, each.high, 2) for each in found)])
    off = control_deviations(published.results)
    text = (
        "What static int8 costs depends on the processor more than any other verdict. CPU time ÷ fp32 in the same "
        "runtime, large batch, geometric mean over data sets, models and seeds with its 95 % interval over data sets:"
    )
    control = (
        f"Measured against itself at the large batch, a model came within {off.percent.max():.1f} % in all {len(off)} "
        "sessions."
    )
    shown = markdown_table(f"processor | run | {' | '.join(f'{runtime}:' for runtime in runtimes)}", rows)
    return f"{_prose(text)}\n\n{shown}\n\n{_prose(control)}"


def other_runs(published: Published) -> str:
    """Every claim that could be tested, on each processor, from the one table of other runs."""
    table = published.other_runs
    rows = []
    for row in published.claims.dropna(subset="ours").itertuples():
        cells = [f"{signed(format_estimate(row, 'ours'))}, {row.verdict}"]
        for run in OTHER_PROCESSORS:
            own = table[(table.run == run) & (table.quantity == row.claim) & (table.runtime == row.runtime)]
            found = [f"{signed(format_interval(o.value, o.low, o.high))}, {o.verdict}" for o in own.itertuples()]
            cells += found or ["-"]
        rows.append([f"{name_claim(row)}, {row.unit}", *cells])
    names = [name.removesuffix(", earlier code") for name in OTHER_PROCESSORS.values()]
    text = f"The claims on each processor, with 95 % intervals and verdicts; the table is `{OTHER_RUNS}/results.csv`:"
    return f"{_prose(text)}\n\n{markdown_table(' | '.join(['claim', INTEL, *names]), rows)}"


def number_formats(published: Published) -> str:
    """CPU time of every number format in inductor as a share of fp32's; fp32's own in ms."""
    table = published.read("number_formats")
    datasets = list(dict.fromkeys(table.dataset))
    large = table.groupby("dataset").batch_size.max()
    rows = []
    for which in ("1 series", "large batch"):
        part = table[table.batch_size == (table.dataset.map(large) if which == "large batch" else 1)]
        for number_format, cells in part.groupby("format", sort=False):
            own = cells.set_index("dataset").loc[datasets].reset_index()
            rows.append([f"{which}, {number_format}", *(_format_cell(cell) for cell in own.itertuples())])
    batches = ", ".join(f"{large[name]} of {name}" for name in datasets)
    spread = format_range(table.aa_ratio, 2)
    return f"{markdown_table(' | '.join(['', *(f'{name}:' for name in datasets)]), rows)}\n\n" + _prose(
        f"CPU time ÷ that of fp32, trimmed means over {table.blocks.min()} paired blocks of one session a data set, "
        "with 95 % intervals; of fp32 the time itself. In brackets: who computes the products, the compiler (c) or "
        f"the library (l). Large batches are {batches}. The control, fp32 beside itself, was {spread}."
    )


def _format_cell(row: Any) -> str:
    ratio = f"{row.ratio:.2f} [{row.ratio_low:.2f}, {row.ratio_high:.2f}]"
    return f"{f'{row.cpu_ms_per_sample:.3f} ms a series' if row.format == 'fp32' else ratio} ({row.products[0]})"


def _prose(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def signed(text: str) -> str:
    """Numbers with a minus sign in place of a hyphen."""
    return re.sub(r"(?<![\w.])-(?=\d)", "\N{MINUS SIGN}", text)


def share(percent: pd.Series) -> str:
    """A range of shares, with a decimal where all are small."""
    return format_range(percent, 0 if percent.max() >= 5 else 1)


def _points(lost: pd.Series) -> str:
    return "0" if not lost.any() else signed(format_range(lost))
