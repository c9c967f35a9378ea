"""The runs and variants of a profile: trained, evaluated and measured, or loaded."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np

from tsc_lib import data
from tsc_lib.benchmark import BenchmarkSettings, Session, check_threads
from tsc_lib.benchmark.host import Host
from tsc_lib.benchmark.place import Place, find_place, is_any_node, recall_place, taking
from tsc_lib.compress import CLASSIC, REFERENCE, Recipe, Variant
from tsc_lib.core.errors import Unfinished, UserError
from tsc_lib.core.files import Json
from tsc_lib.core.store import NotStored, StageFailed, only_loading
from tsc_lib.data import Dataset, DataSpec
from tsc_lib.study import stages
from tsc_lib.study.evaluation import Evaluation, Failure
from tsc_lib.study.profiles import Profile, load_profile
from tsc_lib.study.sections import DataChoice, parse_variants
from tsc_lib.study.specs import TrainingRun
from tsc_lib.study.summaries import DataSummary, summarize_data
from tsc_lib.training import Epoch


class Runs:
    """The runs of a profile, the base of `Study`: what its tables are made of.

    Parameters and errors are those of `Study`.
    """

    def __init__(self, profile: Profile, only: str | None = None) -> None:
        canonical = tuple(replace(e, recipe=e.recipe and str(Recipe.parse(e.recipe))) for e in profile.exclude)
        self.profile = replace(profile, exclude=canonical)
        for choice in profile.datasets:
            check_threads(profile.benchmark_of(choice))  # before anything is trained
        self._only = only
        self._summaries: dict[DataSpec, DataSummary | str] = {}
        self._evaluated: dict[str, dict[tuple[TrainingRun, Variant], Evaluation]] = {}
        named = [variant for variant in parse_variants(profile.variants) if variant != CLASSIC]
        self.variants = list(dict.fromkeys([REFERENCE, *named]))

    @classmethod
    def open(
        cls,
        profile: str = "quick",
        *,
        datasets: Sequence[str] = (),
        models: Sequence[str] = (),
        seeds: Sequence[int] = (),
    ) -> Self:
        """The study of a named profile; narrowed to some data sets, models or seeds, it has a name of its own."""
        whole = load_profile(profile)
        known = {choice.name: choice for choice in whole.datasets}
        kept = tuple(known.get(name, DataChoice(name)) for name in datasets) or whole.datasets
        chosen = replace(
            whole,
            datasets=tuple(replace(choice, seeds=()) for choice in kept) if seeds else kept,
            models=tuple(models) or whole.models,
            seeds=tuple(seeds) or whole.seeds,
            # Models asked for by name are wanted on every data set.
            exclude=tuple(e for e in whole.exclude if not models or e.model is None or e.recipe or e.runtime),
        )
        return cls(chosen if chosen == whole else replace(chosen, name=f"{whole.name}-{chosen.key()[:6]}"))

    @property
    def ablated(self) -> Variant:
        """The variant of which the profile has every step left out in turn.

        Raises
        ------
        UserError
            If it is not among the study's variants.
        """
        chosen = Variant.parse(self.profile.ablation.recipe, self.profile.ablation.runtime)
        if chosen not in self.variants:
            raise UserError(
                f"profile {self.profile.name!r}: its ablation, {chosen}, is not among its variants; add it to them"
            )
        return chosen

    @cached_property
    def data_specs(self) -> dict[str, DataSpec]:
        """The data sets' files, by name."""
        return {spec.name: spec for spec in self.choices}

    @cached_property
    def choices(self) -> dict[DataSpec, DataChoice]:
        """What the profile says of each data set."""
        return {
            data.resolve(each.name, scaling=each.scaling, gaps=each.gaps, validation=each.validation): each
            for each in self.profile.datasets
            if self._only in (None, each.name, Path(each.name).name)
        }

    def summarize(self, spec: DataSpec) -> DataSummary | str:
        """What is known of a data set; of an optional one that cannot be used, why."""
        if spec not in self._summaries:
            try:
                self._summaries[spec] = summarize_data(spec)
            except UserError as refusal:
                if isinstance(refusal, Unfinished) or not self.is_optional(spec):
                    raise
                self._summaries[spec] = str(refusal)
        return self._summaries[spec]

    def list_copies(self, spec: DataSpec) -> np.ndarray:
        """Which test series of a data set are copies of training series; bool, none of an unusable one."""
        known = self.summarize(spec)
        return np.zeros(0, dtype=bool) if isinstance(known, str) else known.test_in_train

    def list_traits(self) -> dict[str, Json]:
        """What `tsc_lib.data.describe` tells of each usable data set, by name."""
        known = {spec.name: self.summarize(spec) for spec in self.choices}
        return {name: each.traits for name, each in known.items() if not isinstance(each, str)}

    def list_processors(self) -> list[str]:
        """The processor of each run, on which it was measured or will be."""
        found = []
        for run in self.runs:
            with self.where(run):
                found.append(find_place().machine.cpu_model)
        return found

    def is_optional(self, spec: DataSpec) -> bool:
        """Whether what a data set cannot have is a row with its reason, and no error."""
        return spec in self.choices and self.choices[spec].optional

    def where(self, run: TrainingRun) -> AbstractContextManager[None]:
        """Within it results are those of the place where a run was measured, which is this one but on a cluster."""
        return taking(recall_place(run.file_name))

    def is_network(self, run: TrainingRun) -> bool:
        """Whether a run's model is trained, and no classic."""
        return run.model in self.profile.networks

    def settings(self, spec: DataSpec) -> BenchmarkSettings:
        """How variants are measured on a data set."""
        return self.profile.benchmark_of(self.choices[spec])

    @cached_property
    def datasets(self) -> dict[str, Dataset]:
        """The data sets, by name."""
        return {name: data.load(spec) for name, spec in self.data_specs.items()}

    @cached_property
    def runs(self) -> list[TrainingRun]:
        """Every network to train; a seed is complete before the next one begins."""
        return [run for run in self.all_runs if self.is_network(run)]

    @cached_property
    def all_runs(self) -> list[TrainingRun]:
        """The same with the classics, which `tsc_lib.study.model_comparison` sets beside the networks."""
        return [
            TrainingRun(spec, model, self.profile.train_of(choice, model), seed)
            for spec, choice, seed in self.list_seeded()
            for model in self.profile.models
            if not self.profile.excludes(dataset=spec.name, model=model)
        ]

    def list_seeded(self, datasets: Sequence[str] = ()) -> list[tuple[DataSpec, DataChoice, int]]:
        """The named data sets, or all, with each of their seeds; a seed is complete before the next one begins."""
        return [
            (spec, choice, seed)
            for seed in self.profile.all_seeds
            for spec, choice in self.choices.items()
            if seed in self.profile.seeds_of(choice) and spec.name in (datasets or self.data_specs)
        ]

    def variants_of(self, run: TrainingRun) -> list[Variant]:
        """The variants of a run, the reference first; a classic is its only one."""
        if not self.is_network(run):
            return [CLASSIC]
        names = {"dataset": run.data.name, "model": run.model}
        others = [v for v in self.variants[1:] if not self.profile.excludes(**names, **v.names)]
        return [REFERENCE, *others]

    @cached_property
    def request(self) -> dict[str, object]:
        """All that the study's tables depend on beside the code: the profile, the machine and the source of energy."""
        where: dict[str, object] = {"machine": "any", "energy": "any"} if is_any_node() else find_place().to_json()
        return {"profile": self.profile.to_json(), "data": [spec.key() for spec in self.choices], **where}

    def train(self, run: TrainingRun) -> list[Epoch]:
        """The history of a run's training."""
        return stages.train(run)[1]

    def evaluate(self, run: TrainingRun, variant: Variant) -> Evaluation | Failure:
        """How a variant classifies the test set, or why it cannot."""
        with self.where(run):
            return self._evaluate(run, variant, find_place())

    def _evaluate(self, run: TrainingRun, variant: Variant, place: Place) -> Evaluation | Failure:
        known = self._evaluated.setdefault(place.key(), {})
        if (run, variant) not in known:  # every table asks for every evaluation
            if self.is_optional(run.data) and isinstance(why := self.summarize(run.data), str):
                return Failure(variant, f"failed: {why}")
            try:
                known[run, variant] = stages.evaluate(run, variant)
            except StageFailed as failure:
                return Failure(variant, f"failed: {failure}")
            except UserError as refusal:  # what an optional data set cannot have
                if isinstance(refusal, Unfinished) or not self.is_optional(run.data):
                    raise
                return Failure(variant, f"failed: {refusal}")
        return known[run, variant]

    def working(self, run: TrainingRun, variants: Sequence[Variant]) -> dict[Variant, Evaluation]:
        """Those of the variants that could be evaluated."""
        found = {variant: self.evaluate(run, variant) for variant in variants}
        return {variant: each for variant, each in found.items() if isinstance(each, Evaluation)}

    def is_done(self, run: TrainingRun) -> bool:
        """Whether all of a run's variants are evaluated and measured, so that `results` only loads them."""
        try:
            with only_loading():
                self.benchmark(run)
        except NotStored:
            return False
        except StageFailed:
            pass
        return True

    def benchmark(self, run: TrainingRun, variants: Sequence[Variant] | None = None) -> Session:
        """The benchmark session of a run's variants, or of some of them alone.

        Raises
        ------
        StageFailed
            If the session failed.
        """
        with self.where(run):
            return self._benchmark(run, self.variants_of(run) if variants is None else variants)

    def _benchmark(self, run: TrainingRun, wanted: Sequence[Variant]) -> Session:
        variants = list(self.working(run, wanted))
        if not variants and self.is_optional(run.data):
            raise StageFailed(self.evaluate(run, REFERENCE).status.removeprefix("failed: "))
        return stages.measure(run, variants, self.settings(run.data))

    def host(self, run: TrainingRun | None = None) -> Host:
        """The machine on which a run, by default the first, was measured."""
        return self.benchmark(run or self.runs[0]).host
