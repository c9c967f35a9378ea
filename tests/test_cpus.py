"""The CPU quota of a container, read from faked control groups of both versions."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tsc_lib.benchmark import BenchmarkSettings, Candidate, run_session
from tsc_lib.benchmark.host import describe_host, describe_pauses
from tsc_lib.core import cpus
from tsc_lib.core.errors import UserError
from tsc_lib.export import predict

V1_MOUNT = "32 31 0:29 {top} /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct"
V2_MOUNT = "31 23 0:28 {top} /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate"


def fake(root: Path, groups: str, mount: str, quotas: dict[str, str]) -> Path:
    """What a process below `root` would see: its groups, one mount, and quotas by folder below the mount."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    (root / "proc/self/mountinfo").write_text(f"22 27 0:21 / /proc rw - proc proc rw\n{mount}\n")
    for folder, quota in quotas.items():
        path = root / mount.split(" ")[4].lstrip("/") / folder
        path.mkdir(parents=True, exist_ok=True)
        if "cgroup2" in mount:
            (path / "cpu.max").write_text(f"{quota}\n")
        else:
            for name, value in zip(("quota", "period"), quota.split(), strict=True):
                (path / f"cpu.cfs_{name}_us").write_text(f"{value}\n")
        (path / "cpu.stat").write_text("nr_periods 100\nnr_throttled 7\nthrottled_time 5\n")
    return root


CASES: dict[str, tuple[str, str, dict[str, str], float | None]] = {
    "version 2, no limit": ("0::/\n", V2_MOUNT.format(top="/"), {".": "max 100000"}, None),
    "version 2, in a namespace": ("0::/\n", V2_MOUNT.format(top="/"), {".": "150000 100000"}, 1.5),
    "version 2, nested": (
        "0::/kube/pod/box\n",
        V2_MOUNT.format(top="/"),
        {"kube": "max 100000", "kube/pod": "50000 100000", "kube/pod/box": "200000 100000"},
        0.5,
    ),
    "version 2, another period": ("0::/a\n", V2_MOUNT.format(top="/"), {"a": "30000 20000"}, 1.5),
    "version 2, outside of the namespace": ("0::/../other\n", V2_MOUNT.format(top="/"), {".": "100000 100000"}, 1),
    "version 2, a slice of a name with a colon": ("0::/a:b\n", V2_MOUNT.format(top="/"), {"a:b": "70000 100000"}, 0.7),
    "version 1, no limit": ("4:cpu,cpuacct:/\n", V1_MOUNT.format(top="/"), {".": "-1 100000"}, None),
    "version 1, the host's paths": (
        "5:memory:/docker/1f\n4:cpuacct,cpu:/docker/1f\n0::/\n", V1_MOUNT.format(top="/docker/1f"),
        {".": "100000 50000"}, 2,
    ),
    "version 1, nested": (
        "4:cpu:/a/b\n", V1_MOUNT.format(top="/"), {"a": "80000 100000", "a/b": "-1 100000"}, 0.8,
    ),
    "another controller's mount": (
        "4:cpuset:/\n", V1_MOUNT.format(top="/").replace("cpu,cpuacct", "cpuset"), {".": "50000 100000"}, None,
    ),
    "an unreadable number": ("0::/\n", V2_MOUNT.format(top="/"), {".": "much"}, None),
    "a period of nothing": ("0::/\n", V2_MOUNT.format(top="/"), {".": "5 0"}, None),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_least_quota_around_a_process_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str):
    groups, mount, quotas, expected = CASES[case]
    root = fake(tmp_path, groups, mount, quotas)
    monkeypatch.setattr(cpus, "list_usable_cpus", lambda: [0, 1, 4, 5])
    assert cpus.read_cpu_quota(root) == expected
    assert cpus.count_usable_cpus(root) == (4 if expected is None else max(1, int(expected)))
    said = cpus.describe_cpu_quota(root)
    assert (f"CPU quota is {expected:g} of the 4 CPUs" in said) if expected else not said


def test_a_quota_above_the_usable_cpus_limits_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = fake(tmp_path, "0::/\n", V2_MOUNT.format(top="/"), {".": "800000 100000"})
    monkeypatch.setattr(cpus, "list_usable_cpus", lambda: [3])
    assert cpus.count_usable_cpus(root) == 1 and not cpus.describe_cpu_quota(root)


def test_throttled_periods_are_those_of_all_groups_around(tmp_path: Path):
    quotas = {"a": "50000 100000", "a/b": "max 100000"}
    assert cpus.count_throttled_periods(fake(tmp_path, "0::/a/b\n", V2_MOUNT.format(top="/"), quotas)) == 14


def test_benchmarks_and_predictions_keep_to_the_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cpus, "list_usable_cpus", lambda: list(range(8)))
    monkeypatch.setattr(cpus, "read_cpu_quota", lambda root=None: 2.5)
    with pytest.raises(UserError, match=r"3 threads, but the container's CPU quota is 2.5 of the 8 .* 'threads' to 2"):
        run_session(Candidate("a", "", {}), [], tmp_path, BenchmarkSettings(threads=3))
    assert predict.count_usable_cpus() == 2


@pytest.mark.parametrize(
    ("quota", "threads", "throttled", "paused"),
    [(None, 2, 0, False), (None, 2, 3, False), (2.0, 2, 0, False), (0.5, 1, 0, True), (2.0, 1, 3, True)],
)
def test_a_session_tells_of_pauses(quota: float | None, threads: int, throttled: int, paused: bool):
    host = dataclasses.replace(describe_host(), cpu_quota=quota, threads=threads, throttled_periods=throttled)
    said = describe_pauses(host)
    assert (f"CPU quota of {quota:g} CPUs paused the session" in said) if paused else not said


def test_without_control_groups_there_is_no_quota(tmp_path: Path):
    assert cpus.read_cpu_quota(tmp_path) is None
    assert cpus.count_usable_cpus(tmp_path) == len(cpus.list_usable_cpus())
    assert cpus.count_throttled_periods(tmp_path) == 0
