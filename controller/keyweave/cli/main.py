"""The command line."""

import os
import sys
from collections.abc import Sequence
from typing import Any

import grpc
from typer._completion_classes import completion_init

from keyweave.cli.exits import ExitCode, is_ours, report
from keyweave.cli.manual.command import VARIABLE
from keyweave.cli.words import WORDS, command_line
from keyweave.common.errors import KeyweaveError

# Where shells say what is written so far: bash, and the others.
_WRITTEN = ("COMP_WORDS", "_TYPER_COMPLETE_ARGS")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    if VARIABLE in os.environ:
        # A shell asks what could come next; typer's own options for that are left out of our help.
        completion_init()
        words = _completing()
    else:
        words = [word for word in given[:1] if word in WORDS]
    try:
        app = command_line(words or WORDS)
        result: Any = app(arguments, standalone_mode=False, prog_name="keyweave")
    except (KeyweaveError, grpc.aio.AioRpcError) as error:
        return report(error)
    except ExceptionGroup as group:
        if not is_ours(group):
            raise
        return report(group)
    except KeyboardInterrupt:
        return ExitCode.OK
    except Exception as error:
        # Typer has its parser's exceptions from click or from a copy of it, depending on its version.
        if not hasattr(error, "format_message"):
            raise
        # Where a value is not one of its type's, typer says so in pydantic's words.
        for line in str(error.format_message()).replace("Value error, ", "").splitlines():
            sys.stderr.write(f"error: {line}\n")
        return int(getattr(error, "exit_code", ExitCode.USAGE))
    # An explicit exit comes back as its code; what commands return is nothing.
    return result if isinstance(result, int) else ExitCode.OK


def _completing() -> Sequence[str]:
    """Which words the first that is written may be or become."""
    written = " ".join(os.environ.get(name, "") for name in _WRITTEN).split()[1:2]
    return [word for word in WORDS if written and word.startswith(written[0])]
