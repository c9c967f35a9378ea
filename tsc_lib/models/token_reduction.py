"""Fewer tokens for the rest of a network: similar ones merged, or those dropped that the class token hardly looks at.

How many stay depends on the number of tokens alone, so graphs stay static. A series that was padded keeps as many as it
would keep by itself, and padding never takes a token's place.

References
----------
.. [1] Bolya et al., "Token Merging: Your ViT But Faster", ICLR 2023.
.. [2] Liang et al., "Not All Patches Are What You Need: Expediting Vision Transformers via Token Reorganizations", ICLR
       2022 (EViT: the attention of the class token, averaged over heads, decides).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from tsc_lib.core.errors import UserError
from tsc_lib.core.spec import Spec

METHODS = ("merge", "drop")


@dataclass(frozen=True)
class TokenReduction(Spec):
    """How the tokens of an encoder layer become fewer after its attention.

    Attributes
    ----------
    method : {"merge", "drop"}
        Whether similar tokens are merged, or those dropped that the class token attends to least.
    keep : float
        The share that stays; the class token is not counted and always does.

    Raises
    ------
    UserError
        If there is no such method, or it cannot keep that share.
    """

    method: str
    keep: float

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UserError(f"unknown reduction of tokens {self.method!r}; use {' or '.join(METHODS)}")
        least = 0.5 if self.method == "merge" else 0.001
        if not least <= self.keep < 1:
            more = "; merge again in a later layer to keep less" if self.method == "merge" else ""
            raise UserError(
                f"{self.method} keeps a share of at least {least:g} and less than 1, not {self.keep:g}{more}"
            )

    def count_kept(self, tokens: int) -> int:
        """How many of so many tokens stay, the class token not counted: the share, to a thousandth, rounded up."""
        return (tokens * round(1000 * self.keep) + 999) // 1000


def _is_kept(rank: Tensor, tokens: Tensor, keep: float) -> Tensor:
    """Whether a token of this rank, from 0, is kept: without a division, which runtimes round differently."""
    return 1000 * rank < round(1000 * keep) * tokens


def reduce_tokens(
    x: Tensor, mask: Tensor | None, q: Tensor, k: Tensor, scale: float, reduction: TokenReduction
) -> tuple[Tensor, Tensor | None]:
    """Fewer tokens, the class token first among them.

    Parameters
    ----------
    x : Tensor
        Tokens (n, tokens, d_model), the class token first, as attention has left them.
    mask : Tensor, optional
        Of the tokens (n, 1, 1, tokens): whether they are no padding, or what is added to their scores.
    q, k : Tensor
        Queries and keys (n, heads, tokens, head_dim) of that attention; only the class token's query is used.
    scale : float
        What their products are multiplied by.
    reduction : TokenReduction
        What is done, and how many tokens it keeps.

    Returns
    -------
    x, mask : Tensor
        The same of the tokens that stay; the mask is then the logarithm of the patches that each stands for, so that
        attention counts a merged token as often as what it was made of [1]_.
    """
    if mask is not None and mask.dtype == torch.bool:
        mask = torch.where(mask, 0.0, -torch.inf).to(x.dtype)
    if reduction.method == "merge":
        return _merge(x, mask, k.transpose(1, 2).flatten(2), reduction)
    scores = q[:, :, :1] @ k.transpose(2, 3) * scale  # (n, heads, 1, tokens)
    attention = torch.softmax(scores if mask is None else scores + mask, dim=-1)
    return _drop(x, mask, attention.mean(1)[:, 0], reduction)


def _drop(x: Tensor, mask: Tensor | None, attention: Tensor, reduction: TokenReduction) -> tuple[Tensor, Tensor | None]:
    """The tokens with the most attention (n, tokens) of the class token, in its order."""
    count = reduction.count_kept(x.shape[1] - 1)
    attention = attention[:, 1:]
    if mask is not None:
        weights = mask[:, 0, 0, 1:]
        real = weights > -torch.inf
        attention = torch.where(real, attention, -1.0)  # that of a real token may be 0 as well
    order = attention.argsort(dim=1, descending=True)[:, :count]
    x = torch.cat([x[:, :1], _gather_rows(x[:, 1:], order)], dim=1)
    if mask is not None:
        stays = _is_kept(torch.arange(count, device=x.device), real.sum(1, keepdim=True), reduction.keep)
        weights = torch.where(stays, weights.gather(1, order), -torch.inf)
        mask = torch.cat([mask[..., :1], weights[:, None, None]], dim=-1)
    return x, mask


def _merge(x: Tensor, mask: Tensor | None, keys: Tensor, reduction: TokenReduction) -> tuple[Tensor, Tensor]:
    """Every other token is merged into the one of the rest whose keys (n, tokens, width) are most alike [1]_.

    Of those that may be merged the least similar stay. The mean is weighted by the patches that tokens stand for.
    """
    n, tokens, _ = x.shape
    count = reduction.count_kept(tokens - 1)
    sizes = x.new_ones(n, tokens) if mask is None else mask[:, 0, 0].exp()  # 0 for padding
    keys = F.normalize(keys, dim=2)
    takers, givers = torch.arange((tokens + 1) // 2, device=x.device), torch.arange(tokens // 2, device=x.device)
    taking, giving = sizes[:, ::2], sizes[:, 1::2]  # the class token is the first taker, and is given nothing
    similarity = keys[:, 1::2] @ keys[:, ::2].transpose(1, 2)
    able = (taking > 0) & (takers > 0)
    similarity, target = torch.where(able[:, None], similarity, -2.0).max(dim=2)  # each (n, givers)
    order = torch.where(giving > 0, similarity, 3.0).argsort(dim=1)  # padding last
    given, giving, target = _gather_rows(x[:, 1::2], order), giving.gather(1, order), target.gather(1, order)
    rank = givers + (taking[:, 1:] > 0).sum(1, keepdim=True)  # all that take stay, and come first
    moved = torch.where(_is_kept(rank, (sizes[:, 1:] > 0).sum(1, keepdim=True), reduction.keep), 0.0, giving)
    shares = (target[:, None] == takers[:, None]) * moved[:, None]  # (n, takers, givers)
    total = taking + shares.sum(2)
    taken = (taking[..., None] * x[:, ::2] + shares @ given) / total.clamp(min=0.5)[..., None]  # padding has 0
    x, sizes = torch.cat([taken, given], dim=1), torch.cat([total, giving - moved], dim=1)
    if mask is not None:  # what is left of a padded series must come first, as it does where nothing was padded
        places = torch.arange(tokens, device=x.device)
        order = torch.where(sizes > 0, places, places + tokens).argsort(dim=1)
        x, sizes = _gather_rows(x, order), sizes.gather(1, order)
    return x[:, : count + 1], sizes[:, : count + 1].log()[:, None, None]


def _gather_rows(x: Tensor, order: Tensor) -> Tensor:
    return x.gather(1, order[..., None].expand(-1, -1, x.shape[2]))
