"""A new method is one class: the parser, help, model cards, the documentation and figures find it."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import exported
import numpy as np
import pytest
import synthetic
import torch

from tsc_lib import data, figures
from tsc_lib.cli import main
from tsc_lib.compress import STEPS, Family, Recipe, Step, TrainingContext, Variant, apply, steps_table
from tsc_lib.data import Split
from tsc_lib.export import bundle
from tsc_lib.export.card import unmeasured_card
from tsc_lib.models.compressed import CompressedModel
from tsc_lib.models.zoo import build
from tsc_lib.study.specs import TrainingRun
from tsc_lib.training import TrainSpec


@pytest.fixture(autouse=True)
def method() -> Iterator[type[Step]]:
    @dataclass(frozen=True)
    class Shrink(Step):
        """Multiply every weight by a number."""

        name: ClassVar[str] = "shrink"
        summary: ClassVar[str] = "multiplies every weight by a number"
        family: ClassVar[Family] = Family.SMALLER
        title: ClassVar[str] = "shrink to {share:.1%}"
        titled: ClassVar[int] = 1
        examples: ClassVar[Mapping[str, str]] = {"shrink(0.5)": "halve every weight; bias=no to leave the biases"}

        share: float
        bias: str = "yes"

        def apply(self, model: CompressedModel, context: TrainingContext) -> tuple[CompressedModel, dict[str, float]]:
            network = copy.deepcopy(model.network)
            with torch.no_grad():
                for name, parameter in network.named_parameters():
                    if self.bias == "yes" or not name.endswith("bias"):
                        parameter *= self.share
            return dataclasses.replace(model, network=network), {"share": self.share}

    yield Shrink
    del STEPS["shrink"]


@pytest.fixture
def made() -> CompressedModel:
    split = Split([np.zeros((1, 24), np.float32)] * 4, np.arange(4) % 2)
    context = TrainingContext(split, split, True, TrainSpec(), seed=0)
    return apply(CompressedModel(build("T1", 1, 3), 24), "shrink(0.5) > int8(dynamic)", context)


def test_recipes_and_evidence_have_it(made: CompressedModel, method: type[Step]) -> None:
    [step] = Recipe.parse("shrink(share=0.5)")
    assert isinstance(step, method) and str(step) == "shrink(0.5)"
    assert (made.evidence[0].step, made.evidence[0].details) == ("shrink(0.5)", {"share": 0.5})


def test_the_command_lines_help_has_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    [line] = [line for line in capsys.readouterr().out.splitlines() if "shrink(0.5)" in line]
    assert line.split("  ")[1:] and line.endswith("halve every weight; bias=no to leave the biases")


def test_the_documentations_table_has_it() -> None:
    assert "| `shrink(share, bias=yes)` | multiplies every weight by a number |" in steps_table().splitlines()


def test_a_model_card_has_it(made: CompressedModel, tmp_path: Path) -> None:
    exported.make(tmp_path / "model", "eager")
    run = TrainingRun(data.resolve("ItalyPowerDemand"), "T1", TrainSpec(), 0)
    card = unmeasured_card(bundle.read(tmp_path / "model"), run, made, validated=True)
    assert "| `shrink(0.5)`: multiplies every weight by a number | 177,731 → 177,731 |" in card


def test_figures_have_it() -> None:
    assert Variant.parse("shrink(0.5)", "eager").label == "Shrink to 50 %"
    assert Variant.parse("shrink(0.25, no)", "onnxruntime").label == "Shrink to 25 % (no), onnxruntime"
    results = synthetic.results(("PLAID",), ("T1",), (0,))
    results["recipe"] = results.recipe.replace("mask(l1, 0.5)", "shrink(0.5)")
    axes = figures.energy_by_strategy(results).axes
    assert any(text.get_text().startswith("Shrink to 50 %") for ax in axes for text in ax.get_yticklabels())
