"""`python -m recipes <command>`: the commands of the repository's scripts, for an installed package."""

import sys

from recipes.cli.main import main

if __name__ == "__main__":
    main(sys.argv[1:])
