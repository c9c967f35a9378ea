"""Attention of narrow heads from elementwise operators and sums over keys, for a compiler that fuses them.

A matrix product pays where heads are wide. A score of a head of four is four multiplications, and writing scores to
memory for the exponential and for the next product takes several times as long as computing them. Here a compiler can
keep every score in a register. Queries lie side by side, for vector instructions, and are padded to whole vectors.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.polynomial import Chebyshev, Polynomial
from torch import Tensor

WIDEST_HEAD = 4
"""Numbers per head up to which the sums of a compiler take less time than the products of a library."""

VECTOR = 16
"""Numbers of fp32 in the widest vectors of a processor."""

LEAST_EXPONENT = -126.0
"""Smaller powers of two are no normal numbers of fp32."""

ROUNDING = 1.5 * 2.0**23
"""A number that is added to it loses its fraction and has its integer part in the lowest bits of the sum."""

MANTISSA_BITS = 23

_COEFFICIENTS = Chebyshev.interpolate(np.exp2, 5, domain=[-0.5, 0.5]).convert(kind=Polynomial).coef.tolist()


def power_of_two(z: Tensor) -> Tensor:
    """2 to the power of z, from `LEAST_EXPONENT` to 127, with a relative error below 3e-7.

    A polynomial approximates the power of the fraction, -1/2 to 1/2. The integer is added to the bits of its exponent.
    """
    rounded = z + ROUNDING
    rest = z - (rounded - ROUNDING)
    power = rest * _COEFFICIENTS[-1] + _COEFFICIENTS[-2]
    for coefficient in _COEFFICIENTS[-3::-1]:
        power = power * rest + coefficient
    return (power.view(torch.int32) + (rounded.view(torch.int32) << MANTISSA_BITS)).view(torch.float32)


def attend_elementwise(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, bounded: bool) -> Tensor:
    """Attention in fp32, whatever the format of its inputs.

    Parameters
    ----------
    q : Tensor
        Queries (n, heads, tokens, head_dim), scaled so that their product with a key is an exponent of two.
    k, v : Tensor
        Keys and values of that shape.
    mask : Tensor, optional
        What is added to the scores (n, 1, 1, tokens), in units of natural logarithms.
    bounded : bool
        Whether no score can overflow; see `tsc_lib.runtimes.attention_matmul.is_bounded`.

    Returns
    -------
    Tensor
        The same shape as `q`, in its format.
    """
    n, heads, tokens, width = q.shape
    dtype = q.dtype
    if dtype != torch.float32:  # one tensor in fp32; otherwise every score would widen its keys and values again
        q, k, v = torch.cat([q.float(), k.float(), v.float()], dim=1).split(heads, dim=1)
    padding = q.new_zeros(n, heads, width, -tokens % VECTOR)
    queries = torch.cat([q.transpose(2, 3), padding], dim=3)  # contiguous; otherwise its numbers would be gathered
    scores = k[..., 0, None] * queries[:, :, 0, None]  # (n, heads, keys, queries)
    for i in range(1, width):
        scores = scores + k[..., i, None] * queries[:, :, i, None]
    if not bounded:
        if mask is not None:
            scores = scores + mask.transpose(2, 3) / math.log(2)
        scores = (scores - scores.amax(2, keepdim=True)).clamp(min=LEAST_EXPONENT)
    weights = power_of_two(scores)
    if bounded and mask is not None:
        weights = weights * mask.transpose(2, 3).exp()
    share = weights.sum(2).reciprocal()
    values = [(weights * v[..., i, None]).sum(2) * share for i in range(width)]
    return torch.stack(values, dim=3)[:, :, :tokens].to(dtype)
