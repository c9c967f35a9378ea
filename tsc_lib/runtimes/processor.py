"""What the processor can do that not every processor can."""

from __future__ import annotations

import torch

from tsc_lib.core.errors import RuntimeUnavailable


def has_bf16() -> bool:
    """Whether the processor multiplies bfloat16 itself (x86 with AVX-512 BF16 or AMX)."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def has_vnni() -> bool:
    """Whether the processor adds int8 products in 32 bits; otherwise two are added in 16, which needs headroom.

    By AVX-512 VNNI, that is: of the VNNI of processors without AVX-512 torch does not tell.
    """
    return torch.cpu._is_vnni_supported()


def has_avx512() -> bool:
    """Whether the processor has vectors of 512 bits."""
    return bool(torch.cpu.get_capabilities().get("avx512_f", False))


def has_amx() -> bool:
    """Whether the processor multiplies tiles of int8, which narrow matrices leave nearly empty."""
    return bool(torch.cpu.get_capabilities().get("amx_int8", False))


NO_BF16 = "this processor has no instructions for bf16 (AVX-512 BF16 or AMX), and emulated it would only be slower"


def require_bf16() -> None:
    """Refuse bf16 where the processor does not multiply it itself.

    Raises
    ------
    RuntimeUnavailable
    """
    if not has_bf16():
        raise RuntimeUnavailable(NO_BF16)
