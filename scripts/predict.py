"""Score a file with a finished run: `python scripts/predict.py run=<run dir> input=new.csv output=scored.csv`."""

import sys

from recipes.cli.main import main

if __name__ == "__main__":
    main(["predict", *sys.argv[1:]])
