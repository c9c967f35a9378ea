"""Figures of the comparison of runtimes: colours are runtimes, markers and lines number formats."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tsc_lib.analysis.rows import CASE_KEYS, drop_failures
from tsc_lib.analysis.runtime_tables import (
    EXECUTION_KEYS,
    beside_fp32,
    effective_rates,
    one_thread,
    speed_up_by_threads,
)
from tsc_lib.figures import draw
from tsc_lib.figures.palette import QUIET, SEQUENCE, Looks
from tsc_lib.figures.scales import plain_log

RUNTIME_COLOURS = {
    "eager": "#222222",
    **dict(zip(("inductor", "onnxruntime", "openvino", "c"), SEQUENCE, strict=False)),
}
FORMAT_LOOKS: dict[str, tuple[str, Any]] = {
    "fp32": ("o", "-"),
    "bf16": ("D", "-."),
    "int8 dynamic": ("v", ":"),
    "int8 static": ("^", "--"),
    "int8 weights": ("s", (0, (5, 1))),
    "int4 weights": ("p", (0, (3, 1, 1, 1, 1, 1))),
}
"""Marker and line of every number format."""

PEAK_LINES = {"fp32": "-", "bf16": "-.", "int8": "--"}
EMPTY = "this profile compares no runtimes"


@draw.with_style
def runtime_cost(table: pd.DataFrame) -> Figure:
    """CPU time of every runtime and number format relative to eager fp32, by batch size, on one thread.

    Parameters
    ----------
    table : DataFrame
        Of `tsc_lib.study.runtime_comparison.RuntimeComparison.table`.

    Returns
    -------
    Figure
        One column of panels per runtime, one row per data set and model, one named line per number format; 95 %
        intervals of the paired ratios, over blocks.
    """
    rows = one_thread(table)
    return _by_batch(rows, "cpu_ratio", "CPU time ÷ eager fp32", _say_least(rows))


@draw.with_style
def int8_beside_fp32(table: pd.DataFrame) -> Figure:
    """CPU time of int8 relative to fp32 in the same runtime, by batch size, on one thread; above 1 int8 loses."""
    rows = beside_fp32(table)
    message = f"Int8 takes more CPU time than fp32 in {int((rows.fp32_ratio > 1).sum())} of {len(rows)} comparisons"
    return _by_batch(rows, "fp32_ratio", "CPU time ÷ fp32,\nsame runtime", message)


@draw.with_style
def second_thread(table: pd.DataFrame) -> Figure:
    """How many times shorter a call becomes with the most threads, by batch size; medians of separate sessions."""
    rows = speed_up_by_threads(table)
    if rows.empty:
        return draw.empty_figure("this profile measures one number of threads")
    most = f"{rows.threads.max():g} threads shorten a call by at most {rows.speed_up.max():.1f} times"
    return _by_batch(rows, "speed_up", f"latency, 1 thread ÷ {rows.threads.max():g}", most, logarithmic=False)


def _say_least(rows: pd.DataFrame) -> str:
    if rows.cpu_ratio.dropna().empty:
        return ""
    best = rows.loc[rows.cpu_ratio.idxmin()]
    return f"{best.runtime} in {best.number_format} needs least: 1/{1 / best.cpu_ratio:.0f} of eager fp32's CPU time"


def _by_batch(rows: pd.DataFrame, value: str, title: str, message: str, *, logarithmic: bool = True) -> Figure:
    """Small multiples: a column for every runtime, a row for every data set and model, a line for every format."""
    if rows.empty:
        return draw.empty_figure(EMPTY)
    lines = {case: f"{case[0]}, {case[1]}\n{title}" for case in rows.groupby(CASE_KEYS, sort=False).groups}
    sizes = draw.unique(rows.batch_size)
    fig, cells = draw.grid(draw.unique(rows.runtime), lines, 2.2, xlabel="series per call", sharey=True, sharex=True)
    for ax, runtime, case in cells:
        draw.guide(ax, y=1)
        ax.set_xscale("log", base=2)
        ax.set_xticks(sizes, [f"{size:g}" for size in sizes], fontsize=7)
        ax.set_xlim(0.7 * min(sizes), max(sizes) * 6)  # room for the lines' names
        part = draw.select_case(rows[rows.runtime == runtime], *case)
        for number_format, line in part.groupby("number_format", sort=False):
            marker, style = FORMAT_LOOKS[number_format]
            looks: Looks = {"color": RUNTIME_COLOURS[runtime], "marker": marker, "markersize": 4.5}
            draw.mark_means(ax, line, value, line.batch_size, **looks)
            ax.plot(line.batch_size, line[value], linestyle=style, color=RUNTIME_COLOURS[runtime], linewidth=1.1)
    if logarithmic:
        cells[0][0].set_yscale("log", base=2)
        cells[0][0].yaxis.set_major_formatter("{x:g}")
    fig.draw_without_rendering()  # settles the scale by which names are kept apart
    for ax, runtime, case in cells:
        part = draw.select_case(rows[rows.runtime == runtime], *case)
        draw.name_lines(ax, {name: line.iloc[-1] for name, line in part.groupby("number_format")}, "batch_size", value)
    draw.say(fig, message)
    return fig


@draw.with_style
def latency_distribution(latencies: pd.DataFrame, formats: pd.DataFrame) -> Figure:
    """How long single calls take at the smallest batch, on one thread: wall time, from its middle to its tail.

    Parameters
    ----------
    latencies : DataFrame
        Of `RuntimeComparison.latencies`.
    formats : DataFrame
        The comparison's table, for the names of number formats.

    Returns
    -------
    Figure
        For each variant a thick line from the 25th to the 75th percentile, a thin one from the 1st to the 99th, a mark
        at the median and ticks at the 95th and the 99th.
    """
    if latencies.empty:
        return draw.empty_figure(EMPTY)
    rows = one_thread(latencies).merge(formats[["recipe", *EXECUTION_KEYS]].drop_duplicates(), on=["recipe", "runtime"])
    fig, panels = _lines_by_kind(rows, "wall time of a call, ms")
    for ax, lines in panels:
        for y, runtime, part in lines:
            _distribution(ax, y, part.set_index("percentile").latency_ms, RUNTIME_COLOURS[runtime])
        plain_log(ax)
    texts = {"o": "median (thick: 25 to 75 %)", "|": "95th and 99th percentile (thin: from the 1st)"}
    draw.legend_below(fig, [draw.handle(color=QUIET, marker=marker, label=text) for marker, text in texts.items()])
    return fig


def _lines_by_kind(
    rows: pd.DataFrame, xlabel: str, **options: Any
) -> tuple[Figure, list[tuple[Axes, list[tuple[int, str, pd.DataFrame]]]]]:
    """Panels with a named line for every runtime and number format: each panel's heights, runtimes and rows."""
    kinds = list(rows.groupby(EXECUTION_KEYS, sort=False).groups)
    fig, cells = draw.case_grid(rows, "", 0.24 * len(kinds) + 0.7, xlabel=xlabel, sharey=True, **options)
    panels = []
    for ax, _, _, part in cells:
        groups = dict(list(part.groupby(EXECUTION_KEYS, sort=False)))
        panels.append((ax, [(y, kind[0], groups[kind]) for y, kind in enumerate(kinds) if kind in groups]))
    draw.name_rows(cells[0][0], [", ".join(kind) for kind in kinds])
    return fig, panels


