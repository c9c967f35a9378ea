"""``python -m tsc_lib``, and the command ``tsc-lib``."""

import signal
import sys

# Until the command line is at work, a signal ends the process without a word, not with a traceback.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from tsc_lib.cli import main

if __name__ == "__main__":  # and not in a process that a search started
    sys.exit(main())
