"""Results on disk: a unit of work is done once, written whole or not at all, and found again by its content.

Each result is a folder ``outputs/store/<stage>/<label>-<key>/`` with a ``record.json`` and whatever files belong to it.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from filelock import FileLock, SoftFileLease, Timeout

from tsc_lib.core.errors import RuntimeUnavailable, Unfinished, UserError, is_refusal
from tsc_lib.core.files import PACKAGE, Json, expand_home, read_json, write_json
from tsc_lib.core.spec import Spec, digest

HOME = PACKAGE.parent if (PACKAGE.parent / "pyproject.toml").is_file() else Path.cwd()
OUTPUTS = Path(os.path.realpath(expand_home(os.environ.get("TSC_OUTPUTS") or str(HOME / "outputs"))))
"""Where everything goes that runs produce: ``outputs`` in the repository or, of an installed package, in the working
directory. The environment variable TSC_OUTPUTS moves it."""


LEASE_S = 60.0
"""After which a lock of a unit of work is free again, if its holder on another machine gives no sign of life."""

POLL_S = 0.2
"""Between two looks at a lock that another process holds."""

ENDING_S = 3.0
"""What a process that lost its parent may take to end."""


class StageFailed(RuntimeError):
    """A unit of work that was tried and failed; its record says why."""


class NotStored(RuntimeError):
    """A unit of work that was never done, met within `only_loading`."""


_only_loading: ContextVar[bool] = ContextVar("only_loading", default=False)


@contextmanager
def only_loading() -> Iterator[None]:
    """Within it nothing is computed: `run_or_load` raises `NotStored` for what the store does not have."""
    token = _only_loading.set(True)
    try:
        yield
    finally:
        _only_loading.reset(token)


@contextmanager
def hold_lock(path: Path, refusal: str) -> Iterator[int]:
    """Hold a lock, which the operating system releases when its holder ends; gives its file descriptor.

    A child that is started with the descriptor holds the lock too, until both have ended.

    Raises
    ------
    UserError
        With the text `refusal`, if another process holds it for longer than what was killed takes to end.
    """
    held: list[int] = []
    lock = FileLock(path, fallback_to_soft=False, on_acquired=held.append)
    try:
        lock.acquire(timeout=ENDING_S)
    except Timeout:
        raise UserError(refusal) from None
    try:
        yield held[0]
    finally:
        lock.release()


def locate(stage: str, version: tuple[int, ...], label: str, job: Spec) -> Path:
    """Folder of a unit of work; a new `version` of the stage is other work."""
    key = digest({"stage": stage, "version": version, "job": job.to_json()})
    return OUTPUTS / "store" / stage / f"{label}-{key}"


def run_or_load(
    stage: str, version: tuple[int, ...], label: str, job: Spec, work: Callable[[Path], Json]
) -> tuple[Path, Json]:
    """Load the result of a unit of work, doing it first if it was never done.

    Parameters
    ----------
    stage : str
        Kind of work, e.g. "train".
    version : tuple of int
        Versions of what the stages before it and the stage itself compute; to be raised when that changes.
    label : str
        Readable beginning of the folder's name.
    job : Spec
        All that the result depends on.
    work : callable
        Takes a folder to write files to and returns the record, a JSON-able dict. The folder survives a kill, so the
        next try may go on from what it finds there.

    Returns
    -------
    folder : Path
        Where the files are.
    record : dict
        What `work` returned.

    Raises
    ------
    StageFailed
        If the work fails, or failed earlier; the reason is recorded. `forget_failures` lets it be tried again.
    OSError
        If the machine refused to write or read, of which there is no record.
    NotStored
        If it was never done and is not to be done now; see `only_loading`.
    """
    folder = locate(stage, version, label, job)
    if not (folder / "record.json").exists():
        if _only_loading.get():
            raise NotStored(f"{stage} of {label} is not in the store")
        folder.parent.mkdir(parents=True, exist_ok=True)
        # On a file system that several machines share, too; of a machine that died the lease runs out.
        with SoftFileLease(f"{folder}.lock", lease_duration=LEASE_S, poll_interval=POLL_S):
            if not (folder / "record.json").exists():  # nobody did the work while this process waited
                _do(folder, job, work)
    record = _read_record(folder / "record.json")
    if record["status"] != "ok":
        raise StageFailed(record["status"].removeprefix("failed: "))
    return folder, record


def _do(folder: Path, job: Spec, work: Callable[[Path], Json]) -> None:
    """Do a unit of work, and put what came of it into its folder."""
    partial = folder.with_name(folder.name + ".partial")
    partial.mkdir(exist_ok=True)
    try:
        record = {"status": "ok", **work(partial)}
    except (UserError, StageFailed):
        raise
    except Exception as error:
        if is_refusal(error):
            raise _refused(partial, error) from None
        name = "unavailable" if isinstance(error, RuntimeUnavailable) else type(error).__name__
        reason = " ".join(f"{name}: {error}".split())[:500]
        record = {"status": f"failed: {reason}"}
    write_json(partial / "record.json", {"job": job.to_json(), **record})
    try:
        os.rename(partial, folder)
    except OSError:
        if (folder / "record.json").exists():  # another process, whose lease had run out, finished it first
            shutil.rmtree(partial, ignore_errors=True)
        else:  # someone removed the record alone
            shutil.rmtree(folder)
            os.rename(partial, folder)


def _refused(folder: Path, error: Exception) -> Exception:
    """What the machine refused while work was done in a folder, which is kept if the work can go on from it."""
    with suppress(OSError):
        folder.rmdir()  # if it is empty
    if isinstance(error, OSError):
        error.filename = error.filename or str(folder)
        return error
    full = os.strerror(errno.ENOSPC)  # the line of a compiler's many, say
    reason = next(line for line in str(error).splitlines() if full in line).strip()[:200]
    return Unfinished(f"{folder.name} could not be finished ({reason}); free some space, and run again")


def _read_record(path: Path) -> Json:
    record = read_json(path)
    if not isinstance(record, dict) or not isinstance(record.get("status"), str):
        raise UserError(f"{path} is damaged (it has no status); delete its folder and run again")
    return record


def forget_failures() -> int:
    """Remove the records of failed work, so that it is tried again; returns how many there were."""
    count = 0
    for path in sorted((OUTPUTS / "store").glob("*/*/record.json")):
        if _read_record(path)["status"] != "ok":
            shutil.rmtree(path.parent)
            count += 1
    return count
