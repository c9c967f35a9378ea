"""The most memory that this process held within a stretch of work, as Linux tells it."""

from __future__ import annotations

from pathlib import Path


def reset_peak_memory() -> float | None:
    """Begin a new peak of this process's memory; returns what it holds now in MB, None where that is not told."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _status_mb("VmRSS")
    except OSError:
        return None


def peak_memory_mb() -> float:
    """The most memory in MB that this process held since `reset_peak_memory`."""
    return _status_mb("VmHWM")


def _status_mb(name: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) / 1000
