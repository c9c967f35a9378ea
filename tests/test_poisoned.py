"""Poisoned test labels change the score and nothing else: no weight, no chosen epoch, nothing that is exported."""

from __future__ import annotations

import dataclasses
import difflib
import re
from pathlib import Path

import numpy as np
import pytest
from synthetic import waves, write_data

from tsc_lib.compress import Recipe, Variant
from tsc_lib.core import store
from tsc_lib.export.write import export
from tsc_lib.study import Study, stages
from tsc_lib.study.profiles import load_profile
from tsc_lib.study.sections import DataChoice

RECIPES = ("prune(l1, 0.5) > finetune(2)", "student(1, 2, 16, 16) > distill(3)")

SCORE = ("SHA-256", "accuracy", "macro F1", "classes predicted", "Do not use it as it is", "| 1 |", "| 16 |")
"""What stands in a line of a card that the test file, or a clock, decides."""


@pytest.fixture
def studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Study]:
    """Two studies, whose data sets differ by the order of the test labels."""
    monkeypatch.setattr(store, "OUTPUTS", tmp_path / "outputs")
    train = [one for label in "abc" for one in waves(12, label)]
    test = [one for label in "abc" for one in waves(8, label, seed=1)]
    shuffled = np.random.default_rng(0).permutation([label for _, label in test]).tolist()
    made = []
    for place, labels in (("true", [label for _, label in test]), ("poisoned", shuffled)):
        (tmp_path / place).mkdir()
        folder = write_data(tmp_path / place / "made", train, [(x, y) for (x, _), y in zip(test, labels, strict=True)])
        variants = dict.fromkeys(RECIPES, ("eager",))
        profile = dataclasses.replace(
            load_profile("smoke"),
            datasets=(DataChoice(folder, train={"epochs": 6, "batch_size": 8}),),
            seeds=(0,),
            variants=variants,
        )
        made.append(Study(profile))
    assert made[0].runs[0].key() != made[1].runs[0].key()
    return made


def test_weights_and_epochs_are_the_same(studies: list[Study]) -> None:
    found = []
    for study in studies:
        [run] = study.runs
        _, history = stages.train(run)
        epochs = [{name: v for name, v in entry.items() if "seconds" not in name} for entry in history]
        models = [stages.compress_model(run, Recipe.parse(recipe)) for recipe in ("baseline", *RECIPES)]
        best = [[each.details.get("best_epoch") for each in model.evidence] for _, model in models]
        weights = [(folder / "model.safetensors").read_bytes() for folder, _ in models]
        found.append((epochs, best, weights))
    assert found[0] == found[1]


@pytest.mark.sessions
def test_the_exported_model_is_the_same_but_for_its_score(studies: list[Study], tmp_path: Path) -> None:
    variant, folders, scores = Variant.parse(RECIPES[0], "eager"), [], []
    for number, study in enumerate(studies):
        folders.append(tmp_path / f"model{number}")
        export(study, study.runs[0], variant, folders[-1])
        scores.append(study.evaluate(study.runs[0], variant).correct.mean())
    assert scores[0] != scores[1]
    names = {path.name for path in folders[0].iterdir()}
    assert names == {path.name for path in folders[1].iterdir()}
    for name in names - {"model_card.md", "SHA256SUMS"}:
        one, other = (re.sub(rb'seconds": [0-9.e-]+', b"", (folder / name).read_bytes()) for folder in folders)
        assert one == other, name
    cards = [(folder / "model_card.md").read_text().splitlines() for folder in folders]
    changed = [line for line in difflib.ndiff(*cards) if line[0] in "+-" and line[1:].strip()]
    assert [line for line in changed if not any(part in line for part in SCORE)] == []
