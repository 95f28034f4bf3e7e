"""Exit codes, and errors in one line each."""

import sys
from collections.abc import Iterable
from enum import IntEnum

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from keyweave.common.errors import InvalidInputError, KeyweaveError


class ExitCode(IntEnum):
    """What `keyweave` returns to the shell."""

    OK = 0
    ERROR = 1
    USAGE = 2
    # The network works only in part.
    DEGRADED = 3
    TIMED_OUT = 4
    # Nobody answers, or not with a certificate that we trust.
    UNREACHABLE = 5


class UnreachableError(KeyweaveError):
    """There is nobody to talk to: the network is not up, or not where we look."""


def report(error: KeyweaveError | grpc.aio.AioRpcError | ExceptionGroup[Exception]) -> ExitCode:
    """Write `error` to stderr, one line for each thing that is wrong, and say what to exit with."""
    for line in _lines(error):
        sys.stderr.write(f"error: {line}\n")
    return _code(error)


def is_ours(error: BaseException) -> bool:
    """Whether `error` is one that `report` puts in words; anything else is a defect and stays loud."""
    if isinstance(error, ExceptionGroup):
        return all(is_ours(inner) for inner in error.exceptions)
    return isinstance(error, KeyweaveError | grpc.aio.AioRpcError)


def _code(error: BaseException) -> ExitCode:
    if isinstance(error, ExceptionGroup):
        return _code(error.exceptions[0])
    if isinstance(error, UnreachableError):
        return ExitCode.UNREACHABLE
    if isinstance(error, grpc.aio.AioRpcError):
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            return ExitCode.UNREACHABLE
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return ExitCode.TIMED_OUT
    return ExitCode.ERROR


def _lines(error: BaseException) -> Iterable[str]:
    if isinstance(error, ExceptionGroup):
        for inner in error.exceptions:
            yield from _lines(inner)
    elif isinstance(error, InvalidInputError):
        yield from (one_line(str(violation)) for violation in error.violations)
    elif isinstance(error, grpc.aio.AioRpcError):
        yield from _rpc_lines(error)
    else:
        yield one_line(str(error))


def _rpc_lines(error: grpc.aio.AioRpcError) -> Iterable[str]:
    violations = []
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # has all that a call has
    for detail in status.details if status is not None else ():
        bad_request = error_details_pb2.BadRequest()
        if detail.Unpack(bad_request):
            violations += [f"{v.field}: {v.description}" for v in bad_request.field_violations]
    if violations:
        yield from (one_line(violation) for violation in violations)
    elif error.code() is grpc.StatusCode.UNAVAILABLE:
        yield one_line(f"nobody could be reached: {error.details()}")
    else:
        name = error.code().name.lower().replace("_", " ")
        yield one_line(f"{name}: {error.details()}")


def one_line(text: str) -> str:
    """`text` without the line breaks that other people's messages have."""
    return " ".join(text.split())
