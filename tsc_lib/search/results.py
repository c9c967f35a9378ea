"""What a search leaves: its pick, the front as text, and what all finished searches found as one table."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tsc_lib import runtimes
from tsc_lib.compress import REFERENCE, Variant
from tsc_lib.core import store
from tsc_lib.core.files import Json, read_json
from tsc_lib.search.finalists import settings_of_session
from tsc_lib.search.promise import MEANINGS, Promise
from tsc_lib.search.trials import Search
from tsc_lib.study import Study, stages
from tsc_lib.study.schema import qualities
from tsc_lib.study.sections import DataChoice
from tsc_lib.training import find_train_spec
from tsc_lib.training.settings import parse_settings

SHOWN = {
    "recipe": "recipe",
    "runtime": "runtime",
    "cost": "cost",
    "cpu_ratio_large": "CPU, large",
    "cpu_ratio_batch_1": "CPU, one",
    "drop": "lost",
    "error": "±",
    "expected_drop": "expected",
    "verdict": "verdict",
}


SCORES = ("accuracy", "accuracy_unseen", "test_in_train", "accuracy_drop", "accuracy_drop_low", "accuracy_drop_high")
"""Columns of the study's table of results that a search has too."""

PICKED = ("dataset", "model", "objective", "recipe", "runtime", "cost")
"""What a table says of a pick."""

