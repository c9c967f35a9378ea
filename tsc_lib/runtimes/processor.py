"""What the processor can do that not every processor can."""

from __future__ import annotations

from pathlib import Path

import torch


def has_bf16() -> bool:
    """Whether the processor multiplies bfloat16 itself (x86 with AVX-512 BF16 or AMX)."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


NO_BF16 = "this processor has no instructions for bf16 (AVX-512 BF16 or AMX), and emulated it would only be slower"


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
