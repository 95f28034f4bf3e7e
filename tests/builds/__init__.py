"""Test builds: the product with a recorder in it, and four that are broken on purpose."""

import sys

PROGRAM = (sys.executable, "-m", "tests.builds")