NO_PROMISE = "no promise: no folds were asked for, or too few training series could be kept apart for one"


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes
    ----------
    search : Search
        What was searched for.
    table : DataFrame
        The measured finalists, the best first, as ``front.csv`` holds them; the front is marked.
    promise : Promise or None
        What may be lost with the best; None if no fold was asked for, or too few could be judged.
    scores : DataFrame
        Of the best, as `read_test_scores` returns them.
    folder : Path
        Where ``trials.csv``, ``front.csv`` and ``pick.json`` are.
    """

    search: Search
    table: pd.DataFrame
    promise: Promise | None
    scores: pd.DataFrame
    folder: Path

    @property
    def pick(self) -> pd.Series:
        """The row of the best."""
        return self.table.iloc[0]

    @property
    def variant(self) -> Variant:
        """The best."""
        return Variant.parse(self.pick.recipe, self.pick.runtime)

    def study(self) -> Study:
        """The study of the best beside the uncompressed model, measured as finalists are, for `export`."""
        request, run = self.search.request, self.search.runs[0]
        choice = DataChoice(request.dataset, run.data.scaling, run.data.gaps)
        train = parse_settings(run.train.write_changes(find_train_spec(run.model)))
        settings = settings_of_session(self.search.spec.batch_sizes)
        return Study.of_variant(choice, run.model, run.seed, train, self.variant, settings)

    @property
    def export_command(self) -> str:
        """The command that exports it."""
        run = self.search.runs[0]
        options = {"--dataset": self.search.request.dataset, "--scaling": run.data.scaling, "--gaps": run.data.gaps}
        options |= {"--model": run.model, "--recipe": self.pick.recipe, "--runtime": self.pick.runtime}
        options |= {"--seed": str(run.seed)}
        command = ["python", "-m", "tsc_lib", "export", f"{run.data.name}-{run.model}-small"]
        command += [word for option in options.items() for word in option]
        if self.pick.runtime in runtimes.NATIVE:
            command.append("--this-processor-only")
        if changes := run.train.write_changes(find_train_spec(run.model)):
            command += ["--train", *changes]
        return shlex.join([*command, "--batch-sizes", *map(str, self.search.spec.batch_sizes)])

    def to_json(self) -> Json:
        """As ``pick.json`` holds it."""
        return {
            "search": self.search.spec.to_json(),
            "pick": json.loads(self.pick.to_json(double_precision=15)),
            "promise": dataclasses.asdict(self.promise) if self.promise else None,
            "meaning": f"{self.pick.recipe} {MEANINGS[self.promise.verdict]}" if self.promise else NO_PROMISE,
            "export": self.export_command,
            "test_score": self.scores.to_dict("records"),
        }

    def __str__(self) -> str:
        """The front, cheapest first; and the pick: what it saves, its promise, its test score, how to ship it."""
        front = self.table[self.table.front].sort_values("cost")[list(SHOWN)].rename(columns=SHOWN)
        pick, score, spec = self.pick, self.scores.mean(), self.search.spec
        copies = f" ({score.accuracy_unseen:.3f} without {score.test_in_train:.0f} copies of training series)"
        return (
            f"{front.to_string(index=False, float_format='{:.3g}'.format)}\n\n"
            f"Pick: {pick.recipe} in {pick.runtime}\n"
            f"  1/{1 / pick.cost:.1f} of the uncompressed model's {spec.objective} in eager PyTorch\n"
            f"  {spec.max_drop:g} points may be lost against the uncompressed model with the same further training\n"
            f"  chosen by {pick['drop']:.1f} ± {pick.error:.1f} points lost on validation, which promise nothing\n"
            f"  {self.promise or NO_PROMISE}\n"
            f"  test score, which decided nothing: accuracy {score.accuracy:.3f}"
            f"{copies if score.test_in_train else ''}, {score.accuracy_drop:.1f} points lost\n"
            f"  (uncompressed: {score.reference_accuracy:.3f}, and {score.plain_accuracy:.3f} without further training)"
            "\n\n"
            f"  {self.export_command}\n\n{self.folder} holds front.csv, trials.csv and pick.json"
        )


def read_test_scores(search: Search, pick: pd.Series) -> pd.DataFrame:
    """`SCORES` of a finalist for each seed, on the test set, which is read for the pick alone and decides nothing.

    Points are lost against the uncompressed model with the pick's further training; ``reference_accuracy`` is that
    model's, and ``plain_accuracy`` what it had before.
    """
    variant, copies, rows = Variant.parse(pick.recipe, pick.runtime), search.dataset.facts.test_in_train, []
    for run in search.runs:
        variants = (variant, search.reference(run, variant.recipe.training), REFERENCE)
        own, reference, plain = (stages.evaluate(run, each) for each in variants)
        found = qualities(own, reference, copies)
        accuracies = {"reference_accuracy": reference.correct.mean(), "plain_accuracy": plain.correct.mean()}
        rows.append({"seed": run.seed} | {name: found[name] for name in SCORES} | accuracies)
    return pd.DataFrame(rows)


def load_promises(datasets: Container[str]) -> pd.DataFrame:
    """One row for the pick of every finished search under the outputs, with what was promised and what came of it.

    Parameters
    ----------
    datasets : container of str
        Names of the data sets whose searches are wanted.

    Returns
    -------
    DataFrame
        Columns dataset, model, objective, recipe, runtime, cost; the fields of a `Promise`, empty where there is none;
        and test_drop, points lost on the test set, the mean over seeds.
    """
    found = [read_json(path) for path in sorted((store.OUTPUTS / "search").glob("*/pick.json"))]
    rows = [promise_row(each) for each in found if each["pick"]["dataset"] in datasets and "promise" in each]
    columns = [*PICKED, *(field.name for field in dataclasses.fields(Promise)), "test_drop"]
    return pd.DataFrame(rows, columns=columns)


def promise_row(pick: Json) -> Json:
    """The row of `load_promises` for a search, from the content of its ``pick.json``."""
    lost = [score["accuracy_drop"] for score in pick["test_score"]]
    named = {name: pick["pick"][name] for name in PICKED}
    return named | (pick["promise"] or {}) | {"test_drop": sum(lost) / len(lost)}


def load_searches(datasets: Container[str]) -> pd.DataFrame:
    """One row for every trained recipe of the finished searches under the outputs; empty if there are none.

    Of several searches for the same objective on the same data set and model the latest counts.

    Parameters
    ----------
    datasets : container of str
        Names of the data sets whose searches are wanted.

    Returns
    -------
    DataFrame
        The columns of ``trials.csv``: dataset, model, objective, the fields of a `TrainedRecipe`, expected_drop,
        expected_error, verdict, front, and measured (in a session, not by the short benchmark).
    """
    found = sorted((store.OUTPUTS / "search").glob("*/trials.csv"), key=lambda path: path.stat().st_mtime)
    tables = [pd.read_csv(path) for path in found]
    latest = {(*table.loc[0, ["dataset", "model", "objective"]],): table for table in tables}
    wanted = [latest[key] for key in sorted(latest) if key[0] in datasets]
    return pd.concat(wanted, ignore_index=True) if wanted else pd.DataFrame()