def _distribution(ax: Axes, y: float, at: pd.Series, colour: str) -> None:
    ax.hlines(y, at[1], at[99], color=colour, linewidth=0.9)
    ax.hlines(y, at[25], at[75], color=colour, linewidth=3.5)
    ax.plot(at[50], y, "o", color=colour, markersize=5)
    ax.plot([at[95], at[99]], [y, y], "|", color=colour, markersize=8)


@draw.with_style
def effective_rate(table: pd.DataFrame, peaks: pd.DataFrame) -> Figure:
    """The uncompressed model's arithmetic over the CPU time of each runtime, beside what the core computes at most.

    Parameters
    ----------
    table : DataFrame
        Of `RuntimeComparison.table`.
    peaks : DataFrame
        Of `RuntimeComparison.peaks`.

    Returns
    -------
    Figure
        One point per runtime and number format at the largest batch, one thread; lines are the measured peaks, which
        may be ten times apart.
    """
    rows = effective_rates(table)
    if rows.empty:
        return draw.empty_figure(EMPTY)
    fig, panels = _lines_by_kind(rows, "GFLOP/s of CPU time", sharex=True)
    known = peaks.dropna(subset="gflops")
    for ax, lines in panels:
        for y, runtime, part in lines:
            ax.hlines(y, part.gflops_low, part.gflops_high, color=QUIET, linewidth=1.5)
            ax.plot(part.gflops, [y] * len(part), "o", color=RUNTIME_COLOURS[runtime], markersize=6)
        for peak in known.itertuples():
            draw.guide(ax, x=peak.gflops, linestyle=PEAK_LINES[peak.number_format], linewidth=1.2)
        plain_log(ax)
    entries = [
        draw.handle(color=QUIET, marker="", linestyle=PEAK_LINES[p.number_format], label=f"peak, {p.number_format}")
        for p in known.itertuples()
    ]
    draw.legend_below(fig, [*entries, draw.handle(color=QUIET, marker="_", markersize=10, label="95 % interval")])
    return fig


@draw.with_style
def operator_shares(table: pd.DataFrame) -> Figure:
    """What part of its time the uncompressed model spends in each kind of operator, in the runtime that tells.

    Parameters
    ----------
    table : DataFrame
        Of `tsc_lib.study.operator_shares.operator_table`.

    Returns
    -------
    Figure
        One bar per kind with its 95 % interval over sweeps; beside products the rate of their arithmetic.
    """
    rows = drop_failures(table)
    if rows.empty:
        return draw.empty_figure("no runtime tells the time of its operators")
    kinds = draw.unique(rows.kind)
    fig, cells = draw.case_grid(rows, "", 1.9, xlabel="% of the time", sharey=True, sharex=True)
    for ax, _, _, part in cells:
        part = part.set_index("kind").reindex(kinds)
        ax.barh(range(len(kinds)), part.share, 0.6, color=RUNTIME_COLOURS[rows.runtime.iloc[0]])
        ax.hlines(range(len(kinds)), part.share_low, part.share_high, color=QUIET, linewidth=1.5)
        for y, (end, rate) in enumerate(zip(part.share_high, part.gflops, strict=True)):
            if pd.notna(rate):  # a product
                ax.text(end + 1.5, y, f"{rate:.{0 if rate >= 10 else 1}f} GFLOP/s", va="center", fontsize=8)
        ax.set_xlim(0, 1.45 * rows.share_high.max())
        ax.grid(axis="y", visible=False)
    draw.name_rows(cells[0][0], kinds)
    return fig
