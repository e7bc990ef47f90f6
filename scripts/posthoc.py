"""Change the head or the decisions of a finished run: `python scripts/posthoc.py run=<run dir> method=tau_norm`."""

import sys

from recipes.cli.main import main

if __name__ == "__main__":
    main(["posthoc", *sys.argv[1:]])
