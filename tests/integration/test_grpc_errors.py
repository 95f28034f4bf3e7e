"""What callers are told when a handler raises, over a real connection and for each shape of call."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import structlog
from google.rpc import error_details_pb2
from grpc._cython import cygrpc  # type: ignore[attr-defined]
from grpc_status import rpc_status

from keyweave.common.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from keyweave.common.grpc_errors import ErrorInterceptor, _answered

SECRET = "the secret is 42"


async def _unary(request: bytes, _context: Any) -> bytes:
    match request:
        case b"field":
            raise InvalidInputError.of("link.name", "is already taken")
        case b"group":
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_missing())
        case b"unforeseen":
            raise ValueError(SECRET)
        case b"own abort":
            await _context.abort(grpc.StatusCode.OUT_OF_RANGE, "said by the handler itself")
    return b"fine"


async def _missing() -> None:
    raise NotFoundError("there is no such thing")


async def _stream(_request: bytes, _context: Any) -> AsyncIterator[bytes]:
    yield b"first"
    raise UnavailableError("try again")


async def _bidirectional(requests: AsyncIterator[bytes], _context: Any) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request
        raise ConflictError("somebody changed it")


async def _writing(_request: bytes, context: Any) -> None:
    await context.write(b"first")
    raise UnavailableError("try again")


@pytest.fixture
async def channel() -> AsyncIterator[Any]:
    server = grpc.aio.server(interceptors=[ErrorInterceptor()])
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(_unary),
        "Stream": grpc.unary_stream_rpc_method_handler(_stream),
        "Writing": grpc.unary_stream_rpc_method_handler(_writing),
        "Bidirectional": grpc.stream_stream_rpc_method_handler(_bidirectional),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as open_channel:
        yield open_channel
    await server.stop(None)


async def answer(channel: Any, request: bytes) -> Any:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary("/test.Service/Unary")(request)
    return caught.value


async def test_what_does_not_raise_passes(channel: Any) -> None:
    assert await channel.unary_unary("/test.Service/Unary")(b"") == b"fine"


async def test_a_wrong_field_arrives_as_a_violation_of_that_field(channel: Any) -> None:
    error = await answer(channel, b"field")
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    status = rpc_status.from_call(error)
    bad_request = error_details_pb2.BadRequest()
    assert status.details[0].Unpack(bad_request)
    assert [(v.field, v.description) for v in bad_request.field_violations] == [
        ("link.name", "is already taken")
    ]


async def test_an_error_from_a_task_group_is_answered_like_a_bare_one(channel: Any) -> None:
    error = await answer(channel, b"group")
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "there is no such thing")


async def test_an_unforeseen_error_tells_the_log_its_cause_and_the_caller_nothing(
    channel: Any,
) -> None:
    with structlog.testing.capture_logs() as logged:
        error = await answer(channel, b"unforeseen")
    assert error.code() is grpc.StatusCode.INTERNAL
    assert SECRET not in (error.details() or "")
    assert [(entry["event"], entry["method"]) for entry in logged] == [
        ("grpc_handler_failed", "/test.Service/Unary")
    ]


async def test_a_handlers_own_abort_stands(channel: Any) -> None:
    error = await answer(channel, b"own abort")
    assert (error.code(), error.details()) == (grpc.StatusCode.OUT_OF_RANGE, "said by the handler itself")


async def test_a_method_that_is_not_there_is_unimplemented(channel: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary("/test.Service/Absent")(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("method", ["Stream", "Writing"])
async def test_a_stream_that_fails_ends_after_what_it_sent(channel: Any, method: str) -> None:
    call = channel.unary_stream(f"/test.Service/{method}")(b"")
    assert await call.read() == b"first"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.UNAVAILABLE, "try again")


async def test_a_bidirectional_stream_fails_with_its_status(channel: Any) -> None:
    call = channel.stream_stream("/test.Service/Bidirectional")()
    await call.write(b"hello")
    assert await call.read() == b"hello"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.ABORTED


async def test_a_handler_whose_server_stops_under_it_logs_no_failure() -> None:
    # What reading a stream raises then; a session reads in a task group.
    stopped = cygrpc._ServerStoppedError("Server already stopped.")
    context: Any = None
    with structlog.testing.capture_logs() as logged, pytest.raises(cygrpc._ServerStoppedError):
        async with _answered(context, "/test.Service/Session"):
            raise ExceptionGroup("", [stopped])
    assert not logged
