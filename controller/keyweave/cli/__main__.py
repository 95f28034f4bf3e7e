"""`python -m keyweave.cli` is `keyweave`."""

import sys

from keyweave.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
