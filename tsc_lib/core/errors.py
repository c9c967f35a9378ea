"""What is meant for people, and how a command tells it: the one exception, and messages."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable


class UserError(Exception):
    """Something the user can mend, in one sentence: what is wrong, where, and what to do.

    The command line prints the message alone, without a traceback, and exits with a non-zero code.
    """


def one_line(error: BaseException) -> str:
    """The beginning of what another library says of an error, to stand within a sentence."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def exit_code(command: Callable[..., object], *arguments: object) -> int:
    """Do what a command does; 0, or 1 after one sentence on standard error that tells what is wrong."""
    try:
        command(*arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def show_messages() -> None:
    """Write what the library logs to standard error, as plain lines."""
    logger, handler = logging.getLogger("tsc_lib"), logging.StreamHandler()
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)


class RuntimeUnavailable(RuntimeError):
    """The runtime cannot work on this machine; the message says why and what to do."""
