"""The energy of a real GPU; `make gpu-check` runs this and says why where there is none."""

from __future__ import annotations

import time

import pytest
import torch

from tsc_lib.energy import EnergyMeter
from tsc_lib.energy.nvml import NvmlCounter, NvmlPower

pytestmark = pytest.mark.measures


@pytest.fixture(autouse=True)
def gpu() -> None:
    if reason := NvmlPower().unavailable():
        pytest.skip(f"no GPU whose energy can be told: {reason}")


def work(seconds: float) -> None:
    """Matrix products where torch can use the GPU, else nothing."""
    end = time.monotonic() + seconds
    if not torch.cuda.is_available():
        time.sleep(seconds)
        return
    matrix = torch.randn(4096, 4096, device="cuda")
    while time.monotonic() < end:
        for _ in range(20):
            matrix @ matrix
        torch.cuda.synchronize()


def test_counter_and_polled_power_agree() -> None:
    counter = NvmlCounter()
    if reason := counter.unavailable():
        pytest.skip(f"the GPU has no energy counter: {reason}")
    work(1.0)  # warm
    readings = {}
    for source in (counter, NvmlPower()):
        with EnergyMeter(source).measure("work") as window:
            work(3.0)
        readings[source.backend] = window.reading
        assert window.reading.valid, window.reading.invalid
    print({name: f"{reading.watts:.1f} W" for name, reading in readings.items()})
    assert readings["nvml"].watts == pytest.approx(readings["nvml-power"].watts, rel=0.15)


def test_work_costs_more_than_rest() -> None:
    if not torch.cuda.is_available():
        pytest.skip("this build of torch does not use the GPU")
    meter = EnergyMeter.auto(("gpu",))
    idle = meter.measure_idle(2.0)
    with meter.measure("work") as window:
        work(3.0)
    assert window.reading.watts > 1.2 * idle.watts
    assert 0 < window.reading.joules_net < window.reading.joules
