"""``python -m tsc_lib``."""

import sys

from tsc_lib.cli import main

sys.exit(main())
