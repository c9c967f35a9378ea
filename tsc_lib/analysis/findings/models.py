"""Transformers beside classics: what either reaches, costs, and when it is the right choice."""

from __future__ import annotations

import pandas as pd

from tsc_lib.analysis.contenders import TRANSFORMERS, beside_published, cheapest_by_use, find_front
from tsc_lib.analysis.quantities import PERMITTED_LOSS
from tsc_lib.analysis.ranking import LEVEL, Ranking, fewest_datasets
from tsc_lib.analysis.rows import name_batches
from tsc_lib.analysis.wording import bullet_list, format_estimate, format_number, join_items, pluralize

UNMEASURED = "No model was measured."


def models_ranked(ranking: Ranking | None) -> str:
    """What the data sets tell of the models' ranks, and what they cannot."""
    if ranking is None:
        return "There is one model, and nothing to rank."
    models, best = len(ranking.ranks), ranking.ranks.index[0]
    lines = [
        f"**Average ranks** over {pluralize(ranking.datasets, 'data set')}: "
        + join_items(f"{name} {value:.2f}" for name, value in ranking.ranks.items())
        + "."
    ]
    if ranking.datasets < ranking.needed:
        least = ranking.pairs.p.min()
        lines.append(
            f"**{pluralize(ranking.datasets, 'data set').capitalize()} cannot tell {models} models apart.** The "
            f"smallest p-value of a pair is {least:.2g} before Holm's correction; even a model that wins everywhere "
            f"needs {ranking.needed} data sets to stand out among {models}, and {fewest_datasets(2)} beside one other. "
            "What can be told here is what each data set tells by itself."
        )
        return bullet_list(lines)
    apart = ranking.pairs[ranking.pairs.p_holm < LEVEL]
    lines.append(
        f"Wilcoxon with Holm's correction tells {len(apart)} of {pluralize(len(ranking.pairs), 'pair')} apart."
    )
    for pair in ranking.pairs[ranking.pairs["first"] == best].itertuples():
        lines.append(
            f"**{best} beside {pair.second}**: wins {pair.wins}, draws {pair.draws}, loses {pair.losses} of "
            f"{pair.datasets}; {format_number(pair.points)} points on average; p = {pair.p_holm:.2g} after Holm; "
            f"better by more than a point with probability {pair.first_better:.2f}, alike with {pair.alike:.2f}."
        )
    return bullet_list(lines)


def beside_reference(points: pd.DataFrame) -> str:
    """Which models are surely better or worse than the reference, on the same test series."""
    lines = []
    for dataset, part in points.groupby("dataset", sort=False):
        for verdict in ("better", "worse"):
            sure = part[part.verdict == verdict]
            texts = [f"{row.model} {format_estimate(row, 'points')}" for row in sure.itertuples()]
            if texts:
                reference = part.reference.iloc[0]
                lines.append(f"**{dataset}**, surely {verdict} than {reference}, in points: {join_items(texts)}.")
        others = part.model[part.verdict == "not told apart"]
        if len(others):
            lines.append(f"**{dataset}**, not told apart from {part.reference.iloc[0]}: {join_items(others)}.")
    return bullet_list(lines) or "There is one model, and nothing to set beside it."


def accuracy_for_energy(table: pd.DataFrame, reference: str) -> str:
    """The front of each data set and batch, and what the cheapest model costs that is as accurate as the reference."""
    rows = table.dropna(subset="energy_mj_per_sample")
    lines = []
    for (dataset, _), front in find_front(rows).groupby(["dataset", "which"], sort=False) if len(rows) else ():
        part = rows[(rows.dataset == dataset) & (rows.which == front.which.iloc[0])]
        text = f"**{dataset}, {name_batches(part)}**: on the front are {join_items(front.name)}."
        mine = part[part.name == reference]
        if len(mine):
            own = mine.iloc[0]
            best = part[part.accuracy >= own.accuracy].sort_values("energy_mj_per_sample").iloc[0]
            if best["name"] == reference:
                text += f" Nothing that is at least as accurate as {reference} is cheaper."
            else:
                times = own.energy_mj_per_sample / best.energy_mj_per_sample
                text += f" At least as accurate as {reference} and cheapest is {best['name']}, at 1/{times:.1f} of its"
                text += f" energy ({best.accuracy:.1f} against {own.accuracy:.1f} %)."
        lines.append(text)
    unmeasured = table[table.energy_mj_per_sample.isna()].drop_duplicates(["dataset", "name"])
    for dataset, part in unmeasured.groupby("dataset", sort=False):
        lines.append(f"**{dataset}**: accuracy alone, without costs, of {join_items(part.name)}.")
    return bullet_list(lines) or UNMEASURED


