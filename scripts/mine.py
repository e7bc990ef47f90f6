"""Fine-tune a finished run on its hard negatives: `python scripts/mine.py run=<run dir>`."""

import sys

from recipes.cli.main import main

if __name__ == "__main__":
    main(["mine", *sys.argv[1:]])
