"""Callers that flood a gRPC port, send too much or say nothing: told so or dropped, and others are served.

All gRPC ports have the same options and interceptors; the emulator's is the one that is quickest to bring up.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from keyweave.common import grpc_limits
from keyweave.common.grpc_errors import ErrorInterceptor
from keyweave.common.grpc_limits import LimitInterceptor
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.rate_limit import RateLimit, RateTerms
from keyweave.common.tls import SERVER_OPTIONS
from keyweave.v1 import emulator_pb2 as pb
from keyweave.v1 import emulator_pb2_grpc
from tests.integration.emulated import Emulator, running
from tests.integration.test_emulator_service import SCENARIO

# One message more than a server takes.
TOO_LONG = dict(SERVER_OPTIONS)["grpc.max_receive_message_length"] + 1
CALLS = RateTerms(per_second=0.1, burst=20)


@pytest.fixture
async def emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Emulator]:
    async with running(SCENARIO, tmp_path, monkeypatch, calls=CALLS) as emulator:
        yield emulator


def agent(emulator: Emulator, node: str) -> grpc.aio.Channel:
    return emulator.channel(emulator.files(Identity(Plane.CONTROL, Role.AGENT, node)))


async def link_ends(channel: grpc.aio.Channel) -> int:
    stub: Any = emulator_pb2_grpc.EmulatorServiceStub(channel)
    return len((await stub.ListLinkEnds(pb.ListLinkEndsRequest(), timeout=30)).link_ends)


async def test_a_flood_of_one_caller_is_told_when_to_come_back_and_another_is_served(
    emulator: Emulator,
) -> None:
    async with agent(emulator, "a") as greedy, agent(emulator, "b") as other:
        calls = [link_ends(greedy) for _ in range(3 * CALLS.burst)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert CALLS.burst <= answers.count(1) < 2 * CALLS.burst
        refused = next(each for each in answers if isinstance(each, grpc.aio.AioRpcError))
        assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "keyweave://control/agent/a" in (refused.details() or "")
        status = rpc_status.from_call(refused)  # type: ignore[arg-type]  # it has what a call has
        retry = error_details_pb2.RetryInfo()
        assert status.details[0].Unpack(retry)
        assert retry.retry_delay.ToMilliseconds() >= 0
        assert await link_ends(other) == 2


async def test_streams_of_one_caller_are_bounded_and_one_that_ends_makes_room() -> None:
    limiter = LimitInterceptor(RateLimit(100, 100), calls_of_one=2)
    server = grpc.aio.server(interceptors=[ErrorInterceptor(), limiter])

    async def hold(_request: bytes, _context: Any) -> AsyncIterator[bytes]:
        yield b"begun"
        await asyncio.Event().wait()

    handler: Any = grpc.unary_stream_rpc_method_handler(hold)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t", {"Hold": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            dial: Any = channel.unary_stream("/t/Hold", None, None)
            held = [dial(b"") for _ in range(2)]
            assert [await call.read() for call in held] == [b"begun", b"begun"]
            third = dial(b"")
            assert await third.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            held[0].cancel()
            async with asyncio.timeout(30):
                while await _is_refused(again := dial(b"")):
                    pass
            again.cancel()
            held[1].cancel()
    finally:
        await server.stop(None)


async def _is_refused(call: Any) -> bool:
    try:
        return bool(await call.read() != b"begun")
    except grpc.aio.AioRpcError as error:
        return error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_message_too_long_is_refused_and_the_connection_stays(emulator: Emulator) -> None:
    async with agent(emulator, "a") as channel:
        raw: Any = channel.unary_unary("/keyweave.v1.EmulatorService/ListLinkEnds", None, None)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await raw(bytes(TOO_LONG), timeout=30)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await link_ends(channel) == 1


async def test_who_connects_and_says_nothing_is_dropped_and_others_are_served(emulator: Emulator) -> None:
    host, _, port = emulator.address.rpartition(":")
    silent = [await asyncio.open_connection(host, int(port)) for _ in range(50)]
    for _, writer in silent[::2]:
        writer.write(b"\x16\x03\x01")  # the first bytes of a handshake
    async with agent(emulator, "a") as channel:
        assert await link_ends(channel) == 1
    async with asyncio.timeout(60):
        for reader, _ in silent:
            try:
                assert await reader.read() == b""
            except ConnectionError:
                continue
    for _, writer in silent:
        writer.close()


def test_a_caller_without_a_certificate_counts_by_its_address() -> None:
    class Context:
        def auth_context(self) -> dict[str, list[bytes]]:
            return {}

        def peer(self) -> str:
            return "ipv4:127.0.0.1:1"

    assert grpc_limits._caller(Context()) == "ipv4:127.0.0.1"
