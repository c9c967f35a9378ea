"""What is meant for people: the one exception, and the messages that a command shows."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tsc_lib.core.processes import Stopped, stop_on_signals

STEPS_S = 10.0
"""Seconds between two messages about single steps."""


class UserError(Exception):
    """Something the user can mend, in one sentence: what is wrong, where, and what to do.

    The command line prints the message alone, without a traceback, and exits with a non-zero code.
    """


def shorten(error: BaseException) -> str:
    """The beginning of what another library says of an error, to stand within a sentence."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def run_command(command: Callable[..., object], *arguments: object) -> int:
    """Do what a command does and show its messages; returns the exit code.

    It is 0, 1 after one sentence on standard error of what is wrong, or what names the signal that stopped it.
    """
    try:
        with stop_on_signals(), show_messages():
            command(*arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
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
