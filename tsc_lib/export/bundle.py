"""An exported model: a folder that says what it holds, with checksums that tell whether it still does.

Besides the runtime's own files there are ``bundle.json``, `Bundle` as JSON; ``requirements.txt``, the packages that
execute it; ``model_card.md``, for people; and ``SHA256SUMS`` over all of them, which ``sha256sum -c`` checks as well.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, get_type_hints

from tsc_lib import runtimes
from tsc_lib.core.cpus import list_instructions
from tsc_lib.core.errors import RuntimeUnavailable, UserError, shorten
from tsc_lib.core.files import write_json, write_text
from tsc_lib.models.number_format import NumberFormat
from tsc_lib.runtimes import Predictor
from tsc_lib.series.scaling import Scaler
from tsc_lib.series.values import GAPS

FORMAT = 3
"""Version of the folder's format; to be raised when an older `read` could not use it."""

DESCRIPTION, REQUIREMENTS, CARD, SUMS = "bundle.json", "requirements.txt", "model_card.md", "SHA256SUMS"


@dataclass(frozen=True)
class Bundle:
    """What must be known to use an exported model.

    Attributes
    ----------
    dataset, model, recipe : str
        What it was trained on, its architecture and its compression.
    seed : int
        Seed of its training.
    runtime : str
        What executes it.
    number_format : NumberFormat
        Of its linear layers.
    channels : int
        Channels of every series.
    labels : tuple of str
        The classes' labels, in the order of the logits.
    patch : int
        Time steps that make one token.
    shortest, longest : int
        Lengths of series that it takes, in time steps.
    equal_length : bool
        Whether all series have one length; otherwise the model is told their lengths.
    scaling : Scaler
        What is done to every series.
    gaps : {"refuse", "interpolate"}
        What is done about missing values.
    threads : int
        Threads that it was measured with.
    versions : dict of str to str
        Packages that it was exported with.
    instructions : tuple of str
        Instruction sets of the processor that its native code was compiled for, as Linux calls them.
    """

    dataset: str
    model: str
    recipe: str
    seed: int
    runtime: str
    number_format: NumberFormat
    channels: int
    labels: tuple[str, ...]
    patch: int
    shortest: int
    longest: int
    equal_length: bool
    scaling: Scaler
    gaps: str
    threads: int
    versions: dict[str, str]
    instructions: tuple[str, ...] = ()

    @property
    def lengths(self) -> str:
        """The lengths it takes, as prose."""
        return f"exactly {self.shortest}" if self.equal_length else f"between {self.shortest} and {self.longest}"

    def to_json(self) -> dict[str, object]:
        """The content of ``bundle.json``."""
        return {"format": FORMAT, **vars(self), "scaling": self.scaling.to_json()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The description that `to_json` wrote, without its format.

        Raises
        ------
        LookupError, TypeError, ValueError
            If it lacks something, or holds what `to_json` never wrote.
        """
        for name, kind in get_type_hints(cls).items():
            # To Python a truth value would be a number.
            if type(content[name]) is not JSON_TYPES.get(name, kind):
                raise TypeError(name)
        lists = {name: tuple(content[name]) for name in ("labels", "instructions")}
        if not lists["labels"] or not all(isinstance(text, str) for texts in lists.values() for text in texts):
            raise ValueError("labels")
        scaling, number_format = Scaler.from_json(content["scaling"]), NumberFormat(content["number_format"])
        bundle = cls(**{**content, **lists, "scaling": scaling, "number_format": number_format})
        if min(bundle.channels, bundle.patch, bundle.threads, bundle.shortest) < 1 or bundle.shortest > bundle.longest:
            raise ValueError("sizes")
        if bundle.gaps not in GAPS:
            raise ValueError("gaps")
        if any(len(each) != bundle.channels for each in (scaling.mean, scaling.deviation) if each is not None):
            raise ValueError("scaling")
        return bundle


JSON_TYPES = {"labels": list, "scaling": dict, "versions": dict, "instructions": list, "number_format": str}
"""What JSON makes of those fields that it has no type for."""


def write(folder: Path, bundle: Bundle, card: str) -> None:
    """Describe a folder that holds the runtime's files: description, requirements, model card and checksums."""
    write_json(folder / DESCRIPTION, bundle.to_json())
    needed = ("numpy", *runtimes.packages(bundle.runtime))
    # Without the suffix of a build such as +cpu, which only one index has.
    pins = [f"{name}=={bundle.versions[name].partition('+')[0]}\n" for name in needed]
    write_text(folder / REQUIREMENTS, "".join(pins))
    write_text(folder / CARD, card)
    sums = {path.name: _digest(path) for path in sorted(folder.iterdir())}
    write_text(folder / SUMS, "".join(f"{digest}  {name}\n" for name, digest in sums.items()))


def read(folder: Path) -> Bundle:
    """Check an exported folder and read its description.

    Raises
    ------
    UserError
        If there is no such folder, it is no exported model or a newer one, or a file is missing or has changed.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; give one that 'export' wrote")
    foreign = UserError(
        f"{folder} holds no exported model (no {DESCRIPTION} of ours); give a folder that 'export' wrote"
    )
    if not (folder / DESCRIPTION).is_file():
        raise foreign
    try:
        content = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise _damaged(folder, DESCRIPTION) from None
    version = content.pop("format", None) if isinstance(content, dict) else None
    if not isinstance(version, int):
        raise foreign
    if version > FORMAT:
        raise UserError(
            f"{folder} was exported by a newer tsc_lib (its format is {version}, this one reads {FORMAT}); "
            "update tsc_lib, or export the model with this one"
        )
    sums = _sums(folder)
    for name in {DESCRIPTION, *sums}:
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path} is missing; copy the exported folder again, or export the model again")
        if _digest(path) != sums.get(name):
            raise _damaged(folder, name)
    if version < 2:
        content.setdefault("gaps", "refuse")
    if version < 3:
        content.setdefault("instructions", [])
    try:
        return Bundle.from_json(content)
    except (LookupError, TypeError, ValueError):
        raise _damaged(folder, DESCRIPTION) from None


def load(folder: Path, bundle: Bundle, threads: int) -> Predictor:
    """The predictor of an exported model.

    Raises
    ------
    UserError
        If its runtime is not installed or cannot load it, or the processor lacks instructions that it needs.
    """
    missing = set(bundle.instructions).difference(list_instructions())
    if missing:
        raise UserError(
            f"{folder} was compiled for a processor with {', '.join(sorted(missing))}, which this one lacks; export "
            "the model again on a processor like this one"
        )
    try:
        return runtimes.load(folder, bundle.runtime, threads)
    except RuntimeUnavailable as error:
        raise UserError(f"{error}, or pip install -r {folder / REQUIREMENTS}") from None
    except UserError:
        raise
    except Exception as error:  # every runtime has errors of its own
        raise UserError(
            f"{bundle.runtime} cannot load {folder} ({shorten(error)}); install the versions that it was exported "
            f"with: pip install -r {folder / REQUIREMENTS}"
        ) from None


def foreign_files(folder: Path) -> list[str]:
    """Names in a folder that no export wrote there; every name if the folder is no exported model."""
    names = sorted(path.name for path in folder.iterdir())
    if DESCRIPTION not in names or SUMS not in names:
        return names
    return [name for name in names if name not in {SUMS, *_sums(folder)}]


def _sums(folder: Path) -> dict[str, str]:
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        raise _damaged(folder, SUMS) from None
    sums = {}
    for line in lines:
        entry = re.fullmatch(r"([0-9a-f]{64})  ([\w.-]+)", line)
        if entry is None:
            raise _damaged(folder, SUMS)
        sums[entry[2]] = entry[1]
    return sums


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _damaged(folder: Path, name: str) -> UserError:
    return UserError(
        f"{folder / name} is not what 'export' wrote, so it was damaged or edited; copy the exported folder again, or "
        "export the model again"
    )
