"""The one exception that is meant for people."""


class UserError(Exception):
    """Something the user can mend, in one sentence: what is wrong, where, and what to do.

    The command line prints the message alone, without a traceback, and exits with a non-zero code.
    """
