"""The study's transformers: sizes as published, and padding that changes nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from tsc_lib.compress import TrainingContext, apply
from tsc_lib.core.errors import UserError
from tsc_lib.data import Split
from tsc_lib.models import zoo
from tsc_lib.models.compressed import CompressedModel, load_model, save_model
from tsc_lib.models.convolution_embedding import ConvolutionEmbeddingConfig
from tsc_lib.models.embedding import MAX_TOKENS, PatchEmbeddingConfig
from tsc_lib.models.token_reduction import TokenReduction
from tsc_lib.models.transformer import EarlyExit, LayerConfig, Ranks, Transformer, TransformerConfig, check_length
from tsc_lib.models.zoo import build
from tsc_lib.training import TrainSpec


@pytest.mark.parametrize(("name", "parameters"), [("T1", 180_041), ("T2", 264_137)])
def test_published_parameter_counts(name: str, parameters: int) -> None:
    model = build(name, channels=4, classes=9)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert model.eval()(torch.zeros(2, 4, 151)).shape == (2, 9)


def test_unknown_model_is_one_sentence() -> None:
    with pytest.raises(UserError, match="unknown model 'T3'; the models are T1, T2, ConvTransformer"):
        build("T3", 1, 2)


@pytest.mark.parametrize("name", ["T1", "ConvTransformer(patch=8)"])
def test_padded_series_has_the_logits_it_has_alone(name: str) -> None:
    torch.manual_seed(0)
    model = build(name, channels=2, classes=3).eval()
    lengths = torch.tensor([20, 47, 96])
    x = torch.randn(3, 2, 96)
    with torch.inference_mode():
        together = model(x * (torch.arange(96) < lengths[:, None])[:, None], lengths)
        alone = torch.cat([model(x[i : i + 1, :, : int(n)]) for i, n in enumerate(lengths)])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("name", ["T2", "ConvTransformer(patch=8)"])
def test_what_lies_in_the_padding_does_not_matter(name: str) -> None:
    torch.manual_seed(0)
    model = build(name, channels=1, classes=3).eval()
    x, lengths = torch.randn(2, 1, 64), torch.tensor([32, 64])
    other = x.clone()
    other[0, :, 32:] = 1000.0
    with torch.inference_mode():
        torch.testing.assert_close(model(x, lengths), model(other, lengths))


def test_layers_may_differ_in_width() -> None:
    config = TransformerConfig(1, 2, PatchEmbeddingConfig(8), 32, 4, (LayerConfig(1, 5), LayerConfig(8, 256)), 16)
    model = Transformer(config)
    assert model.layers[0].attention.query.weight.shape == (4, 32)
    assert model(torch.zeros(1, 1, 16)).shape == (1, 2)


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="needs a layer"):
        TransformerConfig(1, 2, PatchEmbeddingConfig(8), 32, 4, (), 16)
    with pytest.raises(ValueError, match="at least 1"):
        LayerConfig(heads=0, d_ff=1)
    with pytest.raises(ValueError, match="at least 1"):
        PatchEmbeddingConfig(0)
    with pytest.raises(ValueError, match="3 columns of positions do not fit 32 channels"):
        Transformer(TransformerConfig(1, 2, PatchEmbeddingConfig(8, 1, 64, (0, 1, 2)), 32, 4, (LayerConfig(1, 1),), 16))


def test_a_configuration_survives_json() -> None:
    config = TransformerConfig(
        channels=1,
        classes=2,
        embedding=PatchEmbeddingConfig(16, 2, 12, tuple(range(8))),
        d_model=8,
        head_dim=4,
        layers=(
            LayerConfig(2, 8, reduction=TokenReduction("merge", 0.5)),
            LayerConfig(1, 5, Ranks(query=2, contract=1)),
        ),
        d_hidden=8,
        exits=(EarlyExit(1, 0.75),),
    )
    stored = json.loads(json.dumps(config.to_json()))
    assert TransformerConfig.from_json(stored) == config
    assert stored["layers"][1]["ranks"]["query"] == 2 and stored["embedding"]["kind"] == "patches"
    assert config.count_tokens(100) == (6, 3, 3) and config.is_factorised and config.stage_ends == (1, 2)


def test_every_step_takes_a_convolution_before_the_tokens(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = zoo.configure("ConvTransformer(patch=4, layers=3, filters=16)", 2, 3)
    rng = np.random.default_rng(0)
    split = Split([rng.normal(size=(2, n)).astype(np.float32) for n in range(24, 64)], rng.integers(0, 3, 40))
    context = TrainingContext(split, split, False, TrainSpec(batch_size=8), seed=0)
    recipe = "prune(taylor, 0.5) > width(l1, 8) > layers(2) > patch(8) > lowrank(0.5) > finetune(1) > exits(1, 99)"
    made = apply(CompressedModel(Transformer(config).eval(), 40), recipe, context)
    embedding = made.network.config.embedding
    assert isinstance(embedding, ConvolutionEmbeddingConfig)
    assert (embedding.patch, embedding.filters, made.network.config.d_model) == (8, 16, 8)
    save_model(made, tmp_path)
    again = load_model(tmp_path).network
    assert again.config == made.network.config
    x, lengths = torch.randn(2, 2, 60), torch.tensor([32, 60])
    with torch.inference_mode():
        torch.testing.assert_close(again(x, lengths), made.network(x, lengths), rtol=0, atol=0)
        torch.testing.assert_close(again(x, lengths)[:1], again(x[:1, :, :32]))
    student = apply(CompressedModel(Transformer(config).eval(), 40), "student(1, 2, 32, 16, filters=8)", context)
    assert student.network.config.pre_norm and student.network.config.embedding == ConvolutionEmbeddingConfig(
        8, filters=8, dilations=(1, 2, 4, 8), pointwise=32
    )


def test_filters_for_a_student_of_patches_are_refused() -> None:
    model, split = CompressedModel(build("T1", 1, 2), 16), Split([np.zeros((1, 16), np.float32)] * 4, np.arange(4) % 2)
    with pytest.raises(UserError, match="a student has filters where its model has a convolution"):
        apply(model, "student(filters=8)", TrainingContext(split, split, True, TrainSpec(), seed=0))


def test_sizes_may_follow_a_name() -> None:
    config = zoo.configure("ConvTransformer(layers=1, d_model=32, heads=2, patch=4, dropout=0)", 1, 2)
    assert (len(config.layers), config.d_model, config.head_dim, config.embedding.patch) == (1, 32, 16, 4)
    assert zoo.configure("ConvTransformer", 1, 2, longest=720).count_tokens(720)[0] == zoo.TOKENS
    assert zoo.configure("ConvTransformer", 1, 2, longest=5).embedding.patch == 1
    for name in (
        "T1(layers=many)",
        "T1(layers=0)",
        "T1(layers=1, layers=2)",
        "T1(heads=5)",
        "T1(layers=65)",
        "ConvTransformer(kernel=8)",
        "T1(kernel=1.5)",
        "T1(x=1)",
    ):
        with pytest.raises(UserError, match=re.escape(name)):
            zoo.configure(name, 1, 2)


@pytest.mark.parametrize("name", ["T1", "ConvTransformer(patch=8)"])
@pytest.mark.parametrize("length", [1, 7])
def test_series_shorter_than_a_patch_fill_one_with_zeros(name: str, length: int) -> None:
    model = build(name, 2, 3).eval()
    x = torch.zeros(2, 2, 40)
    x[0], x[1, :, :length] = torch.randn(2, 40), torch.randn(2, length)
    with torch.inference_mode():
        together = model(x, torch.tensor([40, length]))
        alone = model(x[1:, :, :length], torch.tensor([length]))
        filled = model(x[1:, :, :8])
    torch.testing.assert_close(together[1:], alone)
    torch.testing.assert_close(filled, alone)


@pytest.mark.parametrize("length", [0, 8 * (MAX_TOKENS + 1)])
def test_series_that_cannot_be_placed_are_refused(length: int) -> None:
    with pytest.raises(UserError, match=f"series has {length} time steps, but the model reads between 1 and"):
        check_length(build("T1", 1, 2).config, length)
