"""The first page's answer: what was found on the study's data sets, whether to trust it, and the figure of it."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from tsc_lib import figures
from tsc_lib.analysis.claims import UNTESTED
from tsc_lib.analysis.quantities import average_ratio, control_deviations, percent_saved, pool, select_for_claim
from tsc_lib.analysis.rows import annotate, select_variant
from tsc_lib.analysis.wording import bullet_list, format_gain, format_range, join_items
from tsc_lib.compress import REFERENCE, Family
from tsc_lib.report.archive_page import summarize_archive
from tsc_lib.report.published import EXECUTED, REMOVED, STUDENT, TREATMENTS, ZEROED, Published, share, signed

SHOWN = [variant for variant in TREATMENTS.values() if variant.runtime != "inductor"]
"""What the figure shows beside the models as trained. The published rows of inductor do not describe today's code."""

OURS, CLASSIC = "ConvTransformer", "QUANT"

LABELS = {REFERENCE.label: "as trained", STUDENT.label: "student", OURS: OURS}
"""The points that have a name in the figure."""

PAPER = "https://arxiv.org/abs/2502.16627"


def describe_study() -> str:
    """Which study this is, and what T1 and T2 are."""
    return (
        "This project reproduces *Energy-Efficient Transformer Inference: Optimization Strategies for Time Series "
        f"Classification* by Kermani, Zeraatkar and Irani (2025, [arXiv 2502.16627]({PAPER})). It has two "
        "transformers. **T1** has 8 layers of 8 attention heads, **T2** has 12 layers of 16; both cut a series into "
        "pieces of 8 time steps and describe each by 32 numbers. A *student* is a transformer of two layers that "
        "learned from one of them."
    )


def find_results(published: Published) -> dict[str, str]:
    """What was found and whether to trust it: sentences by what they are about, every number from the tables."""
    table = published.strategies["large"]
    removed, masks, runtime, student = (
        select_variant(table, variant) for variant in (REMOVED, ZEROED, EXECUTED, STUDENT)
    )
    static = select_for_claim(published.results, [Family.STATIC], None)
    static = pool(static[static.runtime == EXECUTED.runtime], "cpu_ratio_to_fp32", geometric=True).interval
    saved = percent_saved(average_ratio(masks, "energy_ratio"))
    ours, classic = (published.contenders.query("model == @name").set_index("dataset") for name in (OURS, CLASSIC))
    noise = control_deviations(published.results).percent.max()
    untested = int((published.claims.verdict == UNTESTED).sum())
    needed, alone = (share(100 * part.energy_ratio) for part in (removed, runtime))
    less, lost = signed(f"{percent_saved(static.estimate):.0f}"), format_range(masks.points_lost, 0)
    worst, best = (signed(f"{-points:+.1f}") for points in (student.points_lost.max(), student.points_lost.min()))
    return {
        "the study's strategies": (
            "**Structure and the runtime save energy; number formats hardly do.** On "
            f"{join_items(published.results.dataset.unique())}, T1 and T2 with half of their heads and neurons "
            f"removed, trained for four epochs more, need {needed} % of the energy; in ONNX Runtime as trained, "
            f"{alone} %, of which static int8 saves another {less} %. Weights that are only set to zero save "
            f"{saved:.0f} % and cost {lost} points of accuracy."
        ),
        "the student": (
            "**A small transformer saves most.** A student of two layers in ONNX Runtime needs "
            f"{format_range(1 / student.energy_ratio, 0)} times less energy than the model that taught it, at "
            f"{worst} to {best} points of accuracy. {OURS}, this project's own model, as C code needs "
            f"{format_range(1 / ours.energy_ratio, 0)} times less than T1, and is "
            f"{format_gain(points_ahead(published, OURS, 'T1'))}. {CLASSIC}, a classic classifier, is "
            f"{format_gain(points_ahead(published, CLASSIC, OURS))} still, at "
            f"{format_range(classic.energy_ratio / ours.energy_ratio, 0)} times its energy; "
            f"{summarize_archive(published)}."
        ),
        "trust": (
            f"**Trust the ratios, not the joules.** Ratios are paired, over {published.results.seed.nunique()} seeds; "
            f"a model against itself differs by at most {noise:.1f} %. Energy is *{table.energy_source.iloc[0]}* from "
            f"CPU time on a shared virtual machine, so {untested} claims on energy stay untested."
        ),
    }


def answer(published: Published) -> str:
    """The three answers of the first page, as a list."""
    return bullet_list(find_results(published).values())


def points_ahead(published: Published, model: str, other: str) -> pd.Series:
    """Points of accuracy by which a model is ahead of another on each data set, means over the seeds."""
    trained = select_variant(published.strategies["large"], REFERENCE)
    accuracy = pd.concat([published.contenders, trained]).pivot_table("accuracy", "dataset", "model")
    return accuracy[model] - accuracy[other]


def draw_hero(published: Published) -> tuple[Figure, pd.DataFrame]:
    """The first page's figure and the rows that it shows."""
    table = published.strategies["large"]
    shown = pd.concat([select_variant(table, variant) for variant in [REFERENCE, *SHOWN]])
    ours = published.contenders.query("model == @OURS")
    less, gain = format_range(1 / ours.energy_ratio, 0), format_gain(points_ahead(published, OURS, "T1"))
    title = f"{OURS}: {less} times less energy than T1, {gain}"
    figure = figures.accuracy_against_saving(shown, published.contenders, LABELS, title)
    return figure, annotate(shown)


def show_hero(picture: str) -> str:
    """The figure and what it shows, in Markdown."""
    return (
        f"![Accuracy against times less energy per inference: one panel for each data set]({picture})\n\n"
        "*Each coloured point is a strategy at a large batch, mean over three seeds with 95 % intervals; up is more "
        "accurate, right needs less energy. Energy is estimated from CPU time and set against the same model as "
        "trained, in PyTorch, in the same session. Black marks are other models beside T1, in sessions on another "
        "processor: "
        f"{OURS} as C code, five seeds, and classics.*"
    )
