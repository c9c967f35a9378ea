"""Structured pruning, as two strategies that must not be confused.

*Masks* set whole rows of weight matrices to zero and leave every shape as it was: a dense kernel multiplies the zeros
like any other number, and nothing becomes cheaper. *Removal* takes attention heads and feed-forward neurons out and
rebuilds the model smaller.

References
----------
.. [1] Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient Inference", ICLR 2017 (scores
       divided by their layer's norm, so that layers can be compared).
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from tsc_lib.compress.context import TrainingContext
from tsc_lib.compress.importance import CRITERIA, check_criterion
from tsc_lib.compress.step import Family, Step
from tsc_lib.compress.surgery import check_plain, check_whole, find_zero_rows, keep_structure
from tsc_lib.core.calls import write_arguments
from tsc_lib.core.errors import UserError
from tsc_lib.models.compressed import CompressedModel, Details
from tsc_lib.models.transformer import TransformerConfig

NORMS = {"l1": 1, "l2": 2}
PARTS, SCOPES = ("both", "heads", "neurons"), ("layer", "global")


@dataclass(frozen=True)
class Mask(Step):
    """Zero the rows of least norm in every linear layer of the encoder (`torch.nn.utils.prune.ln_structured`)."""

    name: ClassVar[str] = "mask"
    summary: ClassVar[str] = "sets the weights of whole rows to zero and removes nothing"
    family: ClassVar[Family] = Family.MASKS
    title: ClassVar[str] = "mask {norm} {ratio:.1%}"
    titled: ClassVar[int] = 2
    examples: ClassVar[Mapping[str, str]] = {
        "mask(l1, 0.5)": "zero half of the rows of every linear layer; norms are l1 and l2",
    }

    norm: str
    ratio: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.norm not in NORMS:
            raise UserError(f"unknown pruning norm {self.norm!r}; use {' or '.join(NORMS)}")
        check_ratio(self.ratio)

    def apply(self, model: CompressedModel, context: TrainingContext) -> tuple[CompressedModel, Details]:
        """Zero rows; shapes, MACs and bytes stay."""
        check_plain(model.network, self.name)
        network = copy.deepcopy(model.network)
        linears = [module for module in network.layers.modules() if isinstance(module, nn.Linear)]
        for linear in linears:
            torch_prune.ln_structured(linear, "weight", amount=self.ratio, n=NORMS[self.norm], dim=0)
            torch_prune.remove(linear, "weight")
        details = {
            "zero_rows": sum(int(find_zero_rows(m).sum()) for m in linears),
            "rows": sum(m.out_features for m in linears),
        }
        return dataclasses.replace(model, network=network), details


@dataclass(frozen=True)
class Prune(Step):
    """Remove the attention heads and feed-forward neurons that matter least.

    Attributes
    ----------
    criterion : {"l1", "l2", "taylor", "activation", "random"}
        What is called important, see `tsc_lib.compress.importance`.
    ratio : float
        Share to remove.
    parts : {"both", "heads", "neurons"}
        What to remove it from.
    scope : {"layer", "global"}
        Whether every layer loses that share, or the whole model does, wherever it matters least. Importance is then
        divided by its layer's root mean square [1]_, and every layer keeps one head and one neuron at least.
    multiple : int
        The widths that remain, of heads together and of neurons, are rounded up to a multiple of this.
    """

    name: ClassVar[str] = "prune"
    summary: ClassVar[str] = "removes attention heads and feed-forward neurons"
    title: ClassVar[str] = "remove {criterion} {ratio:.1%}"
    titled: ClassVar[int] = 2
    examples: ClassVar[Mapping[str, str]] = {
        "prune(l1, 0.5)": (
            "remove half of the attention heads and feed-forward neurons, those that matter least by a "
            "criterion: l1, l2, taylor, activation or random; parts=heads or neurons for one kind alone, "
            "scope=global for half over all layers, multiple=8 to keep widths that are multiples of 8"
        ),
    }

    criterion: str
    ratio: float
    parts: str = "both"
    scope: str = "layer"
    multiple: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_criterion(self.criterion)
        check_ratio(self.ratio)
        if self.parts not in PARTS or self.scope not in SCOPES:
            raise UserError(
                f"prune takes parts {', '.join(PARTS)} and scope {' or '.join(SCOPES)}, "
                f"not {self.parts!r} and {self.scope!r}"
            )

    @property
    def family(self) -> Family:
        """See `Step`."""
        return Family.SMALLER if write_arguments(self)[2:] else Family.REMOVAL

    def apply(self, model: CompressedModel, context: TrainingContext) -> tuple[CompressedModel, Details]:
        """Remove structure; the details list the indices that were kept, per layer."""
        return remove(model, self, context, model.network.config)


def check_ratio(ratio: float) -> None:
    """Refuse a share that would leave everything or nothing.

    Raises
    ------
    UserError
    """
    if not 0 < ratio < 1:
        raise UserError(f"a pruning ratio lies between 0 and 1, not {ratio:g}")


def remove(
    model: CompressedModel, step: Prune, context: TrainingContext, whole: TransformerConfig
) -> tuple[CompressedModel, Details]:
    """What `prune` does, with the share reckoned of `whole`, the sizes before any rounds that went ahead."""
    check_whole(model.network, "prune")
    importance = CRITERIA[step.criterion](model.network, context)
    heads = [torch.arange(layer.heads) for layer in model.network.config.layers]
    neurons = [torch.arange(layer.d_ff) for layer in model.network.config.layers]
    if step.parts != "neurons":
        width = step.multiple // math.gcd(step.multiple, whole.head_dim)  # heads that are together a multiple wide
        heads = _select_strongest(importance.heads, [layer.heads for layer in whole.layers], step, width)
    if step.parts != "heads":
        neurons = _select_strongest(importance.neurons, [layer.d_ff for layer in whole.layers], step, step.multiple)
    network = keep_structure(model.network, heads, neurons)
    details = {"heads": [k.tolist() for k in heads], "neurons": [k.tolist() for k in neurons]}
    return dataclasses.replace(model, network=network), details


def _select_strongest(importance: list[Tensor], whole: list[int], step: Prune, multiple: int) -> list[Tensor]:
    """The indices of the most important of each layer, ascending."""
    if step.scope == "layer":
        counts = [max(1, n - round(n * step.ratio)) for n in whole]
    else:
        counts = _count_over_layers(importance, sum(whole) - round(sum(whole) * step.ratio))
    return [
        scores.topk(min(len(scores), math.ceil(count / multiple) * multiple)).indices.sort().values
        for scores, count in zip(importance, counts, strict=True)
    ]


def _count_over_layers(importance: list[Tensor], total: int) -> list[int]:
    """How many each layer keeps if the `total` most important are kept, wherever they are."""
    scaled = [scores / scores.square().mean().sqrt().clamp_min(torch.finfo().tiny) for scores in importance]
    for scores in scaled:
        scores[scores.argmax()] = math.inf  # no layer without any
    everywhere = torch.cat(scaled)
    layer = torch.cat([torch.full((len(scores),), i) for i, scores in enumerate(scaled)])
    kept = everywhere.topk(min(len(everywhere), max(total, len(scaled)))).indices
    return torch.bincount(layer[kept], minlength=len(scaled)).tolist()
