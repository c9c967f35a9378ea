"""GPU energy against a fake driver whose functions have the signatures of the real `pynvml`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import create_autospec

import pynvml
import pytest

from tsc_lib.energy import EnergyMeter
from tsc_lib.energy.cuda_devices import select_visible
from tsc_lib.energy.nvml import NvmlCounter, NvmlPower
from tsc_lib.energy.source import InvalidWindowError

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
        self.set("nvmlDeviceGetName", lambda handle: "Fake GPU")
        self.set("nvmlDeviceGetUUID", lambda handle: f"GPU-{handle}{handle}-abc")
        self.set("nvmlDeviceGetTotalEnergyConsumption", self.energy)
        self.set("nvmlDeviceGetPowerUsage", lambda handle: int(1000 * WATTS[handle]))
        self.set("nvmlDeviceGetMigMode", failing(pynvml.NVML_ERROR_NOT_SUPPORTED))
        self.set("nvmlDeviceGetMaxMigDeviceCount", lambda handle: 7)
        self.set("nvmlDeviceGetMigDeviceHandleByIndex", failing(pynvml.NVML_ERROR_NOT_FOUND))
        self.set("nvmlDeviceGetComputeRunningProcesses", lambda handle: [SimpleNamespace(pid=os.getpid())])

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
    assert NvmlCounter().unavailable() == "NVML shows no GPU that this process may use: CUDA_VISIBLE_DEVICES is ''"
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


def test_a_counter_that_was_reset_and_caught_up_is_noticed(driver: Driver) -> None:
    meter = EnergyMeter.auto(("gpu",))
    with meter.measure("a") as window:
        time.sleep(0.4)
        driver.set("nvmlDeviceGetTotalEnergyConsumption", lambda handle: 0)
        time.sleep(0.3)
        driver.set("nvmlDeviceGetTotalEnergyConsumption", driver.energy)
        time.sleep(0.4)
    assert "went from" in (window.reading.invalid or "")


@pytest.mark.parametrize("moved_s", [0.2, 0.9])
def test_a_counter_that_stops_is_noticed(driver: Driver, moved_s: float) -> None:
    meter = EnergyMeter.auto(("gpu",))
    with meter.measure("a") as window:
        time.sleep(moved_s)
        stopped = {handle: driver.energy(handle) for handle in WATTS}
        driver.set("nvmlDeviceGetTotalEnergyConsumption", lambda handle: stopped[handle])
        time.sleep(1.1 - moved_s)
    assert "has stood still" in (window.reading.invalid or "")


@pytest.mark.parametrize("kind", [NvmlCounter, NvmlPower])
def test_a_gpu_that_others_compute_on_too_has_no_energy_of_ours(driver: Driver, kind: type) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    worker = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    source = kind()
    assert source.unavailable() is None
    try:
        for pids, shared in (([worker.pid], False), ([2**22 + 5], False), ([os.getpid(), stranger.pid], True)):
            processes = [SimpleNamespace(pid=pid) for pid in pids]
            driver.set("nvmlDeviceGetComputeRunningProcesses", lambda handle, processes=processes: processes)
            with EnergyMeter(source).measure("a") as window:
                pass
            assert ("computes on gpu-0 too" in (window.reading.invalid or "")) == shared, window.reading.invalid
        driver.set("nvmlDeviceGetComputeRunningProcesses", failing(pynvml.NVML_ERROR_NOT_SUPPORTED))
        mark = source.start()
        driver.set("nvmlDeviceGetComputeRunningProcesses", lambda handle: processes)
        with pytest.raises(InvalidWindowError, match=f"process {stranger.pid} computes on gpu-0 too"):
            source.stop(mark, 2.0, 0.1)
    finally:
        for process in (stranger, worker):
            process.kill()
            process.communicate()


def test_parts_of_a_gpu_are_named_and_refused(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {100: "MIG-5c89a1b2-aaaa", 101: "MIG-7d00c3d4-bbbb"}
    uuids = parts | {0: "GPU-00-abc", 1: "GPU-11-abc"}
    driver.set("nvmlDeviceGetUUID", lambda handle: uuids[handle])
    driver.set("nvmlDeviceGetMigMode", lambda handle: [int(handle == 1), 1])
    driver.set(
        "nvmlDeviceGetMigDeviceHandleByIndex",
        lambda device, index: 100 + index if index < 2 else failing(pynvml.NVML_ERROR_NOT_FOUND)(),
    )
    for names, said in {
        "MIG-5c89": "MIG-5c89a1b2-aaaa is a part of gpu-1 (MIG), and NVML tells the energy of whole GPUs only",
        "MIG-nobody,MIG-5c89": "names MIG-nobody, which is a part of no GPU here",
        "1": "gpu-1 is divided into parts (MIG: MIG-5c89a1b2-aaaa, MIG-7d00c3d4-bbbb), and NVML tells",
    }.items():
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", names)
        assert said in (NvmlCounter().unavailable() or ""), names
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert NvmlCounter().unavailable() is None


def test_numbers_of_unlike_gpus_need_an_order(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    driver.set("nvmlDeviceGetName", lambda handle: f"Fake GPU {handle}")
    for names, order, usable in (
        ("0", "", False), ("0", "PCI_BUS_ID", True), ("1,0", "", True), ("GPU-11", "", True)
    ):  # fmt: skip
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", names)
        monkeypatch.setenv("CUDA_DEVICE_ORDER", order)
        assert (NvmlPower().unavailable() is None) == usable, names


@pytest.mark.parametrize(
    ("names", "visible"),
    [
        (None, [0, 1, 2]), ("", []), ("-1", []), ("0", [0]), ("2,1", [2, 1]), ("0,-1,1", [0]), ("1,7,0", [1]),
        ("0,0", []), ("0,1,0", []), ("0,,1", [0]), ("x", []), ("0,x,1", [0]), (" 1 , 2", [1, 2]), ("1gpu,2", [1, 2]),
        ("NoDevFiles", []), ("GPU-aa1", [0]), ("GPU-aa", []), ("GPU-b,GPU-aa,GPU-aa1", [2]), ("GPU-aa1,GPU-aa1", []),
        ("GPU-aa1,GPU-aa1c", []), ("GPU-b,0", [2]), ("0,GPU-b", [0]), ("GPU-", []), ("gpu-b", []), ("GPU-b,", [2]),
    ],
)  # fmt: skip
def test_gpus_are_hidden_as_cuda_hides_them(names: str | None, visible: list[int]) -> None:
    assert select_visible(names, ["GPU-aa1c", "GPU-aa2c", "GPU-b00c"]) == visible


def test_short_windows_are_refused(driver: Driver) -> None:
    for source in (NvmlCounter(), NvmlPower()):
        with EnergyMeter(source).measure("a") as window:
            pass
        assert "repeat the work" in (window.reading.invalid or "")