def training_or_use(table: pd.DataFrame) -> str:
    """How many classifications pay a dearer training back, on each data set, of models as accurate as the reference."""
    lines = []
    for dataset, part in cheapest_by_use(table).groupby("dataset", sort=False):
        first, *others = part.to_dict("records")
        text = f"**{dataset}**: of models as accurate as the reference, the cheapest to train is {first['name']} "
        text += f"({first['train_cpu_s']:.3g} CPU seconds, accuracy {first['accuracy']:.1f} %)"
        for other in others:
            text += f"; from {other['since']:,.0f} series on {other['name']} costs less in all"
            text += f", at an accuracy of {other['accuracy']:.1f} %"
        if not others:
            text += ", and it stays the cheapest however many series it classifies"
        lines.append(f"{text}.")
    return bullet_list(lines) or "No model's training was timed."


def published(table: pd.DataFrame) -> str:
    """The best that was run here beside the best published, in points."""
    lines = []
    for dataset, part in beside_published(table).groupby("dataset", sort=False):
        own, others = part[part.source == "run here"], part[part.source != "run here"]
        texts = [f"{row.what}: {row.method}, {row.accuracy:.1f} %" for row in own.itertuples()]
        for row in others.itertuples():
            version = f", {row.version}" if row.version else ""
            texts.append(f"{row.what}: {row.method}, {row.accuracy:.1f} % ({row.source}{version})")
        if others.empty:
            texts.append("nothing published is listed here")
        lines.append(f"**{dataset}**: {'; '.join(texts)}.")
    return bullet_list(lines)


def right_choice(table: pd.DataFrame, points: pd.DataFrame) -> str:
    """Which model to take on each data set: for accuracy, for the least energy at that accuracy, for little use."""
    rows = table[table.which == "large"]
    lines = []
    for dataset, part in rows.groupby("dataset", sort=False):
        best = part.loc[part.accuracy.idxmax()]
        text = f"**{dataset}**: the most accurate is {best['name']} ({format_estimate(best, 'accuracy')} %)"
        sure = points[(points.dataset == dataset) & (points.model == best["name"])]
        if len(sure):
            text += {
                "better": f", surely above {sure.reference.iloc[0]}",
                "worse": "",
                "not told apart": f", not told apart from {sure.reference.iloc[0]}",
            }[sure.verdict.iloc[0]]
        near = part[part.accuracy >= best.accuracy - PERMITTED_LOSS].dropna(subset="energy_mj_per_sample")
        if len(near):
            cheap = near.loc[near.energy_mj_per_sample.idxmin()]
            text += f"; the cheapest within {PERMITTED_LOSS:g} point of it is {cheap['name']}"
            text += "" if cheap["name"] == best["name"] else f" ({format_estimate(cheap, 'accuracy')} %)"
            text += f", at {cheap.energy_mj_per_sample:.2g} mJ per series"
            text += "" if cheap.kind in TRANSFORMERS else ", so a transformer is no gain here"
        by_use = cheapest_by_use(table[table.dataset == dataset])
        if len(by_use):
            text += f"; for a few series only, {by_use.name.iloc[0]} takes the least training of what is as accurate"
        lines.append(f"{text}.")
    return bullet_list(lines)
