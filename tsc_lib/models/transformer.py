"""The study's transformer: tokens of a series, a post-norm encoder and a two-layer classifier.

The sizes of every layer are part of the configuration, so a model whose heads and neurons were removed is described,
stored and rebuilt exactly like an uncompressed one.

References
----------
.. [1] Kermani et al., "Energy-Efficient Transformer Inference: Optimization Strategies for Time Series
       Classification", arXiv:2502.16627, 2025.
.. [2] Vaswani et al., "Attention Is All You Need", NeurIPS 2017 (post-norm layers).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from itertools import groupby, pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from tsc_lib.core.errors import UserError
from tsc_lib.core.html import view
from tsc_lib.core.spec import ADDED, Spec
from tsc_lib.models.convolution_embedding import ConvolutionEmbeddingConfig
from tsc_lib.models.embedding import ChannelReader, PatchEmbeddingConfig
from tsc_lib.models.experts import Experts
from tsc_lib.models.token_reduction import TokenReduction, reduce_tokens


@dataclass(frozen=True)
class Ranks:
    """The rank of every linear layer of an encoder layer; 0 for one that is a single matrix."""

    query: int = 0
    key: int = 0
    value: int = 0
    out: int = 0
    expand: int = 0
    contract: int = 0

    def to_json(self) -> dict[str, int]:
        """The ranks by name."""
        return dataclasses.asdict(self)


WHOLE = Ranks()
"""Of an encoder layer that nothing is factorised in."""


@dataclass(frozen=True)
class LayerConfig(Spec):
    """Sizes of one encoder layer.

    Attributes
    ----------
    heads, d_ff : int
        Attention heads and feed-forward neurons.
    ranks : Ranks
        Of its linear layers.
    reduction : TokenReduction, optional
        How its tokens become fewer after attention.
    experts, active : int
        Feed-forward parts, each of `d_ff` neurons, and how many of them a token uses.
    """

    heads: int
    d_ff: int
    ranks: Ranks = WHOLE
    reduction: TokenReduction | None = None
    experts: int = field(default=1, metadata=ADDED)
    active: int = field(default=1, metadata=ADDED)

    def __post_init__(self) -> None:
        if not isinstance(self.ranks, Ranks):  # JSON gives its content back
            object.__setattr__(self, "ranks", Ranks(**self.ranks))
        if self.reduction is not None:
            object.__setattr__(self, "reduction", TokenReduction.restore(self.reduction))
        if min(self.heads, self.d_ff) < 1 or min(dataclasses.astuple(self.ranks)) < 0:
            raise ValueError(f"every size of a layer must be at least 1, and a rank at least 0: {self}")
        if not 1 <= self.active <= self.experts or (self.experts > 1 and self.ranks != WHOLE):
            raise ValueError(f"a token uses some of a layer's experts, and those are not factorised: {self}")


EMBEDDINGS: dict[str, type[PatchEmbeddingConfig]] = {
    "patches": PatchEmbeddingConfig,
    "convolution": ConvolutionEmbeddingConfig,
}
"""Every kind of embedding by the name that stored configurations give it."""


@dataclass(frozen=True)
class EarlyExit(Spec):
    """Where series may leave a network.

    Attributes
    ----------
    layer : int
        After how many encoder layers.
    threshold : float
        The confidence above which a series leaves.
    """

    layer: int
    threshold: float


@dataclass(frozen=True)
class TransformerConfig(Spec):
    """Sizes of a transformer; everything that is needed to rebuild one around a state dict.

    Attributes
    ----------
    channels, classes : int
        Width of the input and of the output.
    embedding : PatchEmbeddingConfig
        How series become tokens.
    d_model : int
        Embedding width.
    head_dim : int
        Width of one attention head.
    layers : tuple of LayerConfig
        The encoder layers, in order.
    d_hidden : int
        Width of the classifier's hidden layer.
    dropout : float
        Probability, in training, with which outputs of sublayers and hidden neurons are dropped.
    exits : tuple of EarlyExit
        Early exits, ascending.
    pre_norm : bool
        Whether layers normalise what they read and the last is followed by a norm, instead of what they give.
    input_channels : tuple of int, optional
        Channels of the series that the network reads, ascending and counted from 0; None for all.
    """

    channels: int
    classes: int
    embedding: PatchEmbeddingConfig
    d_model: int
    head_dim: int
    layers: tuple[LayerConfig, ...]
    d_hidden: int
    dropout: float = 0.1
    exits: tuple[EarlyExit, ...] = ()
    pre_norm: bool = False
    input_channels: tuple[int, ...] | None = field(default=None, metadata=ADDED)

    def __post_init__(self) -> None:
        if isinstance(self.embedding, dict):  # JSON gives its content back
            object.__setattr__(self, "embedding", EMBEDDINGS[self.embedding["kind"]].from_json(self.embedding))
        object.__setattr__(self, "layers", tuple(map(LayerConfig.restore, self.layers)))
        object.__setattr__(self, "exits", tuple(map(EarlyExit.restore, self.exits)))
        if not self.layers or min(self.channels, self.classes, self.d_model, self.head_dim, self.d_hidden) < 1:
            raise ValueError(f"a transformer needs a layer, and every size must be at least 1: {self}")
        if self.input_channels is not None:
            object.__setattr__(self, "input_channels", tuple(self.input_channels))  # JSON gives a list back
            if not self.input_channels or any(a >= b for a, b in pairwise([-1, *self.input_channels, self.channels])):
                raise ValueError(f"a network reads some of its {self.channels} channels, not {self.input_channels}")
        if any(a >= b for a, b in pairwise([0, *self.stage_ends])):
            raise ValueError(f"exits must come after different layers, ascending and before the last: {self.exits}")

    def _repr_html_(self) -> str:
        columns = ["layers", "heads", "head width", "feed-forward neurons", "tokens after it", "low rank"]
        rows: list[tuple[object, ...]] = []
        for layer, alike in groupby(enumerate(self.layers, start=1), key=lambda each: each[1]):
            numbers = [number for number, _ in alike]
            where = f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else str(numbers[0])
            fewer = f"{layer.reduction.method}, {layer.reduction.keep:g} stay" if layer.reduction else "all"
            neurons = layer.d_ff if layer.experts == 1 else f"{layer.d_ff} in {layer.active} of {layer.experts} experts"
            rows.append((where, layer.heads, self.head_dim, neurons, fewer, "no" if layer.ranks == WHOLE else "yes"))
        read = "" if self.input_channels is None else f" of which it reads {self.read_channels}"
        exits = "".join(f", exit after layer {each.layer} above {each.threshold:g}" for each in self.exits)
        return view(
            f"Transformer, {self.channels} channel(s){read}, {self.classes} classes",
            rows,
            columns,
            f"embedding: {self.embedding.kind}, {self.embedding.patch} time steps a token, {self.d_model} wide{exits}",
        )

    @property
    def read_channels(self) -> int:
        """How many channels of the series the network reads."""
        return self.channels if self.input_channels is None else len(self.input_channels)

    @property
    def stage_ends(self) -> tuple[int, ...]:
        """After how many layers series may leave: at each early exit, and at the end."""
        return (*(each.layer for each in self.exits), len(self.layers))

    @property
    def has_experts(self) -> bool:
        """Whether a layer has several feed-forward parts, of which a token uses some."""
        return any(layer.experts > 1 for layer in self.layers)

    @property
    def is_factorised(self) -> bool:
        """Whether a linear layer of the encoder is the product of two."""
        return any(layer.ranks != WHOLE for layer in self.layers)

    def count_tokens(self, length: int) -> tuple[int, ...]:
        """Tokens of a series of so many steps before the first layer and after each, the class token not counted."""
        tokens = [self.embedding.count_tokens(length)]
        for layer in self.layers:
            tokens.append(tokens[-1] if layer.reduction is None else layer.reduction.count_kept(tokens[-1]))
        return tuple(tokens)


def make_linear(inputs: int, outputs: int, rank: int) -> nn.Linear | nn.Sequential:
    """A linear layer: one matrix, or with a `rank` above 0 the product of two thinner ones."""
    if rank == 0:
        return nn.Linear(inputs, outputs)
    return nn.Sequential(nn.Linear(inputs, rank, bias=False), nn.Linear(rank, outputs))


class Attention(nn.Module):
    """Multi-head self-attention whose heads are contiguous slices of four plain linear layers."""

    def __init__(self, d_model: int, heads: int, head_dim: int, ranks: Ranks = WHOLE) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, head_dim
        self.query = make_linear(d_model, heads * head_dim, ranks.query)
        self.key = make_linear(d_model, heads * head_dim, ranks.key)
        self.value = make_linear(d_model, heads * head_dim, ranks.value)
        self.out = make_linear(heads * head_dim, d_model, ranks.out)
        # As `torch.nn.MultiheadAttention` starts, which holds the three projections as one matrix: hence the gain.
        # What is factorised is never trained from scratch, and gets its weights from elsewhere.
        for projection in (self.query, self.key, self.value):
            if isinstance(projection, nn.Linear):
                nn.init.xavier_uniform_(projection.weight, gain=2**-0.5)
                nn.init.zeros_(projection.bias)
        if isinstance(self.out, nn.Linear):
            nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """What attention adds to tokens x (n, tokens, d_model), and its queries and keys (n, heads, tokens, head_dim).

        The mask (n, 1, 1, tokens) tells which tokens are no padding, or is what to add to their scores.
        """
        n, tokens, _ = x.shape
        q, k, v = (
            projection(x).view(n, tokens, self.heads, self.head_dim).transpose(1, 2)
            for projection in (self.query, self.key, self.value)
        )
        # No dropout on the weights: the fused kernel has none, and training would take up to four times as long.
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(y.transpose(1, 2).reshape(n, tokens, self.heads * self.head_dim)), q, k


class FeedForward(nn.Module):
    """Two linear layers with a ReLU between them, as in [2]_."""

    def __init__(self, d_model: int, d_ff: int, dropout: float, ranks: Ranks = WHOLE) -> None:
        super().__init__()
        self.expand = make_linear(d_model, d_ff, ranks.expand)
        self.dropout = nn.Dropout(dropout)
        self.contract = make_linear(d_ff, d_model, ranks.contract)

    def forward(self, x: Tensor) -> Tensor:
        return self.contract(self.dropout(F.relu(self.expand(x))))


class EncoderLayer(nn.Module):
    """Attention and feed-forward, each with a residual and a layer norm: after it (post-norm) or before (pre-norm)."""

    def __init__(self, config: TransformerConfig, layer: LayerConfig) -> None:
        super().__init__()
        self.reduction, self.pre_norm = layer.reduction, config.pre_norm
        self.attention = Attention(config.d_model, layer.heads, config.head_dim, layer.ranks)
        self.attention_norm = nn.LayerNorm(config.d_model)
        parts = [FeedForward(config.d_model, layer.d_ff, config.dropout, layer.ranks) for _ in range(layer.experts)]
        self.feed_forward: FeedForward | Experts = parts[0]
        if layer.experts > 1:
            self.feed_forward = Experts(config.d_model, parts, layer.active)
        self.feed_forward_norm = nn.LayerNorm(config.d_model)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Tokens (n, tokens, d_model) and their mask (n, 1, 1, tokens), fewer where the layer reduces them."""
        added, q, k = self.attention(self.attention_norm(x) if self.pre_norm else x, mask)
        x = x + self.dropout(added)
        x = x if self.pre_norm else self.attention_norm(x)
        if self.reduction is not None:
            x, mask = reduce_tokens(x, mask, q, k, self.attention.head_dim**-0.5, self.reduction)
        if self.pre_norm:
            return x + self.dropout(self.feed_forward(self.feed_forward_norm(x))), mask
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x))), mask


