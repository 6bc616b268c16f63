"""``python -m skprune``: the command line, see ``skprune.cli``."""

import sys

from skprune.cli import main

if __name__ == "__main__":
    sys.exit(main())
