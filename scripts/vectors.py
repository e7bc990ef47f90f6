"""Write the word vectors of a finished run as text: `python scripts/vectors.py run=<run dir> output=words.vec`."""

import sys

from recipes.cli.main import main

if __name__ == "__main__":
    main(["vectors", *sys.argv[1:]])
