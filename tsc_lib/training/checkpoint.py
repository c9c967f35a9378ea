"""Checkpoints of a training: weights, their average and all that the optimiser knows, as safetensors and JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from tsc_lib.core.files import write_bytes

if TYPE_CHECKING:
    from tsc_lib.training.loop import Epoch

Weights = dict[str, Tensor]


def save_checkpoint(
    path: Path, parts: dict[str, nn.Module], best: Weights, optimizer: torch.optim.Optimizer, history: list[Epoch]
) -> None:
    """Write modules by their names, the best weights so far, an optimiser and the history of a training."""
    tensors = {f"best.{name}": value for name, value in best.items()}
    for part, module in parts.items():
        tensors |= {f"{part}.{name}": value for name, value in module.state_dict().items()}
    known = optimizer.state_dict()
    for index, values in known["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in values.items()}
    groups = [{name: value for name, value in group.items() if name != "params"} for group in known["param_groups"]]
    metadata = {"history": json.dumps(history), "groups": json.dumps(groups)}
    write_bytes(path, save(tensors, metadata=metadata))


def load_checkpoint(
    path: Path, parts: dict[str, nn.Module], optimizer: torch.optim.Optimizer
) -> tuple[list[Epoch], Weights] | None:
    """Bring modules and an optimiser to where a training was left; its history and best weights.

    Returns None, and changes nothing, if there is no checkpoint.
    """
    if not path.exists():
        return None
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    for part, module in parts.items():
        module.load_state_dict(_part(tensors, part))
    state: dict[int, Weights] = {}
    for name, value in _part(tensors, "optimizer").items():
        index, _, moment = name.partition(".")
        state.setdefault(int(index), {})[moment] = value
    places = optimizer.state_dict()["param_groups"]
    groups = [{**old, "params": new["params"]} for old, new in zip(json.loads(metadata["groups"]), places, strict=True)]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    return json.loads(metadata["history"]), _part(tensors, "best")


def _part(tensors: Weights, part: str) -> Weights:
    return {name.removeprefix(f"{part}."): value for name, value in tensors.items() if name.startswith(f"{part}.")}
