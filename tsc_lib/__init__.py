"""Energy-efficient transformers for time series classification.

What is named here is imported when it is first used, so that predictions with an exported model need no PyTorch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tsc_lib.comparison import compare
    from tsc_lib.energy import EnergyMeter
    from tsc_lib.estimator import TransformerClassifier
    from tsc_lib.export.predict import load

__version__ = "0.1.0"

__all__ = ["EnergyMeter", "TransformerClassifier", "__version__", "compare", "load"]

_ROOMS = {
    "EnergyMeter": "tsc_lib.energy",
    "TransformerClassifier": "tsc_lib.estimator",
    "compare": "tsc_lib.comparison",
    "load": "tsc_lib.export.predict",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(_ROOMS[name]), name)
    except ModuleNotFoundError as error:  # with the packages of a model alone
        from tsc_lib.core.errors import INSTALL

        raise ModuleNotFoundError(
            f"tsc_lib.{name} needs {error.name}, which is not installed: {INSTALL}", name=error.name
        ) from None


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOMS])
