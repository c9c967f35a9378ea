"""The comparison of runtimes: the same weights in every runtime, number format, batch size and number of threads."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from functools import cached_property

import numpy as np
import pandas as pd

from tsc_lib.benchmark import BenchmarkSettings, Measurement, Role, Session
from tsc_lib.benchmark.peak import OPERATIONS
from tsc_lib.compress import BASELINE, REFERENCE, Variant
from tsc_lib.core.errors import UserError
from tsc_lib.core.store import StageFailed
from tsc_lib.study import Study, stages
from tsc_lib.study.evaluation import Evaluation
from tsc_lib.study.schema import COSTS, costs, qualities
from tsc_lib.study.sections import parse_variants
from tsc_lib.study.specs import TrainingRun

logger = logging.getLogger(__name__)

COSTS_COMPARED = [name for name in COSTS if not name.startswith("energy")]

COLUMNS = [
    *["dataset", "model", "recipe", "runtime", "number_format", "seed", "threads", "batch_size", "status"],
    *["accuracy", "accuracy_drop", "accuracy_drop_low", "accuracy_drop_high", "agreement", "macs", "reference_macs"],
    *["model_bytes", "int8_ops", "fp32_ops", "prepare_seconds", "prepare_peak_mb"],
    *COSTS_COMPARED,
    *["latency_p99_ms", "series_per_second", "fp32_ratio", "fp32_ratio_low", "fp32_ratio_high"],
    *["peak_share", "peak_share_low", "peak_share_high"],
]
"""Columns of the table, in order."""

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
"""Of the latency's distribution, in `RuntimeComparison.latencies`."""


