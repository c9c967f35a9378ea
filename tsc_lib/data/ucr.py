"""Where the files of a data set are: the user's own folder, aeon's bundled sets, or aeon's download."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import re
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryDirectory

from tsc_lib.core.errors import UserError
from tsc_lib.core.files import expand_home, read_regular
from tsc_lib.core.spec import Spec
from tsc_lib.data.folds import RULES
from tsc_lib.series import tsfile
from tsc_lib.series.values import GAPS, Series, is_number

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DataSpec(Spec):
    """A data set's files and what is done to them.

    Attributes
    ----------
    name : str
        Name of the problem, as in ``<name>_TRAIN.ts``.
    sha256 : str
        Hash of both files, so that edited data is other data.
    scaling : {"channel", "series", "none"}
        Standardised per channel by train's mean and deviation, each series by its own, or left alone.
    gaps : {"refuse", "interpolate"}
        Whether missing values are an error, or lie on a straight line between their neighbours in the series.
    valid_fraction : float
        Share of train that is held out for validation.
    split_seed : int
        Which of them.
    validation : {"blocks", "random"}
        Whether they are neighbours in the file, class by class; see `tsc_lib.data.folds`.
    folds, fold : int
        Into how many folds the other training series are cut, and which of them is kept out of train; none if 0.
    folder : str, optional
        Where the files are; not part of the key.
    """

    name: str
    sha256: str
    scaling: str = "channel"
    gaps: str = "refuse"
    valid_fraction: float = 0.2
    split_seed: int = 0
    validation: str = "blocks"
    folds: int = 0
    fold: int = 0
    folder: str | None = field(default=None, compare=False, metadata={"keyed": False})


def resolve(
    name_or_folder: str,
    *,
    scaling: str = "channel",
    gaps: str = "refuse",
    valid_fraction: float = 0.2,
    split_seed: int = 0,
    validation: str = "blocks",
) -> DataSpec:
    """Find a data set and describe it by the content of its files.

    Parameters
    ----------
    name_or_folder : str
        A UCR/UEA problem, such as ``"PLAID"``, or a folder that holds one ``*_TRAIN.ts`` and one ``*_TEST.ts`` file. A
        name is looked up in ``$AEON_DATA``, among the sets bundled in aeon and in ``~/aeon_data``, and is then
        downloaded by aeon.
    scaling : {"channel", "series", "none"}
        Mean and standard deviation of each channel over the training series, of each series by itself, or none.
    gaps : {"refuse", "interpolate"}
        What to do about missing values.
    valid_fraction : float
        Share of the training file that is held out for validation.
    split_seed : int
        Which series are held out.
    validation : {"blocks", "random"}
        Whether the held-out series of a class are neighbours in the file, or chosen at random.

    Returns
    -------
    DataSpec
        With the SHA-256 of both files, so that another content is another data set.

    Raises
    ------
    UserError
        If there is no such data set, a file is missing, the download fails, or `gaps` or `validation` is unknown.
    """
    if gaps not in GAPS:
        raise UserError(f"unknown treatment of gaps '{gaps}'; choose refuse or interpolate")
    if validation not in RULES:
        raise UserError(f"unknown rule of validation '{validation}'; choose blocks or random")
    folder, name = _locate(name_or_folder)
    train, test = _read_pair(folder, name)
    return DataSpec(
        name=name,
        sha256=_digest(train[0], test[0]),
        scaling=scaling,
        gaps=gaps,
        valid_fraction=valid_fraction,
        split_seed=split_seed,
        validation=validation,
        folder=str(folder),
    )


def read(spec: DataSpec) -> tuple[Series, Series]:
    """Read the training and the test series that a spec describes.

    Raises
    ------
    UserError
        If a file is missing or unusable, or is not the one whose hash the spec holds.
    """
    folder = Path(spec.folder) if spec.folder else _locate(spec.name)[0]
    train, test = _read_pair(folder, spec.name)
    if _digest(train[0], test[0]) != spec.sha256:
        raise UserError(f"the files of {spec.name} in {folder} are not those that were described; describe them again")
    series = tsfile.parse(*train, gaps=spec.gaps), tsfile.parse(*test, gaps=spec.gaps)
    labels = {label for part in series for label in part.labels}
    for note in (*series[0].notes, *series[1].notes, *_alike(spec.name, labels)):
        logger.warning(note)
    return series


def _alike(name: str, labels: set[str]) -> Iterator[str]:
    """What to say of labels that are two classes here, but probably one to those who wrote them."""
    alike: dict[str, list[str]] = {}
    for label in sorted(labels):
        plain = unicodedata.normalize("NFKC", label).casefold()
        plain = "".join(letter for letter in plain if unicodedata.category(letter) != "Cf")  # what has no width
        key = str(float(plain)) if is_number(plain) else " ".join(plain.split())
        alike.setdefault(key, []).append(label)
    for group in alike.values():
        if len(group) > 1:
            yield (
                f"{name}: the labels {' and '.join(map(ascii, group))} are different classes, but only case, spaces or "
                "the form of a letter or number differ; if one class is meant, write one of them everywhere"
            )


def _digest(train: bytes, test: bytes) -> str:
    return hashlib.sha256(train + test).hexdigest()


def _locate(name_or_folder: str) -> tuple[Path, str]:
    """Return the folder of a data set and its name."""
    named = re.fullmatch(r"\w[\w-]*", name_or_folder) is not None
    if named:
        for root in _roots():
            folder = root / _base(name_or_folder)
            if _holds(folder, name_or_folder):
                return folder, name_or_folder
    path = expand_home(name_or_folder)
    if path.is_dir():
        return path.resolve(), path.resolve().name
    if path.is_file():
        raise UserError(f"{path} is a file; give the folder that holds the training and the test file")
    if not named:
        raise UserError(f"there is no folder {path}; give a folder with a *_TRAIN.ts and a *_TEST.ts file")
    return _download(name_or_folder), name_or_folder


def _roots() -> list[Path]:
    """Return the folders in which data sets are looked for by name, first come first."""
    aeon = importlib.util.find_spec("aeon")  # the whole package is slow to import, and only its folder is needed
    places = aeon.submodule_search_locations if aeon else None
    default = [folder for folder in _default() if os.access(folder, os.R_OK | os.X_OK)]
    return [*_chosen(), *(Path(place) / "datasets" / "data" for place in places or []), *default]


def list_folders() -> list[Path]:
    """The folders of an archive on this machine: that of ``$AEON_DATA``, or else aeon's own, where they exist."""
    return [folder for folder in (_chosen() or _default()) if folder.is_dir()]


