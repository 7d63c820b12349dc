"""`python -m elmokit`: the program `elmo`, where it is not on the path."""

import sys

from elmokit.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
