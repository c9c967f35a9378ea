"""GPU energy against a fake driver whose functions have the signatures of the real `pynvml`."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import ModuleType
from typing import Any
from unittest.mock import create_autospec

import pynvml
import pytest

from tsc_lib.energy import EnergyMeter
from tsc_lib.energy.nvml import NvmlCounter, NvmlPower

pytestmark = pytest.mark.measures

WATTS = {0: 300.0, 1: 80.0}


class Driver:
    """Two GPUs at constant power; single functions can be replaced."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.module: Any = ModuleType("pynvml")
        self.module.NVMLError = pynvml.NVMLError
        self.set("nvmlInit", lambda flags=0: None)
        self.set("nvmlDeviceGetCount", lambda: 2)
        self.set("nvmlDeviceGetHandleByIndex", lambda index: index)
        self.set("nvmlDeviceGetName", lambda handle: b"Fake GPU" if handle else "Fake GPU")
        self.set("nvmlDeviceGetUUID", lambda handle: f"GPU-{handle}{handle}-abc")
        self.set("nvmlDeviceGetTotalEnergyConsumption", self.energy)
        self.set("nvmlDeviceGetPowerUsage", lambda handle: int(1000 * WATTS[handle]))

    def set(self, name: str, function: Callable[..., Any]) -> None:
        setattr(self.module, name, create_autospec(getattr(pynvml, name), side_effect=function))

    def energy(self, handle: int) -> int:
        """Millijoules, updated every 20 ms as real counters are."""
        ticks = int((time.monotonic() - self.start) / 0.02)
        return int(5e6 + 1000 * WATTS[handle] * ticks * 0.02)


def failing(code: int) -> Callable[..., Any]:
    def fail(*_: Any) -> None:
        raise pynvml.NVMLError(code)

    return fail


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    driver = Driver()
    monkeypatch.setitem(__import__("sys").modules, "pynvml", driver.module)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return driver


def test_the_counter_is_preferred_and_right(driver: Driver) -> None:
    meter = EnergyMeter.auto(("gpu",))
    assert meter.source.backend == "nvml"
    with meter.measure("a", inferences=10) as window:
        time.sleep(1.1)
    r = window.reading
    assert r.valid, r.invalid
    assert r.joules == pytest.approx(380 * r.seconds, rel=0.03)
    assert set(r.domains) == {"gpu-0", "gpu-1"} and r.device == "gpu" and r.source == "measured"
    assert r.joules_low < 380 * r.seconds < r.joules_high
    assert r.parameters["gpus"] == ["Fake GPU", "Fake GPU"]
    assert meter.source.resolution_s() == pytest.approx(0.02, abs=0.01)


def test_power_is_polled_where_there_is_no_counter(driver: Driver) -> None:
    driver.set("nvmlDeviceGetTotalEnergyConsumption", failing(pynvml.NVML_ERROR_NOT_SUPPORTED))
    meter = EnergyMeter.auto(("gpu",))
    assert meter.source.backend == "nvml-power" and "Not Supported" in meter.passed_over["gpu"]["nvml"]
    with meter.measure("a") as window:
        time.sleep(0.6)
    assert window.reading.joules == pytest.approx(380 * window.reading.seconds, rel=0.02)


@pytest.mark.parametrize(
    ("visible", "domains"), [("1", {"gpu-1"}), ("GPU-00", {"gpu-0"}), ("1,7,0", {"gpu-1"}), ("0,1", {"gpu-0", "gpu-1"})]
)
def test_hidden_gpus_are_not_counted(driver: Driver, monkeypatch: pytest.MonkeyPatch, visible: str, domains: set[str]):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    source = NvmlPower()
    assert source.unavailable() is None
    assert set(source._gpus) == domains


def test_no_gpu_is_a_reason(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert NvmlCounter().unavailable() == "NVML shows no GPU that this process may use"
    driver.set("nvmlInit", failing(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND))
    assert "Shared Library Not Found" in (NvmlCounter().unavailable() or "")


@pytest.mark.parametrize(
    ("later", "why"),
    [
        (lambda handle: 10, "went from"),  # the driver was loaded anew
        (lambda handle: 10**15, "went from"),
        (failing(pynvml.NVML_ERROR_GPU_IS_LOST), "GPU is lost"),
    ],
)
def test_a_counter_that_fails_invalidates_the_window(driver: Driver, later: Callable[..., Any], why: str) -> None:
    meter = EnergyMeter.auto(("gpu",))
    with meter.measure("a") as window:
        time.sleep(1.05)
        driver.set("nvmlDeviceGetTotalEnergyConsumption", later)
    assert why in (window.reading.invalid or "")


@pytest.mark.parametrize("power", [failing(pynvml.NVML_ERROR_UNKNOWN), lambda handle: 10**9])
def test_power_that_fails_invalidates_the_window(driver: Driver, power: Callable[..., Any]) -> None:
    source = NvmlPower()
    assert source.unavailable() is None
    with EnergyMeter(source).measure("a") as window:
        time.sleep(0.3)
        driver.set("nvmlDeviceGetPowerUsage", power)
        time.sleep(0.3)
    assert "could not be read" in (window.reading.invalid or "")


def test_short_windows_are_refused(driver: Driver) -> None:
    for source in (NvmlCounter(), NvmlPower()):
        with EnergyMeter(source).measure("a") as window:
            pass
        assert "repeat the work" in (window.reading.invalid or "")
