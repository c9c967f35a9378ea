"""A training step that is killed on its way, for tests of what goes on from there."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tsc_lib.compress import TrainingContext, apply
from tsc_lib.models.compressed import CompressedModel
from tsc_lib.training import loop


def resumed(
    model: CompressedModel, recipe: str, context: TrainingContext, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> CompressedModel:
    """The result of a recipe that was killed once its checkpoint held two epochs, and called again."""
    write = loop._save

    def killed(path, network, optimizer, best, history):
        write(path, network, optimizer, best, history)
        if len(history) == 2:
            raise KeyboardInterrupt

    saved = dataclasses.replace(context, folder=folder)
    monkeypatch.setattr(loop, "_save", killed)
    with pytest.raises(KeyboardInterrupt):
        apply(model, recipe, saved)
    monkeypatch.undo()
    return apply(model, recipe, saved)
