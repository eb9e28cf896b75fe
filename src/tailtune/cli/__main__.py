"""``python -m tailtune.cli``: the command line without its script."""

import sys

from tailtune.cli import main

sys.exit(main())
