"""The benchmark session: several variants of one model measured side by side against a reference.

`run_session` starts a child process with pinned threads that loads every variant, the reference, and the reference a
second time as a control (an A/A test: its ratio must come out as 1). After a warm-up it measures blocks; in each block
every variant has one window, in a fresh random order, and the reference and its control have several, side by side. A
window is as many sweeps over the sample as fill `min_window_s` of CPU time. What is reported of a variant is its ratio
to the reference, paired within blocks, with an interval over them; every raw window and latency is kept beside it. A
candidate that fails is reported as failed; if it crashes the process, the session runs again without it.
"""

from __future__ import annotations

from tsc_lib.benchmark.inputs import save_inputs
from tsc_lib.benchmark.measurement import Measurement, Role, Session
from tsc_lib.benchmark.session import check_threads, run_session
from tsc_lib.benchmark.settings import PEAK, BenchmarkSettings, Candidate

__all__ = [
    "PEAK",
    "BenchmarkSettings",
    "Candidate",
    "Measurement",
    "Role",
    "Session",
    "check_threads",
    "run_session",
    "save_inputs",
]
