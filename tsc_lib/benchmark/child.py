"""The measuring process: ``python -m tsc_lib.benchmark.child``.

It reads one line of JSON (the job) from standard input and answers with lines of JSON on standard output: notes,
progress, and at the end either the result or an error. It ends as soon as standard input closes, which the system does
when the parent dies, so a killed parent leaves nothing running.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import math
import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from tsc_lib.benchmark.host import describe_host, hold_host_lock, pin
from tsc_lib.benchmark.inputs import Call, load_inputs, make_calls
from tsc_lib.benchmark.measurement import RawBatch, RawSession
from tsc_lib.benchmark.settings import CONTROL, BenchmarkSettings, Candidate, Job
from tsc_lib.core.cpus import count_throttled_periods, list_usable_cpus
from tsc_lib.core.errors import RuntimeUnavailable, UserError
from tsc_lib.core.processes import adopt_orphans, end_with_input
from tsc_lib.energy import EnergyMeter

Predict = Callable[..., np.ndarray]
Tell = Callable[..., None]

BLOCKS_AT_LEAST = 5
"""Blocks that are measured even if they take longer than they may."""

CANDIDATES_PER_TURN = 6
"""Candidates after which the reference and its control are measured once more in the same block."""

WARMUP_CALLS = 2

MARGIN = 1.2
"""By which windows are planned longer than the energy source needs, since later sweeps may be faster."""

IDLE_S = 2.0


@dataclass
class Runner:
    """A loaded candidate at one batch size, and its windows so far."""

    name: str
    predict: Predict
    calls: list[Call]
    sweeps: int = 1
    failure: str | None = None
    windows: dict[str, list[float | None]] = field(default_factory=dict)
    invalid: list[str] = field(default_factory=list)
    latency_ms: list[float] = field(default_factory=list)

    def sweep(self) -> float:
        """Run once through the sample and return the CPU seconds that it took."""
        start = time.process_time()
        for x, lengths in self.calls:
            self.predict(x, lengths)
        return time.process_time() - start

    def warm_up(self, settings: BenchmarkSettings, shortest_window_s: float) -> None:
        """Run until warm, and choose from the later, settled sweeps how many fill a window."""
        spent: list[float] = []
        while sum(spent) < settings.warmup_s or len(spent) * len(self.calls) < WARMUP_CALLS:
            spent.append(max(self.sweep(), 1e-9))  # progress even under a clock too coarse for one sweep
        settled = median(spent[len(spent) // 2 :])
        # A window of so much CPU time lasts at least as long as the energy source needs, on however many threads.
        enough = max(settings.min_window_s, MARGIN * shortest_window_s * settings.threads)
        self.sweeps = max(1, math.ceil(enough / settled))

    def measure(self, meter: EnergyMeter, position: int) -> None:
        """Measure one window."""
        series = sum(len(call.x) for call in self.calls)
        latencies: list[float] = []
        clock = time.perf_counter
        with meter.measure(self.name, inferences=series * self.sweeps) as window:
            for _ in range(self.sweeps):
                for x, lengths in self.calls:
                    start = clock()
                    self.predict(x, lengths)
                    latencies.append(clock() - start)
        reading = window.reading
        values = {
            "cpu_s": reading.cpu_seconds,
            "wall_s": reading.seconds,
            "joules": reading.joules,
            "joules_low": reading.joules_low,
            "joules_high": reading.joules_high,
            "position": position,  # within the block
        }
        for key, value in values.items():
            self.windows.setdefault(key, []).append(None if math.isnan(value) else round(value, 9))
        if reading.invalid is not None:
            self.invalid.append(reading.invalid)
        self.latency_ms += [round(1000 * seconds, 4) for seconds in latencies]


def describe_error(error: BaseException) -> str:
    """An exception as one line."""
    text = " ".join(str(error).split())
    return text if isinstance(error, UserError | RuntimeUnavailable) else f"{type(error).__name__}: {text}".rstrip(": ")


def load(candidate: Candidate) -> Predict:
    """The predictor that a candidate's loader makes."""
    module, _, function = candidate.loader.partition(":")
    predictor: Predict = getattr(importlib.import_module(module), function)(**candidate.options)
    return predictor


def fail_with(error: BaseException) -> Predict:
    """A predictor that could not be loaded: it fails with the loader's error."""

    def predict(*_: Any) -> np.ndarray:
        raise error

    return predict


def check(runner: Runner, classes: int | None) -> int:
    """Run through the sample once and return the number of classes; raise if the logits cannot be right."""
    for x, lengths in runner.calls:
        logits = np.asarray(runner.predict(x, lengths))
        if logits.ndim != 2 or len(logits) != len(x) or classes not in (None, logits.shape[1]):
            raise UserError(f"logits have shape {logits.shape} for {len(x)} series and {classes or 'some'} classes")
        if not np.isfinite(logits).all():
            raise UserError("logits are not finite")
        classes = logits.shape[1]
    assert classes is not None  # a sample is never empty
    return classes


