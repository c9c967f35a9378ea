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
from tsc_lib.core.errors import RuntimeUnavailable, UserError, shorten
from tsc_lib.core.files import parse_json, write_json, write_text
from tsc_lib.models.number_format import NumberFormat
from tsc_lib.runtimes import Predictor
from tsc_lib.runtimes.predictor import ModelDescription
from tsc_lib.series.scaling import Scaler
from tsc_lib.series.values import GAPS

FORMAT = 4
"""Version of the folder's format; to be raised when an older `read` could not use it."""

DESCRIPTION, REQUIREMENTS, CARD, SUMS = "bundle.json", "requirements.txt", "model_card.md", "SHA256SUMS"
MODEL = "model.json"
SIGNATURE = f"{SUMS}.sig"
"""What somebody may add to the folder who signs the checksums."""


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
        The processor that its native code was compiled for: its kind and its instruction sets, as PyTorch calls them.
        None for a model that any processor executes.
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
        texts = [*lists["labels"], *lists["instructions"], *content["versions"].values()]
        if not lists["labels"] or not all(isinstance(text, str) for text in texts):
            raise ValueError("texts")
        if len(set(lists["labels"])) < len(lists["labels"]):
            raise ValueError("labels")
        if not all(content[name].isprintable() for name in ("dataset", "model", "recipe")):
            raise ValueError("names")
        scaling, number_format = Scaler.from_json(content["scaling"]), NumberFormat(content["number_format"])
        bundle = cls(**{**content, **lists, "scaling": scaling, "number_format": number_format})
        if min(bundle.channels, bundle.patch, bundle.threads, bundle.shortest) < 1 or bundle.shortest > bundle.longest:
            raise ValueError("sizes")
        if bundle.gaps not in GAPS:
            raise ValueError("gaps")
        if any(len(each) != bundle.channels for each in (scaling.mean, scaling.deviation) if each is not None):
            raise ValueError("scaling")
        if (bundle.runtime in runtimes.NATIVE) != bool(bundle.instructions):
            raise ValueError("instructions")
        if scaling.deviation is not None and not (scaling.deviation > 0).all():
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
        If there is no such folder, it is no exported model, or one of another version, it cannot be read, or a file is
        missing, has changed, or is not listed in the checksums.
    """
    try:
        return _read(folder)
    except RuntimeUnavailable as error:
        raise _not_installed(folder, error) from None
    except OSError as error:
        raise UserError(f"{folder} cannot be read ({shorten(error)}); mend that, or copy the folder again") from None


def _read(folder: Path) -> Bundle:
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; give one that 'export' wrote")
    version, bundle = _describe(folder)
    narrow = bundle.number_format.arithmetic == "int8" and bundle.runtime != "eager"
    if version < 4 and (narrow or bundle.runtime in runtimes.NATIVE):
        raise UserError(
            f"{folder} was exported by an older tsc_lib, whose int8 models and native code are right on some "
            "processors only; export the model again"
        )
    sums = _sums(folder)
    for name in (DESCRIPTION, MODEL, REQUIREMENTS, CARD):
        _check_file(folder, name, sums)
    exits = len(ModelDescription.read(folder).thresholds)
    for name in (*runtimes.files(bundle.runtime, exits), *sums):
        _check_file(folder, name, sums)
    # A graph may name other files for its weights, so nothing else may lie there.
    if strange := sorted({path.name for path in folder.iterdir()} - {SUMS, SIGNATURE, *sums}):
        raise UserError(
            f"{folder} also holds {strange[0]}, which {SUMS} does not list and the model might read; move it elsewhere"
        )
    return bundle


def _describe(folder: Path) -> tuple[int, Bundle]:
    """The format of a folder and its description, which nothing was compared with yet."""
    foreign = UserError(
        f"{folder} holds no exported model (no {DESCRIPTION} of ours); give a folder that 'export' wrote"
    )
    if not (folder / DESCRIPTION).is_file():
        raise foreign
    try:
        content = parse_json((folder / DESCRIPTION).read_text(encoding="utf-8"))
        json.dumps(content, ensure_ascii=False).encode()  # half a character could not be printed
    except (ValueError, RecursionError):
        raise _damaged(folder, DESCRIPTION) from None
    version = content.pop("format", None) if isinstance(content, dict) else None
    if type(version) is not int or version < 1:
        raise foreign
    if version > FORMAT:
        raise UserError(
            f"{folder} was exported by a newer tsc_lib (its format is {version}, this one reads {FORMAT}); "
            "update tsc_lib, or export the model with this one"
        )
    if version < 2:
        content.setdefault("gaps", "refuse")
    if version < 3:
        content.setdefault("instructions", [])
    try:
        return version, Bundle.from_json(content)
    except (LookupError, TypeError, ValueError):
        raise _damaged(folder, DESCRIPTION) from None


def load(folder: Path, bundle: Bundle, threads: int) -> Predictor:
    """The predictor of an exported model that `check_native` let pass.

    Raises
    ------
    UserError
        If its runtime is not installed or cannot load it.
    """
    try:
        return runtimes.load(folder, bundle.runtime, threads)
    except RuntimeUnavailable as error:
        raise _not_installed(folder, error) from None
    except UserError:
        raise
    except Exception as error:  # every runtime has errors of its own
        raise UserError(
            f"{bundle.runtime} cannot load {folder} ({shorten(error)}); install the versions that it was exported "
            f"with: pip install -r {folder / REQUIREMENTS}"
        ) from None


def check_native(folder: Path, bundle: Bundle, trusted: bool) -> None:
    """Refuse native code whose source is not trusted, or that this processor cannot execute.

    Raises
    ------
    UserError
    """
    if bundle.runtime not in runtimes.CODE:
        return
    if not trusted:
        raise UserError(
            f"{folder} holds native code for {bundle.runtime}, which may do anything as soon as it is loaded, and "
            "checksums do not tell who made it; if you trust its source, add --trust-native-code (in Python: "
            "trust_native_code=True)"
        )
    if bundle.runtime not in runtimes.NATIVE:  # source, which is compiled here
        return
    missing = set(bundle.instructions).difference(runtimes.list_instructions(bundle.runtime))
    if missing:
        raise UserError(
            f"{folder} was compiled for a processor with {', '.join(sorted(missing))}, which this one lacks; export "
            "the model again on a processor like this one, or for another runtime"
        )


def foreign_files(folder: Path) -> list[str]:
    """Names in a folder that no export wrote there; every name if the folder is no exported model."""
    paths = sorted(folder.iterdir())
    try:
        _describe(folder)
        written = {SUMS, *_sums(folder)}
    except UserError:
        written = set()
    return [path.name for path in paths if path.name not in written or not path.is_file()]


def _sums(folder: Path) -> dict[str, str]:
    """Digests by name, as the folder's checksums list them."""
    if not (folder / SUMS).is_file():
        raise _missing(folder / SUMS)
    try:
        text = (folder / SUMS).read_bytes().decode()
    except ValueError:
        raise _damaged(folder, SUMS) from None
    sums: dict[str, str] = {}
    for line in text.removesuffix("\n").split("\n"):
        entry = re.fullmatch(r"([0-9a-f]{64})  (\w[\w.-]*)", line)
        if entry is None or entry[2] in sums:
            raise _damaged(folder, SUMS)
        sums[entry[2]] = entry[1]
    return sums


def _check_file(folder: Path, name: str, sums: Mapping[str, str]) -> None:
    """Refuse a file that is not there, is not listed in the checksums, or has changed."""
    path = folder / name
    if not path.is_file():
        raise _missing(path)
    if name not in sums:
        raise UserError(
            f"{folder / SUMS} does not list {name}, so nobody can tell whether it is what 'export' wrote; copy the "
            "exported folder again, or export the model again"
        )
    if _digest(path) != sums[name]:
        raise _damaged(folder, name)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _not_installed(folder: Path, error: RuntimeUnavailable) -> UserError:
    return UserError(f"{error}, or pip install -r {folder / REQUIREMENTS}")


def _missing(path: Path) -> UserError:
    return UserError(f"{path} is missing; copy the exported folder again, or export the model again")


def _damaged(folder: Path, name: str) -> UserError:
    return UserError(
        f"{folder / name} is not what 'export' wrote, so it was damaged or edited; copy the exported folder again, or "
        "export the model again"
    )
