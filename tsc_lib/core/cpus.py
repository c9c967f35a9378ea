"""The processors that are there for this process."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")

COMPILED_FOR = ("avx", "amx", "bmi", "f16c", "fma", "gfni")
"""How Linux begins the names of the instruction sets that a compiler uses where the processor has them."""


def list_usable_cpus() -> list[int]:
    """Numbers of the CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def read_cpuinfo(cpuinfo: Path = CPUINFO) -> dict[str, str]:
    """What Linux tells of the first processor, of as many alike as there are cores; nothing on other systems."""
    found: dict[str, str] = {}
    with suppress(OSError):
        first, _, _ = cpuinfo.read_text().partition("\n\n")
        for line in first.splitlines():
            key, _, value = line.partition(":")
            found[key.strip()] = value.strip()
    return found


def list_instructions(cpuinfo: Path = CPUINFO) -> tuple[str, ...]:
    """The instruction sets that a program compiled for this processor may need."""
    return tuple(
        sorted(flag for flag in read_cpuinfo(cpuinfo).get("flags", "").split() if flag.startswith(COMPILED_FOR))
    )
