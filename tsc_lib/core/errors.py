"""What is meant for people: the one exception, and the messages that a command shows."""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tsc_lib.core.processes import Stopped, stop_on_signals
from tsc_lib.core.progress import ProgressFormatter

INSTALL = "pip install 'tsc_lib[study]'"
"""What brings the packages that all but predictions need."""

STEPS_S = 10.0
"""Seconds between two messages about single steps."""


class UserError(Exception):
    """Something the user can mend, in one sentence: what is wrong, where, and what to do.

    The command line and notebooks show the message alone, without a traceback; the exit code is not zero.
    """

    def _render_traceback_(self) -> list[str]:  # IPython shows what this returns
        return [f"error: {self}"]


class Unfinished(UserError):
    """What the machine refused, such as space, so that work could not be finished; it says nothing of the work."""


def shorten(error: BaseException) -> str:
    """The beginning of what another library says of an error, to stand within a sentence."""
    return " ".join(str(error).split())[:200] or type(error).__name__


HINTS = {
    errno.ENOSPC: "free some space, or name a place that has more",
    errno.EDQUOT: "free some space, or name a place that has more",
    errno.EPIPE: "let its reader read to the end",
    errno.EROFS: "name a place that may be written to",
    errno.EACCES: "change its permissions, or name another place",
    errno.EPERM: "change its permissions, or name another place",
    errno.EEXIST: "a file stands where a folder is meant: move it away, or name another place",
    errno.ENOTDIR: "a file stands where a folder is meant: move it away, or name another place",
    errno.EISDIR: "a folder stands where a file is meant: move it away, or name another place",
}
"""What to do about what an operating system refuses to every program."""


def is_refusal(error: BaseException) -> bool:
    """Whether the machine refused to write or read, which says nothing of the work that asked for it."""
    if isinstance(error, OSError):
        return error.errno in HINTS and error.errno != errno.EPIPE
    return os.strerror(errno.ENOSPC) in str(error)  # as libraries in C++ tell it


def explain(error: OSError) -> str:
    """What the operating system refused, and what to do, in a sentence."""
    reason = error.strerror or shorten(error)
    hint = HINTS.get(error.errno or 0, "mend that, or name another place")
    if error.filename is None:  # each of our files has a name
        return f"the output cannot be written ({reason}); {hint}"
    return f"{error.filename} cannot be read or written ({reason}); {hint} (TSC_OUTPUTS names that of outputs)"


def run_command(
    command: Callable[..., object], *arguments: object, farewell: str = "stopped; run the same again to go on"
) -> int:
    """Do what a command does and show its messages; returns the exit code.

    It is 0, 1 after one sentence on standard error of what is wrong, or what names the signal that stopped it, after
    the `farewell`, which is empty where another process of ours says it. What cannot be printed is wrong too, but for
    characters that the terminal does not know: they are escaped.
    """
    if sys.stderr is None:  # closed, where the next file to be opened would be written to instead
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - until the end
    if sys.stdout is None:
        print("error: standard output is closed; leave it open, or send it to /dev/null", file=sys.stderr)
        return 1
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            with stop_on_signals(farewell), show_messages():
                command(*arguments)
        finally:
            sys.stdout.flush()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except MemoryError:
        print("error: the memory for this process is too small; allow it more, or ask for less", file=sys.stderr)
        return 1
    except OSError as error:
        stopped = error.__context__ if isinstance(error.__context__, Stopped) else None  # and our reader was too
        if stopped is None:
            print(f"error: {explain(error)}", file=sys.stderr)
        try:
            sys.stdout.flush()
        except OSError:  # what is left of the output has nowhere to go at the end of the process
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1 if stopped is None else stopped.code
    except Stopped as stopped:
        return stopped.code
    return 0


@contextmanager
def show_messages() -> Iterator[None]:
    """Show what the package logs as plain lines on standard error.

    A record may count, as pairs of done and total in `extra`: the ``steps`` of what is being done, of which few are
    shown, or the ``runs`` that a table goes through, of which none is.
    """
    shown = 0.0

    def matters(record: logging.LogRecord) -> bool:
        nonlocal shown
        done, total = getattr(record, "steps", (0, 0))
        if hasattr(record, "runs") or (done < total and time.monotonic() - shown < STEPS_S):
            return False
        shown = time.monotonic()
        return True

    logger, handler = logging.getLogger("tsc_lib"), logging.StreamHandler()
    handler.addFilter(matters)
    handler.setFormatter(ProgressFormatter())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # some libraries give the root logger a handler of their own
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = True


class RuntimeUnavailable(RuntimeError):
    """The runtime cannot work on this machine; the message says why and what to do."""