def load_all(job: Job, tell: Tell) -> dict[int, list[Runner]]:
    """Every candidate, loaded once and checked at every batch size; failures are noted in their runners.

    Raises
    ------
    UserError
        If the reference fails.
    """
    settings = job.settings
    series, equal_length = load_inputs(Path(job.inputs))
    calls = {size: make_calls(series, equal_length, size) for size in settings.batch_sizes}
    runners: dict[int, list[Runner]] = {size: [] for size in settings.batch_sizes}
    candidates = [job.reference, replace(job.reference, name=CONTROL), *job.candidates]
    classes = None
    for done, candidate in enumerate(candidates):
        name = candidate.name
        progress = {"stage": "loading", "done": done, "total": len(candidates), "name": name}
        tell("progress", **progress, doing=f"loading {name}")
        try:
            predict = load(candidate)
        except (Exception, SystemExit) as error:
            predict = fail_with(error)
        for size in settings.batch_sizes:
            runner = Runner(name, predict, calls[size])
            tell("progress", **progress, doing=f"trying {name} at batch size {size}")
            try:
                classes = check(runner, classes)
            except (Exception, SystemExit) as error:
                runner.failure = describe_error(error)
            if runner.failure and done < 2:  # the reference or its control
                raise UserError(f"the reference {job.reference.name!r} failed: {runner.failure}")
            runners[size].append(runner)
    tell("progress", stage="loading", done=len(candidates), total=len(candidates), name="", doing="loading")
    return runners


def measure(size: int, runners: list[Runner], settings: BenchmarkSettings, meter: EnergyMeter, tell: Tell) -> RawBatch:
    """Warm up, then measure blocks at one batch size."""
    stage, blocks = f"batch {size}", 0

    def say(name: str, doing: str) -> None:
        tell("progress", stage=stage, done=blocks, total=settings.blocks, name=name, doing=doing)

    def attempt(runner: Runner, doing: str, action: Callable[..., None], *arguments: Any) -> None:
        if runner.failure is not None:
            return
        # The parent knows from it whose fault a crash is.
        say(runner.name, f"{doing} {runner.name} at batch size {size}")
        try:
            action(*arguments)
        except (Exception, SystemExit) as error:
            runner.failure = describe_error(error)
            if runner in runners[:2]:
                raise UserError(f"the reference failed at batch size {size}: {runner.failure}") from error

    for runner in runners:
        attempt(runner, "warming up", runner.warm_up, settings, meter.shortest_window_s)
    rng = np.random.default_rng([settings.seed, size])
    turns = max(1, round(len(runners[2:]) / CANDIDATES_PER_TURN))
    start = time.monotonic()
    while blocks < settings.blocks and (blocks < BLOCKS_AT_LEAST or time.monotonic() - start < settings.max_seconds):
        gc.collect()
        for position, index in enumerate(shuffle_block(len(runners) - 2, turns, rng)):
            attempt(runners[index], "measuring", runners[index].measure, meter, position)
        blocks += 1
        say("", f"measuring at batch size {size}")
    return {
        "batch_size": size,
        "series": sum(len(call.x) for call in runners[0].calls),
        "blocks": blocks,
        "runners": [
            {
                "name": runner.name,
                "failure": runner.failure,
                "sweeps": runner.sweeps,
                "windows": runner.windows,
                "invalid": runner.invalid,
                "latency_ms": runner.latency_ms,
            }
            for runner in runners
        ],
    }


def shuffle_block(candidates: int, turns: int, rng: np.random.Generator) -> list[int]:
    """The order in which runners are measured: the reference (0) and its control (1) side by side before each part.

    The reference's noise is in every ratio, so it is measured often, and all over the block.
    """
    order: list[int] = []
    for part in np.array_split(2 + rng.permutation(candidates), turns):
        order += [*rng.permutation(2).tolist(), *part.tolist()]
    return order


def run(job: Job, tell: Tell) -> RawSession:
    """The whole session, from loading to raw windows."""
    settings = job.settings
    meter = EnergyMeter.auto()
    for warning in meter.source.warnings:
        tell("note", message=f"{meter.source.backend}: {warning}")
    host, throttled = describe_host(), count_throttled_periods()
    runners = load_all(job, tell)
    if "torch" in sys.modules:  # a loader may have changed what the environment had set
        sys.modules["torch"].set_num_threads(settings.threads)
    pin(settings.threads)  # after loading: compilers may use every CPU, and thread pools now exist
    # The collector's pauses would fall into windows: what is loaded is never collected, the rest between blocks.
    gc.freeze()
    gc.disable()
    idle = [measure_idle_power(meter)]
    batches = [measure(size, runners[size], settings, meter, tell) for size in settings.batch_sizes]
    idle.append(measure_idle_power(meter))
    host = replace(
        host,
        threads=settings.threads,
        cpus_pinned=list_usable_cpus(),
        throttled_periods=count_throttled_periods() - throttled,
        # Kilobytes on Linux, bytes on macOS.
        peak_rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3),
    )
    energy = meter.describe() | {"passed_over": meter.passed_over["cpu"], "idle_watts": idle}
    return {"host": asdict(host), "energy": energy, "batches": batches}


def measure_idle_power(meter: EnergyMeter) -> float | None:
    """Watts of the idle machine, if the meter has a counter that tells."""
    if meter.source.kind != "measured":
        return None
    reading = meter.measure_idle(IDLE_S)
    return reading.watts if reading.valid else None


def main() -> None:
    """Read the job, measure, answer."""
    # Whatever libraries print must not mix with the answers: theirs goes to standard error.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def tell(event: str, **values: Any) -> None:
        print(json.dumps({"event": event, **values}), file=answers, flush=True)

    job = Job.from_json(json.loads(sys.stdin.readline()))
    adopt_orphans(True)
    threading.Thread(target=end_with_input, daemon=True).start()
    with contextlib.suppress(BrokenPipeError):  # the parent left
        try:
            with hold_host_lock(lambda message: tell("note", message=message)):
                result = run(job, tell)
            tell("result", result=result)
        except Exception as error:
            if not isinstance(error, UserError):
                raise
            tell("error", message=str(error))


if __name__ == "__main__":
    main()
