"""`python -m keyweave.controller.analyst`: a question on stdin, its answer on stdout."""

import os
import pickle
import sys
import time
from contextlib import suppress

from keyweave.common import process
from keyweave.controller.analysis import Question, answer

# The controller, the agents and whoever else is on the machine come first.
_NICENESS = 10


def main() -> None:
    """Answer the one question."""
    process.die_with_parent()
    with suppress(PermissionError):  # hardened services may not, and then it is as any other process
        os.nice(_NICENESS)
    question: Question = pickle.load(sys.stdin.buffer)  # noqa: S301  # our own controller's pipe
    deadline = time.monotonic() + question.seconds
    found = answer(question, lambda: time.monotonic() < deadline)
    sys.stdout.buffer.write(found.SerializeToString())


if __name__ == "__main__":
    main()
