"""Files that are written whole or not at all."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

from tsc_lib.core.errors import UserError, shorten

PACKAGE = Path(__file__).resolve().parents[1]
"""The folder of the installed package."""


def shipped(name: str) -> Path:
    """A folder of the repository that comes with the package: within it where installed, beside it in a checkout."""
    installed = PACKAGE / name
    return installed if installed.is_dir() else PACKAGE.parent / name


Json = dict[str, Any]
"""A JSON object, as it is read or written; within the program what has a meaning has a type of its own."""


def expand_home(path: str) -> Path:
    """A path, with ``~`` for somebody's home folder.

    Raises
    ------
    UserError
        If nobody's is called so.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(f"nobody's home folder is {path.split('/')[0]}; write the path out, from / on") from None


def read_regular(path: Path, missing: str) -> bytes:
    """Read a file that somebody gave, whatever it turns out to be.

    Parameters
    ----------
    path : Path
        The file. A pipe or a device is refused: its reader may wait, or read, for ever.
    missing : str
        What to say if there is no such file.

    Raises
    ------
    UserError
        If the file is missing, no regular file, too large for the memory or cannot be read.
    """
    try:
        if not (stat.S_ISREG(path.stat().st_mode) or path.is_dir()):  # of a folder, the system says what it is
            raise UserError(f"{path} is a pipe, a socket or a device; copy its content into a file, and give that one")
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(missing) from None
    except MemoryError:
        raise UserError(f"{path} does not fit into the memory; give a smaller file") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); check the file and its permissions") from None


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: to a temporary name, to the disk, then renamed.

    Raises
    ------
    OSError
        With the name of the file or folder that it is about.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno:
            error.filename = str(path)  # not the temporary one, or none, as where the disk is full
        raise


def write_text(path: Path, content: str) -> None:
    """Write text whole or not at all, as UTF-8.

    Raises
    ------
    UserError
        If it has what UTF-8 cannot encode, such as a file's name that is not UTF-8 itself.
    """
    try:
        write_bytes(path, content.encode())
    except UnicodeEncodeError as error:
        unknown = content[error.start : error.end]
        raise UserError(f"{path} cannot be written with {unknown!a} in it; rename what has it in its name") from None


def replace_folder(old: Path, new: Path, scratch: Path) -> None:
    """Put a folder in the place of another, which goes to the folder `scratch` and comes back if that fails."""
    kept = scratch / "replaced"
    if old.exists():
        os.rename(old, kept)
    try:
        os.rename(new, old)
    except BaseException:
        if kept.exists():
            os.rename(kept, old)
        raise


def write_json(path: Path, content: Any) -> None:
    """Write JSON whole or not at all; NaN is refused since JSON has none."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def parse_json(text: str) -> Any:
    """What JSON says; a `ValueError` if it says nothing, or two things under one name.

    Raises
    ------
    ValueError, RecursionError
    """

    def collect(pairs: list[tuple[str, Any]]) -> Json:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a name stands twice")
        return found

    return json.loads(text, object_pairs_hook=collect)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    UserError
        If the file is damaged.
    """
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # also of numbers with thousands of digits, and lists in lists
        raise UserError(f"{path} is damaged ({shorten(error)}); delete its folder and run again") from None
