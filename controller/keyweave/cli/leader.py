"""Which of a network's controllers leads: asked of any, and followed where it says."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import count

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from keyweave.cli.exits import UnreachableError
from keyweave.common.errors import leader_named_by
from keyweave.v1 import admin_pb2, admin_pb2_grpc

_ADMIN = admin_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name
_ASK_SECONDS = 5.0
# Of several that all cannot be reached, before that is believed.
ROUNDS = 3
# Between two rounds while nobody leads: a takeover is a matter of seconds.
_PAUSE_SECONDS = 0.2


async def leading(
    addresses: Sequence[str],
    connect: Callable[[str, int], Awaitable[grpc.aio.Channel]],
    patience_seconds: float,
) -> grpc.aio.Channel:
    """A connection to the controller that leads; `connect` makes one, or raises UnreachableError.

    Whoever answers has shown the certificate of a controller, whichever address it was found at.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_seconds
    # With each round an address has longer to answer: one that has died this moment still takes connections.
    for tries in count(1):
        failures: list[str] = []
        stands_by = False
        waiting = list(addresses)
        asked: set[str] = set()
        while waiting:
            address = waiting.pop(0)
            asked.add(address)
            try:
                channel = await connect(address, tries)
            except UnreachableError as error:
                failures.append(str(error))
                continue
            if await _leads(channel):
                return channel
            stands_by = True
            leader, refusal = await _who_leads(channel)
            failures.append(f"{address}: {refusal}")
            if leader and leader not in asked:
                waiting = [leader, *(each for each in waiting if each != leader)]
        # Only of controllers that take turns another one may be the next to answer.
        hopeless = not stands_by and (len(addresses) == 1 or tries >= ROUNDS)
        if hopeless or loop.time() >= deadline:
            raise UnreachableError("; ".join(failures))
        await asyncio.sleep(_PAUSE_SECONDS)
    raise AssertionError("rounds do not end by themselves")


async def _leads(channel: grpc.aio.Channel) -> bool:
    stub: health_pb2_grpc.HealthStub = health_pb2_grpc.HealthStub(channel)
    try:
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=_ADMIN), timeout=_ASK_SECONDS)
    except grpc.aio.AioRpcError as error:
        # It is just taking over, or ends. Of anything else the call itself tells what is wrong.
        return error.code() is not grpc.StatusCode.UNAVAILABLE
    return bool(answer.status != health_pb2.HealthCheckResponse.NOT_SERVING)


async def _who_leads(channel: grpc.aio.Channel) -> tuple[str, str]:
    """Where the leader is, empty where that is not known, and the whole answer."""
    stub: admin_pb2_grpc.AdminServiceAsyncStub = admin_pb2_grpc.AdminServiceStub(channel)
    try:
        await stub.ListNodes(admin_pb2.ListNodesRequest(page_size=1), timeout=_ASK_SECONDS)
    except grpc.aio.AioRpcError as error:
        status = rpc_status.from_call(error)  # type: ignore[arg-type]  # has all that a call has
        return (leader_named_by(status) or "") if status is not None else "", str(error.details())
    return "", "it has just taken over, or is about to stop"
