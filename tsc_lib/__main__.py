"""``python -m tsc_lib``."""

import sys

from tsc_lib.cli import main

if __name__ == "__main__":  # and not in a process that a search started
    sys.exit(main())