class Transformer(nn.Module):
    """A time series classifier.

    Parameters
    ----------
    config : TransformerConfig
        Sizes of every part.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.read = ChannelReader(config.input_channels)
        self.embedding = config.embedding.build(config.read_channels, config.d_model)
        self.layers = nn.ModuleList(EncoderLayer(config, layer) for layer in config.layers)
        self.norm = nn.LayerNorm(config.d_model) if config.pre_norm else nn.Identity()
        self.hidden = nn.Linear(config.d_model, config.d_hidden)
        self.classify = nn.Linear(config.d_hidden, config.classes)
        self.exits = nn.ModuleList(nn.Linear(config.d_model, config.classes) for _ in config.exits)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits (n, classes) of series x (n, channels, length), padded beyond `lengths` (n,) if given.

        No series leaves early: `tsc_lib.models.early_exit` has what runs up to an exit.
        """
        x, _ = self.encode(*self.embed(x, lengths), 0, len(self.layers))
        return self.classify_tokens(x)

    def embed(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Tokens of series x (n, channels, length), and their mask."""
        return self.embedding(self.read(x), lengths)

    def encode(self, x: Tensor, mask: Tensor | None, first: int, last: int) -> tuple[Tensor, Tensor | None]:
        """Tokens and their mask after the layers from `first` to before `last`."""
        for layer in self.layers[first:last]:
            x, mask = layer(x, mask)
        return x, mask

    def pool(self, x: Tensor) -> Tensor:
        """What classifiers read (n, d_model) of tokens: the class token, which is no padding."""
        return self.norm(x[:, 0])

    def classify_tokens(self, x: Tensor) -> Tensor:
        """Logits from the tokens after the last layer."""
        return self.classify(F.relu(self.hidden(self.pool(x))))


def check_length(config: TransformerConfig, length: int, what: str = "the series") -> None:
    """Refuse series that the model cannot place: without a time step, or beyond the tabulated positions.

    Raises
    ------
    UserError
        If `length` time steps are none, or make too many tokens.
    """
    shortest, longest = config.embedding.length_limits
    if not shortest <= length <= longest:
        raise UserError(
            f"{what} has {length} time steps, but the model reads between {shortest} and {longest}; "
            "pad or cut the series"
        )
