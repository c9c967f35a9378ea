"""Attention of narrow heads as sums over keys, for a compiler that makes one loop of what is written.

A product of matrices pays where heads are wide. A score of a head of four is four multiplications, and to pass scores
through memory, to an exponential and back to a product, takes several times as long as to make them. Here scores, their
exponentials and the values they weigh are elementwise, and a compiler that fuses elementwise operators into sums keeps
every score in a register. Queries lie side by side, for vectors; they are filled up to whole vectors, because what is
left over would take several times as long.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.polynomial import Chebyshev, Polynomial
from torch import Tensor

WIDEST_HEAD = 4
"""Numbers per head up to which a compiler's sums take less time than the products of a library."""

VECTOR = 16
"""Numbers of fp32 in the widest vectors of a processor."""

LEAST_EXPONENT, BIAS = -126.0, 127.0
"""Smaller powers of two are no normal numbers of fp32; what its bits add to an exponent."""

ROUNDING, ROUNDING_BITS = 1.5 * 2.0**23, 0x4B400000
"""What is added to it loses its fraction, and has its integer in the lowest bits; and its own bits."""

MANTISSA_BITS = 23

_COEFFICIENTS = Chebyshev.interpolate(np.exp2, 5, domain=[-0.5, 0.5]).convert(kind=Polynomial).coef.tolist()


def power_of_two(z: Tensor) -> Tensor:
    """2 to the power of z, from `LEAST_EXPONENT` to 127, within 3e-7 of it, in operators that a processor has.

    The integer nearest to z is added to the exponent's bits of a polynomial of what is left, -1/2 to 1/2.
    """
    rounded = z + ROUNDING
    rest = z - (rounded - ROUNDING)
    power = rest * _COEFFICIENTS[-1] + _COEFFICIENTS[-2]
    for coefficient in _COEFFICIENTS[-3::-1]:
        power = power * rest + coefficient
    return (power.view(torch.int32) + (rounded.view(torch.int32) << MANTISSA_BITS)).view(torch.float32)


def number_of_bits(bits: Tensor) -> Tensor:
    """The number of fp32 that has these bits, given as a number."""
    return bits.to(torch.int32).view(torch.float32)


@dataclass(frozen=True)
class Spelling:
    """How sums are spelled where numbers have a format.

    Attributes
    ----------
    power : callable
        What makes powers of two.
    one, zero : float
        It takes an exponent times `one`, plus `zero`.
    tokens_last : bool
        Whether what heads give is put together with tokens last, and made rows in whole vectors. That is a further
        pass; but where numbers are rounded on their way to rows, as many go at once as a vector has, not as a head has.
    """

    power: Callable[[Tensor], Tensor]
    one: float = 1.0
    zero: float = 0.0
    tokens_last: bool = False


FP32 = Spelling(power_of_two)

BF16 = Spelling(number_of_bits, 2.0**MANTISSA_BITS, BIAS * 2.0**MANTISSA_BITS)
"""With chords between the powers of two with whole exponents: up to 6.2 % more than a power, in one operator.

Written into a number's bits, the fraction of an exponent is a mantissa (N. N. Schraudolph, A fast, compact
approximation of the exponential function, Neural Computation 11(4), 1999). Attention divides by the sum of what it
weighs with, and half of the error with it. What is left is little beside what rounding costs: in int8 the logits of T1
are 1.0 to 1.1 times as far from those of fp32 (root mean square, three data sets) as with exact powers, in bf16 no
farther.
"""

INT8 = replace(BF16, tokens_last=True)


def summed(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, bounded: bool, spelling: Spelling = FP32) -> Tensor:
    """Attention in fp32.

    Parameters
    ----------
    q : Tensor
        Queries (n, heads, tokens, head_dim), multiplied so that a score is an exponent of two, times `spelling.one`.
    k, v : Tensor
        Keys and values of that shape.
    mask : Tensor, optional
        What is added to the scores (n, 1, 1, tokens) before they become exponentials.
    bounded : bool
        Whether no score can overflow or vanish: `largest_score` is at most `SAFE_SCORE`.
    spelling : Spelling
        That of the format around it.

    Returns
    -------
    Tensor
        The same shape as `q`.
    """
    n, heads, tokens, width = q.shape
    if q.dtype != torch.float32:  # one tensor in fp32, or every score would widen its keys and values anew
        q, k, v = torch.cat([q.float(), k.float(), v.float()], dim=1).split(heads, dim=1)
    filling = q.new_zeros(n, heads, width, -tokens % VECTOR)
    queries = torch.cat([q.transpose(2, 3), filling], dim=3)  # a tensor of its own, or its numbers would be gathered
    scores = k[..., 0, None] * queries[:, :, 0, None]  # (n, heads, keys, queries)
    if bounded and spelling.zero:
        scores = scores + spelling.zero  # free of cost here: a product and a sum are one instruction
    for i in range(1, width):
        scores = scores + k[..., i, None] * queries[:, :, i, None]
    if mask is not None and not bounded:
        scores = scores + mask.transpose(2, 3) * (spelling.one / math.log(2))
    if not bounded:
        scores = (scores - scores.amax(2, keepdim=True)).clamp(min=LEAST_EXPONENT * spelling.one)
        scores = scores + spelling.zero if spelling.zero else scores
    weights = spelling.power(scores)
    if mask is not None and bounded:
        weights = weights * mask.transpose(2, 3).exp()
    share = weights.sum(2).reciprocal()
    values = [(weights * v[..., i, None]).sum(2) * share for i in range(width)]
    if spelling.tokens_last:
        return torch.stack(values, dim=2)[..., :tokens].permute(0, 3, 1, 2).contiguous().transpose(1, 2)
    return torch.stack(values, dim=3)[:, :, :tokens]
