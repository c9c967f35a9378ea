"""A whole study: the runs and variants of a profile, run or loaded, as tidy tables."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cached_property
from typing import Self

import numpy as np
import pandas as pd

from tsc_lib.benchmark import BenchmarkSettings, Role
from tsc_lib.benchmark.place import find_place
from tsc_lib.compress import REFERENCE, Variant
from tsc_lib.compress.survivors import find_survivors
from tsc_lib.core.html import view
from tsc_lib.core.stats import crossed_mean_interval
from tsc_lib.core.store import StageFailed
from tsc_lib.models.zoo import find_architecture
from tsc_lib.study import rows as result_rows
from tsc_lib.study.evaluation import Evaluation
from tsc_lib.study.profiles import Profile
from tsc_lib.study.runs import Runs
from tsc_lib.study.schema import COLUMNS, EVIDENCE
from tsc_lib.study.sections import DataChoice
from tsc_lib.study.specs import TrainingRun

logger = logging.getLogger(__name__)


class Study(Runs):
    """What a profile asks for; everything is computed when it is asked for, once, and loaded after that.

    Parameters
    ----------
    profile : Profile
        Data sets, models, seeds, variants and settings.
    only : str, optional
        The one of its data sets that is looked at, so that no other is read.

    Raises
    ------
    UserError
        If the profile names an unknown model, recipe or runtime, or a data set that cannot be found.
    """

    @classmethod
    def of_variant(
        cls,
        choice: DataChoice,
        model: str,
        seed: int,
        train: Mapping[str, object],
        variant: Variant,
        benchmark: BenchmarkSettings,
    ) -> Self:
        """The study of a variant beside the uncompressed model, as the command line and a search's pick need it.

        `train` has the settings of the training that are not the model's own.
        """
        profile = Profile(
            name="run",
            datasets=(choice,),
            models=(model,),
            seeds=(seed,),
            train=dict(train),
            variants={str(variant.recipe): (variant.runtime,)},
            benchmark=benchmark,
        )
        return cls(profile)

    def _repr_html_(self) -> str:
        missing = [run.label for run in self.runs if not self.is_done(run)]
        named = ", ".join(missing[:6]) + (" and others" if len(missing) > 6 else "")
        rows = [
            ("data sets", ", ".join(choice.name for choice in self.profile.datasets)),
            ("models", ", ".join(self.profile.models)),
            ("seeds", self.profile.describe_seeds()),
            ("trained models", len(self.runs)),
            ("variants of each", len(self.variants)),
            ("measured with all variants", len(self.runs) - len(missing)),
            ("still to be done", named or "nothing"),
            ("batch sizes", ", ".join(map(str, self.profile.benchmark.batch_sizes))),
            ("source of energy", "{source} ({backend})".format(**find_place().energy)),
        ]
        return view(f"Study of the profile {self.profile.name!r}", rows)

    @cached_property
    def _results(self) -> pd.DataFrame:
        columns: dict[str, list[object]] = {name: [] for name in COLUMNS}
        for run in self._each("results"):
            for name, values in result_rows.load_rows(self, run).items():
                columns[name] += values
        return pd.DataFrame(columns)

    def results(self, variants: Sequence[Variant] | None = None) -> pd.DataFrame:
        """One row per data set, model, recipe, runtime, seed and batch size; `COLUMNS` lists the columns.

        ``accuracy_drop`` counts percentage points lost against the reference of the same data set, model and seed,
        with a bootstrap over test series, paired; ``accuracy_unseen`` leaves out copies of training series;
        ``cpu_ratio`` and ``energy_ratio`` are variant ÷ reference.

        Parameters
        ----------
        variants : sequence of Variant, optional
            Those that the table is to have, by default all. Nothing else is computed: a run whose session is not in the
            store is measured in a smaller one.
        """
        if variants is None:
            return self._results.copy()
        chosen = [row for run in self._each("results") for row in result_rows.make_rows(self, run, variants)]
        return pd.DataFrame(chosen, columns=COLUMNS)

    def run_results(self, run: TrainingRun) -> pd.DataFrame:
        """The rows of `results` that are about one run."""
        return pd.DataFrame(result_rows.load_rows(self, run))

    def histories(self) -> pd.DataFrame:
        """One row per training and epoch of it, those of a refit left out; ``best`` marks the epoch that was chosen."""
        epochs = [(run, epoch) for run in self._each("trainings") for epoch in self.train(run)]
        rows = [{**run.names, **epoch} for run, epoch in epochs if not epoch.get("refit")]
        return pd.DataFrame(rows).astype({"valid_loss": float, "valid_accuracy": float})  # also where all are None

    def predictions(self, variant: Variant = REFERENCE) -> pd.DataFrame:
        """One row per test series: its class and the one that a variant of each run predicts."""
        tables = []
        for run in self._each("predictions"):
            found = self.evaluate(run, variant)
            if isinstance(found, Evaluation):
                classes = np.array(found.classes)
                columns = {"true": classes[found.true], "predicted": classes[found.predicted]}
                tables.append(pd.DataFrame({**run.names, "series": range(len(found.true)), **columns}))
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    def points_lost(self, variant: Variant) -> pd.DataFrame:
        """Percentage points of accuracy that a variant loses, with an interval over the seeds and the test series.

        Returns
        -------
        DataFrame
            Columns `dataset`, `model`, `points_lost`, `points_lost_low`, `points_lost_high` and `seeds`.
        """
        lost: dict[tuple[str, str], list[np.ndarray]] = {}
        for run in self._each("points lost"):
            own, reference = (self.evaluate(run, each) for each in (variant, REFERENCE))
            if isinstance(own, Evaluation) and isinstance(reference, Evaluation):
                points = 100.0 * (reference.correct.astype(int) - own.correct)
                lost.setdefault((run.data.name, run.model), []).append(points)
        rows = [(*cell, *crossed_mean_interval(seeds), len(seeds)) for cell, seeds in lost.items()]
        names = ["points_lost", "points_lost_low", "points_lost_high"]
        return pd.DataFrame(rows, columns=["dataset", "model", *names, "seeds"])

    def removed(self) -> pd.DataFrame:
        """One row per head and neuron of every recipe that removes heads, neurons or layers: whether it was kept."""
        rows = []
        for run, variant, found in self._evaluations():
            size = find_architecture(run.model)
            counts = {"heads": size.heads, "neurons": size.d_ff}
            for part, layers in find_survivors(found.evidence, size.layers, **counts).items():
                for layer, kept in enumerate(layers):
                    where = {**run.names, **variant.names, "layer": layer + 1, "part": part}
                    rows += [{**where, "index": i, "kept": i in set(kept)} for i in range(counts[part])]
        return pd.DataFrame(rows)

    def evidence(self) -> pd.DataFrame:
        """One row per compression step of every variant: what it changed."""
        rows = []
        for run, variant, found in self._evaluations():
            executed = {name: getattr(found.conversion, name) for name in ("int8_ops", "fp32_ops")}
            rows += [{**run.names, **variant.names, **asdict(step), **executed} for step in found.evidence]
        return pd.DataFrame(rows, columns=EVIDENCE)

    def aa_windows(self) -> pd.DataFrame:
        """One row per block of the A/A control: the ratio of the reference to itself, loaded twice."""
        rows = []
        for run in self._each("controls"):
            with suppress(StageFailed):
                for control in self.benchmark(run).measurements:
                    if control.role is Role.CONTROL:
                        names = {**run.names, "batch_size": control.batch_size}
                        rows += [{**names, "block": i, "ratio": r} for i, r in enumerate(control.block_ratios, 1)]
        return pd.DataFrame(rows)

    def _evaluations(self) -> Iterator[tuple[TrainingRun, Variant, Evaluation]]:
        for run in self.runs:
            for variant, found in self.working(run, self.variants_of(run)).items():
                yield run, variant, found

    def _each(self, what: str) -> Iterator[TrainingRun]:
        for done, run in enumerate(self.runs):
            logger.info("%s of %s", what, run.label, extra={"runs": (done, len(self.runs))})
            yield run
