from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest

from tsc_lib.energy import Energy, EnergyMeter, Reading, SourceMismatchError, same_source
from tsc_lib.energy.cputime import CpuTime, watts_per_core
from tsc_lib.errors import UserError


def burn(seconds: float) -> None:
    """Use this much CPU time."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


class Counter(CpuTime):
    """A counter at ten joules a window; unavailable where `reason` says why."""

    source = "measured"
    backend = "counter"
    reason: str | None = None

    def unavailable(self) -> str | None:
        return self.reason

    def stop(self, mark: Any, seconds: float, cpu_seconds: float) -> Energy:
        return Energy(10.0, 9.0, 11.0, ("it ticks",))


class Unreadable(Counter):
    backend = "unreadable"
    reason = "permission denied; run chmod"


def reading(**changes: Any) -> Reading:
    values = {"label": "a", "joules": 1.0, "joules_low": 0.5, "joules_high": 2.0, "seconds": 0.5, "cpu_seconds": 0.2}
    return Reading(**{**values, "source": "estimated", "backend": "cputime", **changes})


def test_estimate_is_cpu_time_times_watts_and_sleep_costs_nothing(monkeypatch):
    monkeypatch.setenv("TSC_WATTS_PER_CORE", "2:4:8")
    meter = EnergyMeter.auto()
    with meter.measure("work", inferences=10) as window:
        burn(0.05)
        time.sleep(0.05)
    r = window.reading
    assert (r.source, r.backend, r.label) == ("estimated", "cputime", "work")
    assert 0.05 <= r.cpu_seconds < 0.09
    assert r.seconds >= 0.1
    assert r.joules == pytest.approx(4 * r.cpu_seconds)
    assert (r.joules_low, r.joules_high) == pytest.approx((2 * r.cpu_seconds, 8 * r.cpu_seconds))
    assert r.joules_per_inference == pytest.approx(r.joules / 10)
    assert r.watts == pytest.approx(r.joules / r.seconds)
    assert r.parameters == {"watts_per_core": 4, "watts_per_core_low": 2, "watts_per_core_high": 8}
    assert r.passed_over == {}


@pytest.mark.parametrize(
    ("text", "expected"), [("", (2, 5, 10)), ("4.5", (4.5, 4.5, 4.5)), (" 1:2:3 ", (1, 2, 3)), ("3:3:3", (3, 3, 3))]
)
def test_watts_per_core(monkeypatch, text, expected):
    monkeypatch.setenv("TSC_WATTS_PER_CORE", text)
    assert watts_per_core() == expected


@pytest.mark.parametrize("text", ["many", "0", "-5", "nan", "inf", "1:2", "3:2:1", "1:2:inf", "1:nan:3", "0:1:2", "5W"])
def test_bad_watts_are_one_clear_sentence(monkeypatch, text):
    monkeypatch.setenv("TSC_WATTS_PER_CORE", text)
    with pytest.raises(UserError, match=r"TSC_WATTS_PER_CORE is .*give the watts"):
        EnergyMeter.auto()


def test_auto_takes_the_first_source_that_works_and_says_what_it_passed_over():
    meter = EnergyMeter.auto([Unreadable, Counter, CpuTime])
    with meter.measure("a") as window:
        pass
    assert window.reading.source == "measured"
    assert window.reading.warnings == ("it ticks",)
    assert window.reading.passed_over == {"unreadable": "permission denied; run chmod"}
    with pytest.raises(UserError, match="unreadable: permission denied"):
        EnergyMeter.auto([Unreadable])


def test_a_window_that_raised_or_is_open_has_no_reading():
    meter = EnergyMeter.auto()
    with pytest.raises(ZeroDivisionError), meter.measure("a") as window:
        with pytest.raises(RuntimeError, match="still open"):
            _ = window.reading
        _ = 1 / 0
    with pytest.raises(RuntimeError, match="no reading"):
        _ = window.reading


def test_reading_survives_json():
    r = reading(parameters={"watts_per_core": 5.0}, warnings=("a", "b"), passed_over={"rapl": "absent"})
    assert Reading.from_json(json.loads(json.dumps(r.to_json()))) == r


def test_sources_are_never_mixed():
    assert same_source([]) is None
    assert same_source([reading(), reading(joules=3.0)]) == "estimated (cputime)"
    assert same_source(["estimated", None, math.nan, "estimated"]) == "estimated"
    with pytest.raises(SourceMismatchError, match="estimated, measured"):
        same_source(["estimated", "measured"])
    with pytest.raises(SourceMismatchError):
        same_source([reading(), reading(source="measured", backend="rapl")])
    with pytest.raises(SourceMismatchError):
        same_source([reading(parameters={"watts_per_core": 5.0}), reading(parameters={"watts_per_core": 2.0})])


def test_a_window_is_cheap():
    meter = EnergyMeter.auto()
    start = time.process_time()
    for _ in range(1000):
        with meter.measure("a"):
            pass
    assert (time.process_time() - start) / 1000 < 50e-6
