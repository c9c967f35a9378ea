"""Processes that end together: what a signal does to a command and to all that it started."""

from __future__ import annotations

import contextlib
import ctypes
import getpass
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals by which a person or a batch system asks a command to stop."""

PATIENCE_S = 5.0
"""How long a process that was asked to stop may take before it is killed."""

AGAIN_S = 1.0
"""After which `Stopped` is raised again, if this process still goes on."""

_PR_SET_CHILD_SUBREAPER = 36

_engines: set[int] = set()
"""Processes that `run_engine` started."""


class Stopped(KeyboardInterrupt):
    """A signal asked this process to stop; what it had started has ended.

    Attributes
    ----------
    code : int
        The exit code that names the signal, as in a shell.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = 128 + number


class _Stop:
    """A signal handler that ends what this process started and raises `Stopped`."""

    limit: threading.Timer

    def __init__(self, farewell: str) -> None:
        self.farewell, self.due, self.ended = farewell, False, threading.Event()
        self.hook = sys.unraisablehook
        self.before = {number: signal.getsignal(number) for number in ASKING}
        for number, handler in list(self.before.items()):
            if handler in (signal.SIG_IGN, None):
                del self.before[number]
        self.stopped: Stopped | None = None

    def __call__(self, number: int, _: FrameType | None) -> None:
        self.stopped = Stopped(number)
        for each in self.before:  # the same signal often comes twice: to the process and to its group
            signal.signal(each, self._repeat)
        sys.unraisablehook = self._hide
        logging.disable()  # the farewell is the last word
        if self.farewell:
            with contextlib.suppress(OSError):  # the terminal may be gone
                os.write(2, f"{signal.Signals(number).name}: {self.farewell}\n".encode())
        self.limit = threading.Timer(3 * PATIENCE_S, os._exit, [self.stopped.code])
        self.limit.daemon = True
        self.limit.start()
        end_children()
        threading.Thread(target=self._insist, daemon=True).start()
        raise self.stopped

    def _hide(self, unraisable: sys.UnraisableHookArgs) -> None:
        if unraisable.exc_value is not self.stopped:
            self.hook(unraisable)

    def _insist(self) -> None:
        """Raise `Stopped` again: Python drops what a destructor raises, a library may make its own error of it."""
        assert self.stopped is not None
        while not self.ended.wait(AGAIN_S):
            self.due = True
            signal.pthread_kill(threading.main_thread().ident or 0, self.stopped.code - 128)

    def _repeat(self, *_: object) -> None:
        if self.due and self.stopped is not None:
            self.due = False
            raise self.stopped

    def end(self) -> None:
        """Undo what stopping set up; the process ends by itself now."""
        self.ended.set()
        self.limit.cancel()
        sys.unraisablehook = self.hook
        logging.disable(logging.NOTSET)


@contextlib.contextmanager
def stop_on_signals(farewell: str = "") -> Iterator[None]:
    """Within it, a signal of `ASKING` ends all processes that this one started, and is then raised as `Stopped`.

    If that does not end this process within a while, it exits nevertheless. A signal that was ignored before, as by
    ``nohup``, stays so. Within another such block, or outside of the main thread, this does nothing.

    Parameters
    ----------
    farewell : str
        What to say of it on standard error, after the signal's name; nothing is said by default.
    """
    handlers = [signal.getsignal(number) for number in ASKING]
    if any(isinstance(each, _Stop) for each in handlers) or threading.current_thread() is not threading.main_thread():
        yield
        return
    stop = _Stop(farewell)
    adopt_orphans(True)
    for number in stop.before:
        signal.signal(number, stop)
    try:
        yield
    except BaseException:
        if stop.stopped is None:
            raise
    finally:
        if stop.stopped is not None:
            end_children()  # what was started meanwhile
            stop.end()
        adopt_orphans(False)
        for number, handler in stop.before.items():
            # Another signal while the interpreter shuts down must not print a traceback.
            signal.signal(number, handler if stop.stopped is None else signal.SIG_DFL)
    if stop.stopped is not None:
        raise stop.stopped  # which a library may have swallowed, or made another error of


def adopt_orphans(wanted: bool) -> None:
    """Become, or stop being, the parent of descendants whose own parents end; where the system has this (Linux)."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0)


def end_children() -> None:
    """Ask the processes that this one started to stop, and kill those that do not; orphans that it adopts too.

    Engines, and what ignores being asked, are killed at once. Where the system has no ``/proc``, nothing happens.
    """
    deadline = time.monotonic() + PATIENCE_S
    asked: set[int] = set()
    while (children := list_children(os.getpid())) and time.monotonic() < deadline + PATIENCE_S:
        late = time.monotonic() > deadline
        for child in children:
            if late or child not in asked:
                at_once = late or child in _engines or _ignores(child)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL if at_once else signal.SIGTERM)
                asked.add(child)
        time.sleep(0.02)


def list_children(parent: int) -> list[int]:
    """The processes that have a parent and have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, its_parent = path.read_bytes().rpartition(b")")[2].split()[:2]
            if int(its_parent) == parent and state != b"Z":
                found.append(int(path.parent.name))
    return found


def _ignores(process: int) -> bool:
    """Whether a process ignores SIGTERM; multiprocessing's tracker of resources does, until its parent has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text(errors="replace").splitlines():
            if line.startswith("SigIgn:"):
                return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False


@contextlib.contextmanager
def interrupts_stay_here() -> Iterator[None]:
    """Within it, processes that are started ignore Ctrl-C for good: this one ends them; outside of the main thread not.

    This process ignores it too meanwhile, so keep it short.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def run_engine(command: Sequence[str], **options: Any) -> int:
    """Run a program that runs others, in a process group of its own, and return its exit code.

    A signal from the terminal or to the group does not reach it. `end_children` kills it, since it would wait for what
    it runs. Its standard input is a pipe that closes when this process ends, for `end_with_input`.

    Parameters
    ----------
    command : sequence of str
        Program and arguments.
    **options
        Further arguments of `subprocess.Popen`.
    """
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, **options) as engine:
        _engines.add(engine.pid)
        try:
            return engine.wait()
        except BaseException:
            engine.kill()
            raise
        finally:
            _engines.discard(engine.pid)


def end_with_input() -> None:
    """Wait until standard input closes, then end what this process started, and it; to be called in a thread."""
    while os.read(0, 1):
        pass
    end_children()
    os._exit(1)


def provide_home(scratch: str) -> dict[str, str]:
    """What an environment lacks for programs that keep caches, where the user has no name or no home to write to.

    Parameters
    ----------
    scratch : str
        A folder that stands in for what is missing.
    """
    lacking, home = {}, os.path.expanduser("~")
    if not os.path.isabs(home):  # unknown
        lacking["HOME"] = scratch
    if not (os.access(home, os.W_OK) or os.environ.get("XDG_CACHE_HOME")):
        lacking["XDG_CACHE_HOME"] = scratch
    try:
        getpass.getuser()
    except (KeyError, OSError):
        lacking["LOGNAME"] = "user"
    return lacking