def _chosen() -> list[Path]:
    """Return the user's data folder, if ``$AEON_DATA`` names one."""
    chosen = os.environ.get("AEON_DATA")
    return [expand_home(chosen)] if chosen else []


def _default() -> list[Path]:
    """Return the folder that aeon uses when it is told nothing; none where the user has no home."""
    with suppress(RuntimeError):
        return [Path.home() / "aeon_data"]
    return []


def _base(name: str) -> str:
    """Return the folder's name: aeon keeps equal-length and gap-filled versions beside the original."""
    return re.sub(r"(_eq|_nmv)+$", "", name)


def _holds(folder: Path, name: str) -> bool:
    """Tell whether one of the two files is there; an empty folder is what a failed download leaves."""
    return any((folder / f"{name}_{part}.ts").exists() for part in ("TRAIN", "TEST"))


def _read_pair(folder: Path, name: str) -> tuple[tuple[bytes, Path], tuple[bytes, Path]]:
    """Return content and path of the training and of the test file in a folder."""
    stem = name
    if not _holds(folder, name):
        stems = sorted({re.sub("_(TRAIN|TEST)$", "", path.stem) for path in folder.glob("*_T*.ts")})
        if not stems:
            raise UserError(f"{folder} holds no *_TRAIN.ts and *_TEST.ts files; give the folder of a data set")
        if len(stems) > 1:
            raise UserError(
                f"{folder} holds more than one data set ({', '.join(stems)}); keep one, or give the folder its name"
            )
        stem = stems[0]
    return _content(folder / f"{stem}_TRAIN.ts"), _content(folder / f"{stem}_TEST.ts")


def _content(path: Path) -> tuple[bytes, Path]:
    return read_regular(path, f"{path} is missing; a data set needs its training and its test file"), path


def _download(name: str) -> Path:
    """Let aeon download a problem, and keep it only if both files are whole."""
    from aeon.datasets import load_classification
    from aeon.datasets.tsc_datasets import tsc_zenodo

    base = _base(name)
    if base not in tsc_zenodo:
        known = {each.lower(): each for each in tsc_zenodo}
        close = [known[each] for each in get_close_matches(base.lower(), known, cutoff=0.75)]
        guess = f" (did you mean {' or '.join(close)}?)" if close else ""
        raise UserError(
            f"'{name}' is neither a folder nor a known UCR/UEA problem{guess}; give the name as the archive spells it"
        )
    homes = [root for root in _chosen() if os.access(root, os.W_OK)] + _default()
    if not homes:
        raise UserError(f"{name} is not on this machine; name a folder to download it to in AEON_DATA")
    home = homes[0]
    logger.warning("downloading %s to %s", base, home)
    target = home / base
    try:
        home.mkdir(parents=True, exist_ok=True)
        # aeon leaves an empty folder when a download fails, and takes a broken file for a good one the next time;
        # so it works in a folder that goes away, and only files that could be read are moved out of it.
        with TemporaryDirectory(dir=home, prefix=".download-") as scratch:
            load_classification(base, split="train", extract_path=scratch)
            for content in _read_pair(Path(scratch) / base, name):
                tsfile.parse(*content, gaps="interpolate")  # a set with gaps is whole; who reads it decides
            if not _holds(target, name):
                (Path(scratch) / base).rename(target)
    except Exception as error:  # aeon lets anything through, from URLError to IndexError on a truncated file
        reason = f"{_root_cause(error)}".strip("<>")
        raise UserError(
            f"{name} is not on this machine and could not be downloaded ({reason}); connect to a network, or put "
            f"{name}_TRAIN.ts and {name}_TEST.ts into {target} or into a folder {base} under $AEON_DATA"
        ) from None
    return target


def _root_cause(error: BaseException) -> BaseException:
    """Return the first error of a chain of errors: the only one that says what happened."""
    return _root_cause(error.__cause__) if error.__cause__ else error
