"""A network on disk: its sizes as JSON, its weights as safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from tsc_lib.core.errors import UserError, shorten
from tsc_lib.core.files import read_json, write_bytes, write_json
from tsc_lib.models.transformer import Transformer, TransformerConfig

DESCRIPTION, WEIGHTS = "model.json", "model.safetensors"


def save_network(network: Transformer, folder: Path, **facts: object) -> None:
    """Write the weights, and last a description: the network's ``config``, its ``stride`` and other JSON-able facts."""
    write_bytes(folder / WEIGHTS, save(network.state_dict()))
    write_json(
        folder / DESCRIPTION, {"config": network.config.to_json(), "stride": network.config.embedding.patch, **facts}
    )


def load_network(folder: Path) -> tuple[Transformer, dict[str, Any]]:
    """The network that `save_network` wrote, ready to predict, and the whole description.

    Raises
    ------
    UserError
        If the description or the weights are damaged.
    """
    facts = read_json(folder / DESCRIPTION)
    try:
        network = Transformer(TransformerConfig.from_json(facts["config"]))
        network.load_state_dict(load_file(folder / WEIGHTS))
    except (AttributeError, LookupError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(
            f"{folder / DESCRIPTION} and {WEIGHTS} do not describe a network as this version does ({shorten(error)}); "
            "copy the folder again, or make the model again"
        ) from None
    return network.eval(), facts
