"""What the disk or the system refuses, in words instead of a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

from keyweave.common.errors import PreconditionError


@contextmanager
def in_words() -> Iterator[None]:
    """A command on files: what the system refuses is an error like any other. Also a decorator."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise PreconditionError(f"{error.filename}: {reason}" if error.filename else reason) from None
