"""The processors that are there for this process."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def list_usable_cpus() -> list[int]:
    """Numbers of the CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def count_usable_cpus(root: Path = Path("/")) -> int:
    """How many threads can work at the same time: one for each usable CPU, and no more than the CPU quota pays for."""
    quota, cpus = read_cpu_quota(root), len(list_usable_cpus())
    return cpus if quota is None else max(1, min(cpus, math.floor(quota)))


def read_cpu_quota(root: Path = Path("/")) -> float | None:
    """CPUs' worth of time that this process's container (control group) may use; None where it is not limited.

    Parameters
    ----------
    root : Path
        Below what ``proc/self`` and the mounted control groups are found.

    Returns
    -------
    float or None
        The least quota of the group and of those around it, in CPUs: 1.5 means 150 ms of CPU time in each 100 ms.
    """
    quotas = []
    for folder in _list_control_groups(root):
        with suppress(OSError, ValueError, ZeroDivisionError):
            if (limit := folder / "cpu.max").exists():  # version 2
                quota, period = limit.read_text().split()
            else:
                quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
            quotas.append(float(quota) / float(period))  # a "max" or a negative number is no limit
    return min((quota for quota in quotas if 0 < quota < math.inf), default=None)


def describe_cpu_quota(root: Path = Path("/")) -> str:
    """One sentence about the quota, empty where there is none below the number of usable CPUs."""
    quota, cpus = read_cpu_quota(root), len(list_usable_cpus())
    if quota is None or quota >= cpus:
        return ""
    return (
        f"the container's CPU quota is {quota:g} of the {cpus} CPUs that it sees: more threads are paused whenever "
        "they have used it up"
    )


def count_throttled_periods(root: Path = Path("/")) -> int:
    """Periods so far in which this process's control group, or one around it, was paused for want of quota."""
    periods = 0
    for folder in _list_control_groups(root):
        with suppress(OSError, ValueError):
            counts = dict(line.split() for line in (folder / "cpu.stat").read_text().splitlines())
            periods += int(counts.get("nr_throttled", 0))
    return periods


def _list_control_groups(root: Path) -> Iterator[Path]:
    """The folders of this process's control group and of those around it, as far as they can be seen, of both versions.

    A container sees a part of the tree: its mount begins at the container's own group, and where there is no namespace
    for groups, what ``/proc/self/cgroup`` tells begins at the host's root.
    """
    try:
        groups = [line.split(":", 2) for line in (root / "proc/self/cgroup").read_text().splitlines()]
        mounts = [line.split(" ") for line in (root / "proc/self/mountinfo").read_text().splitlines()]
    except OSError:  # not Linux
        return
    for mount in mounts:
        top, folder = mount[3], root / mount[4].replace("\\040", " ").lstrip("/")
        kind, _, options = mount[mount.index("-") + 1 :]
        for _, controllers, group in groups:
            if (kind == "cgroup2" and not controllers) or (
                kind == "cgroup" and "cpu" in options.split(",") and "cpu" in controllers.split(",")
            ):
                inside = Path(group).relative_to(top) if Path(group).is_relative_to(top) else Path()
                inside = Path() if ".." in inside.parts else inside
                yield from (folder / part for part in (inside, *inside.parents))


def read_cpuinfo(cpuinfo: Path = CPUINFO) -> dict[str, str]:
    """What Linux tells of the first processor, of as many alike as there are cores; nothing on other systems."""
    found: dict[str, str] = {}
    with suppress(OSError):
        first, _, _ = cpuinfo.read_text().partition("\n\n")
        for line in first.splitlines():
            key, _, value = line.partition(":")
            found[key.strip()] = value.strip()
    return found