class RuntimeComparison:
    """What a profile's `runtimes` ask for, run or loaded like everything else of the study.

    Parameters
    ----------
    study : Study
        Whose first seed's models are compared.
    """

    def __init__(self, study: Study) -> None:
        self.study, self.grid = study, study.profile.runtimes
        self._sessions: dict[tuple[TrainingRun, int], Session | str] = {}
        self.variants = parse_variants(self.grid.variants)

    @cached_property
    def runs(self) -> list[TrainingRun]:
        """The trained models that are compared."""
        if not self.variants:
            return []
        models = self.grid.models or self.study.profile.models
        datasets = self.grid.datasets or self.study.data_specs
        first = [run for run in self.study.runs if run.seed == self.study.profile.seeds[0]]
        return [run for run in first if run.model in models and run.data.name in datasets]

    def settings(self, run: TrainingRun, threads: int) -> BenchmarkSettings:
        """How a run is measured on so many threads."""
        changes = {name: getattr(self.grid, name) for name in ("batch_sizes", "blocks", "max_seconds")}
        return dataclasses.replace(self.study.settings(run.data), threads=threads, **changes)

    def session(self, run: TrainingRun, threads: int) -> Session | str:
        """A run's benchmark session on so many threads, or why it failed."""
        if (run, threads) not in self._sessions:  # the table and the latencies both ask for it
            self._sessions[run, threads] = self._session(run, threads)
        return self._sessions[run, threads]

    def _session(self, run: TrainingRun, threads: int) -> Session | str:
        working, settings = list(self.study.working(run, self.variants)), self.settings(run, threads)
        try:
            return stages.measure(run, working, settings, beside_peak=threads == 1)
        except (StageFailed, UserError) as failure:  # more threads than this machine has, say
            logger.warning("%s on %d thread(s): %s", run.label, threads, failure)
            return str(failure)

    def measure(self, run: TrainingRun) -> None:
        """Measure a run on every number of threads, and what a core computes at most."""
        for threads in self.grid.threads:
            self.session(run, threads)
        self.peaks()

    @cached_property
    def _table(self) -> pd.DataFrame:
        rows = [row for run in self.runs for threads in self.grid.threads for row in self._rows(run, threads)]
        return pd.DataFrame(rows, columns=COLUMNS)

    def table(self) -> pd.DataFrame:
        """One row per data set, model, variant, number of threads and batch size.

        ``cpu_ratio`` is variant ÷ reference on the same threads; ``agreement`` the share of test series that get the
        class that the reference gives them; ``reference_macs`` the work of the uncompressed model for one series;
        ``fp32_ratio`` is CPU time ÷ that of the uncompressed model in fp32 in the same runtime, paired too;
        ``peak_share`` the rate of the uncompressed model's arithmetic ÷ the peak of one core in fp32, paired too;
        ``prepare_seconds`` and ``prepare_peak_mb`` what it took to compile or convert the model; ``series_per_second``
        the throughput of one call after another at the median latency. Columns: `COLUMNS`.
        """
        return self._table.copy()

    def _rows(self, run: TrainingRun, threads: int) -> Iterator[dict[str, object]]:
        session, reference = self.session(run, threads), self.study.evaluate(run, REFERENCE)
        macs = reference.size.macs if isinstance(reference, Evaluation) else None
        copies = self.study.list_copies(run.data)
        for variant in self.variants:
            found = self.study.evaluate(run, variant)
            known: dict[str, object] = {**run.names, **variant.names, "threads": threads, "status": found.status}
            if isinstance(found, Evaluation):
                known |= {"number_format": found.number_format, **qualities(found, reference, copies)}
                known |= {name: getattr(found.conversion, name) for name in ("prepare_seconds", "prepare_peak_mb")}
                if isinstance(reference, Evaluation):
                    agreement = float((found.predicted == reference.predicted).mean())
                    known |= {"agreement": agreement, "reference_macs": macs}
            for size in self.grid.batch_sizes:
                row = {**known, "batch_size": size}
                if isinstance(found, Evaluation):
                    if isinstance(session, str):
                        row["status"] = f"failed: {session}"
                    elif measured := session.of(variant, size):
                        row |= {**costs(measured), **self._compared(session, measured, macs), "status": measured.status}
                yield row

    @staticmethod
    def _compared(session: Session, measured: Measurement, reference_macs: int | None) -> dict[str, float]:
        """What the whole session tells of one of its measurements."""
        variant, size = measured.variant, measured.batch_size
        if not measured.ok or variant is None or measured.latency_p50_ms is None:
            return {}
        fp32, peak = session.of(Variant(BASELINE, variant.runtime), size), session.of(Role.PEAK, size)
        columns = {
            "latency_p99_ms": float(np.percentile(measured.latency_ms, 99)),
            "series_per_second": 1000 * size / measured.latency_p50_ms,
        }
        if fp32 and fp32.ok:
            columns |= measured.cpu_ratio_to(fp32).columns("fp32_ratio")
        if peak and peak.ok and reference_macs:
            arithmetic = 2 * reference_macs * size / OPERATIONS  # in products of the peak's
            share = peak.cpu_ratio_to(measured).columns("peak_share")
            columns |= {name: arithmetic * ratio for name, ratio in share.items()}
        return columns

    def latencies(self) -> pd.DataFrame:
        """Percentiles of the wall time of single calls at the smallest batch size: columns `percentile`, `latency_ms`.

        One row per data set, model, variant, number of threads and percentile of `PERCENTILES`.
        """
        rows = []
        size = min(self.grid.batch_sizes, default=1)
        for run in self.runs:
            for threads in self.grid.threads:
                session = self.session(run, threads)
                if isinstance(session, str):
                    continue
                for variant in self.variants:
                    measured = session.of(variant, size)
                    if measured and measured.ok:
                        names = {"dataset": run.data.name, "model": run.model, "threads": threads}
                        names |= {**variant.names, "batch_size": size}
                        values = np.percentile(measured.latency_ms, PERCENTILES)
                        rows += [
                            {**names, "percentile": percentile, "latency_ms": float(value)}
                            for percentile, value in zip(PERCENTILES, values, strict=True)
                        ]
        return pd.DataFrame(rows)

    def peaks(self) -> pd.DataFrame:
        """What one core computes at most, by number format: columns `number_format`, `gflops` and `status`."""
        return pd.DataFrame(stages.measure_peaks())
