from __future__ import annotations

import dataclasses
import json
import math
import time
from typing import Any

import pytest

from tsc_lib.core.errors import UserError
from tsc_lib.energy import EnergyMeter, Reading, SourceMismatchError, require_same_source
from tsc_lib.energy.cputime import CpuTime, watts_per_core
from tsc_lib.energy.opcount import Operation, model_energy
from tsc_lib.energy.source import Energy, InvalidWindowError
from tsc_lib.models.compressed import count_macs
from tsc_lib.models.embedding import PatchEmbeddingConfig
from tsc_lib.models.number_format import NumberFormat
from tsc_lib.models.transformer import LayerConfig, Ranks, Transformer
from tsc_lib.models.zoo import configure
from tsc_lib.study.operations import operations


def burn(seconds: float) -> None:
    """Use this much CPU time."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


class Counter(CpuTime):
    """A counter at ten joules a window; unavailable where `reason` says why."""

    kind = "measured"
    backend = "counter"
    reason: str | None = None

    def unavailable(self) -> str | None:
        return self.reason

    def stop(self, mark: Any, seconds: float, cpu_seconds: float) -> Energy:
        return Energy(10.0, 9.0, 11.0, ("it ticks",), {"package-0": 7.0, "package-0/dram": 3.0})


class Unreadable(Counter):
    backend = "unreadable"
    reason = "permission denied; run chmod"


def reading(**changes: Any) -> Reading:
    values = {"label": "a", "joules": 1.0, "joules_low": 0.5, "joules_high": 2.0, "seconds": 0.5, "cpu_seconds": 0.2}
    return Reading(**{**values, "source": "estimated", "backend": "cputime", **changes})


@pytest.mark.measures
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
    meter = EnergyMeter.auto(sources=[Unreadable, Counter, CpuTime])
    with meter.measure("a") as window:
        pass
    assert window.reading.source == "measured"
    assert window.reading.warnings == ("it ticks",)
    assert window.reading.passed_over == {"unreadable": "permission denied; run chmod"}
    with pytest.raises(UserError, match="unreadable: permission denied"):
        EnergyMeter.auto(sources=[Unreadable])


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
    assert require_same_source([]) is None
    assert require_same_source([reading(), reading(joules=3.0)]) == "estimated (cputime)"
    assert require_same_source(["estimated", None, math.nan, "estimated"]) == "estimated"
    with pytest.raises(SourceMismatchError, match="estimated, measured"):
        require_same_source(["estimated", "measured"])
    with pytest.raises(SourceMismatchError):
        require_same_source([reading(), reading(source="measured", backend="rapl")])
    with pytest.raises(SourceMismatchError):
        require_same_source([reading(parameters={"watts_per_core": 5.0}), reading(parameters={"watts_per_core": 2.0})])


@pytest.mark.parametrize(
    ("clock", "jump", "why"),
    [("perf_counter", -5.0, "a clock went back"), ("process_time", -5.0, "a clock went back"),
     ("clock_gettime", 60.0, "the machine was suspended for 60.0 s")],
)  # fmt: skip
def test_clocks_that_jump_make_a_window_invalid(monkeypatch, clock, jump, why):
    real = getattr(time, clock)
    with EnergyMeter(Counter()).measure("a") as window:
        monkeypatch.setattr(time, clock, lambda *which: real(*which) + jump)
    assert why in window.reading.invalid and math.isnan(window.reading.joules)


@pytest.mark.measures
def test_a_window_is_cheap():
    meter = EnergyMeter.auto()
    start = time.process_time()
    for _ in range(1000):
        with meter.measure("a"):
            pass
    assert (time.process_time() - start) / 1000 < 50e-6


class Gpu(Counter):
    device = "gpu"
    backend = "gpu-counter"


class Failing(Counter):
    def __init__(self, when: str) -> None:
        super().__init__()
        self.when = when

    def start(self) -> None:
        if self.when == "start":
            raise OSError("unplugged")

    def stop(self, mark: Any, seconds: float, cpu_seconds: float) -> Energy:
        raise InvalidWindowError("it wrapped twice") if self.when == "stop" else ZeroDivisionError("odd")


@pytest.mark.parametrize(
    ("when", "why"), [("start", "OSError: unplugged"), ("stop", "it wrapped twice"), ("else", "ZeroDivisionError: odd")]
)
def test_a_source_that_fails_never_ends_the_work(when, why):
    @EnergyMeter(Failing(when)).measure_calls("adding")
    def add(a: int, b: int = 2) -> int:
        """Adds."""
        return a + b

    assert add(1) == 3 and add(1, b=5) == 6
    assert (add.__name__, add.__doc__) == ("add", "Adds.")
    for r in add.readings:
        assert (r.invalid, r.valid, r.label) == (why, False, "adding")
        assert math.isnan(r.joules) and r.cpu_seconds > 0
        again = Reading.from_json(json.loads(json.dumps(r.to_json(), allow_nan=False)))
        assert again.invalid == why and math.isnan(again.joules)


@pytest.mark.measures
def test_devices_are_read_side_by_side():
    meter = EnergyMeter.auto(("cpu", "gpu"), [Gpu, Counter, CpuTime])
    with meter.measure("a") as window:
        pass
    assert window.reading is window.readings["cpu"]
    assert window.readings["gpu"].backend == "gpu-counter"
    with pytest.raises(UserError, match="energy of the gpu cannot be measured"):
        EnergyMeter.auto(("gpu",), [CpuTime])
    with pytest.raises(ValueError, match="one source for each device"):
        EnergyMeter(Counter(), CpuTime())


def test_sources_by_name(monkeypatch):
    assert EnergyMeter.named("cputime").source.backend == "cputime"
    with pytest.raises(UserError, match=r"unknown energy source 'sun'.* there are powercap, pyrapl, perf, cputime"):
        EnergyMeter.named("sun")
    monkeypatch.setenv("TSC_ENERGY", "wind")
    with pytest.raises(UserError, match="unknown energy source 'wind'"):
        EnergyMeter.auto()


@pytest.mark.measures
def test_idle_power_needs_a_counter_of_the_same_source():
    with pytest.raises(UserError, match="idle power takes a counter"):
        EnergyMeter(CpuTime()).measure_idle()
    with pytest.raises(SourceMismatchError):
        reading().above_idle(reading(backend="rapl"))
    busy = reading(joules=10.0, seconds=2.0)
    net = busy.above_idle(reading(joules=2.0, seconds=1.0))
    assert net.joules_net == pytest.approx(10 - 2 * 2.0) and net.warnings == ()
    assert busy.joules_net is None
    unknown = busy.above_idle(reading(joules=math.nan, invalid="it stopped"))
    assert unknown.joules_net is None and "it stopped" in unknown.warnings[-1]


# ---- the operation count


def test_modelled_energy_is_operations_times_picojoules():
    fp32 = model_energy(
        "a", [Operation(macs=1_000_000, number_format=NumberFormat.FP32, weights=1_000, activations=500)], 2
    )
    # 1e6 × 4.6 pJ, 4000 bytes of weights and 2 × 2000 of activations from a cache of 8 kB at 1.25 pJ a byte.
    assert fp32.joules == pytest.approx((4.6e6 + 8000 * 1.25) * 1e-12)
    assert fp32.joules == fp32.joules_low == fp32.joules_high
    assert (fp32.source, fp32.backend, fp32.inferences) == ("modelled", "opcount", 2)
    int8 = model_energy("a", [Operation(macs=1_000_000, number_format=NumberFormat.INT8_STATIC)])
    assert fp32.domains["arithmetic"] / int8.domains["arithmetic"] == pytest.approx(4.6 / 0.3)
    large = model_energy("a", [Operation(macs=0, number_format=NumberFormat.FP32, weights=1_000_000)])
    assert (large.joules_low, large.joules_high) == pytest.approx((4e6 * 1300 / 8e12, 4e6 * 2600 / 8e12))
    with pytest.raises(SourceMismatchError):
        require_same_source([fp32, reading()])


SHAPES = {
    "whole": {},
    "fewer layers": {"layers": (LayerConfig(8, 16), LayerConfig(3, 256))},
    "narrow": {"d_model": 3, "embedding": PatchEmbeddingConfig(8, 1, 32, (0, 5, 31))},
    "low rank": {
        "layers": (
            LayerConfig(8, 16, Ranks(query=2, value=4, out=5, expand=6, contract=7)),
            LayerConfig(3, 256, Ranks(out=1, expand=9)),
        )
    },
}


@pytest.mark.parametrize("shape", list(SHAPES))
@pytest.mark.parametrize("name", ["T1", "T2"])
def test_operations_are_those_that_run(name, shape):
    config = configure(name, 3, 5)
    first, *others, last = config.layers
    first, last = dataclasses.replace(first, heads=2), dataclasses.replace(last, d_ff=40)
    config = dataclasses.replace(config, layers=(first, *others, last))
    config = dataclasses.replace(config, **SHAPES[shape])
    macs = sum(o.macs for o in operations(config, 100))
    assert macs == count_macs(Transformer(config), 100)
    assert sum(o.macs for o in operations(config, 100, batch_size=7)) == 7 * macs
    weights = sum(o.weights for o in operations(config, 100))
    norms_and_token = (4 * len(config.layers) + 1) * config.d_model
    assert weights + norms_and_token == sum(p.numel() for p in Transformer(config).parameters())
