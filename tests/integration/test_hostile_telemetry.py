"""Telemetry that no agent of ours would send: it ends at most the stream that it came on."""

import asyncio
import random
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import grpc
import numpy as np
import pytest
from structlog.testing import capture_logs

from keyweave.common.names import LinkName, NodeName
from keyweave.common.tls import secure_channel
from keyweave.controller import routing
from keyweave.controller.reconcile.core import Core, CoreSettings
from keyweave.controller.rollout import Rollout
from keyweave.controller.topology import Link, Node
from keyweave.v1 import agent_pb2, types_pb2
from tests.integration.test_ingest import CONTROLLER, Call, Site, acknowledged, agent, refusal, site
from tests.integration.test_ingest import hello as hello_of

__all__ = ["site"]

A, B, LINK = NodeName("a"), NodeName("b"), LinkName("a-b")
METHOD = "/keyweave.v1.AgentService/Telemetry"
ROUNDS = 150
# How a stream may end: well, or because it broke the protocol. INTERNAL would be a failure of ours.
ENDS = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.PERMISSION_DENIED,
}
# What grpc.aio makes of a client that still writes when its stream has ended; the status is lost then.
LATE_WRITE = "Internal error from Core"
Mutation = Callable[[random.Random, bytes], bytes]


def honest(sequence: int) -> agent_pb2.TelemetryRequest:
    """A message with something of everything."""

    def column(value: float) -> bytes:
        return np.full(4, value, dtype="<f4").tobytes()

    samples = agent_pb2.LinkSamples(
        link="a-b",
        start_unix_nanos=1_700_000_000_000_000_000 + sequence * 400_000_000,
        interval_micros=100_000,
        rows=4,
        qber_ratio=column(0.03),
        skr_bps=column(1000.0),
        sifted_rate_bps=column(5000.0),
        loss_db=column(10.0),
        status=types_pb2.LINK_STATUS_ACTIVE,
        detectors=[agent_pb2.DetectorSamples(detector="d1", count_rate_hz=column(1e5))],
    )
    batch = agent_pb2.TelemetryBatch(
        links=[samples],
        pools=[agent_pb2.PoolLevel(link="a-b", pool_id=b"p" * 16, intake_bits_total=sequence * 400)],
        streams=[agent_pb2.StreamState(stream="s", protection=types_pb2.PROTECTION_QKD)],
    )
    return agent_pb2.TelemetryRequest(sequence=sequence, batch=batch)


def flipped(random_: random.Random, data: bytes) -> bytes:
    """Some bits are others."""
    changed = bytearray(data)
    for _ in range(random_.randint(1, 8)):
        changed[random_.randrange(len(changed))] ^= 1 << random_.randrange(8)
    return bytes(changed)


def cut(random_: random.Random, data: bytes) -> bytes:
    """The end is missing."""
    return data[: random_.randrange(len(data))]


def spliced(random_: random.Random, data: bytes) -> bytes:
    """A piece is there twice, or somewhere else."""
    start, end = sorted(random_.randrange(len(data)) for _ in range(2))
    at = random_.randrange(len(data))
    return data[:at] + data[start:end] + data[at:]


def noise(random_: random.Random, data: bytes) -> bytes:
    """Bytes of no meaning."""
    return random_.randbytes(random_.randint(1, len(data)))


def core() -> Core:
    """A core that knows a network of one link."""
    made = Core(settings=CoreSettings(), planner=routing, epoch=1, stored=Rollout())
    made.start({A: Node(A), B: Node(B)}, {LINK: Link(LINK, A, B)}, {}, 1_700_000_000.0)
    return made


async def _handle(site: Site, handled: Core) -> None:
    now = 1_700_000_000.0
    while True:
        batch = await site.taken()
        now += 0.05
        handled.handle(batch, now)
        site.intake.processed(batch)


async def _end(call: Call, messages: list[bytes]) -> tuple[grpc.StatusCode, str]:
    """Send these, say no more, and see how the controller takes it."""
    with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        for message in messages:
            await call.write(message)
        await call.done_writing()
    return await refusal(call)


@pytest.mark.parametrize("mutate", [flipped, cut, spliced, noise])
async def test_no_bytes_harm_the_controller_or_another_agents_stream(site: Site, mutate: Mutation) -> None:
    random_ = random.Random(mutate.__name__)  # a seed to repeat by, not a secret
    handled = core()
    async with asyncio.TaskGroup() as group, AsyncExitStack() as stack:
        logged = stack.enter_context(capture_logs())
        handling = group.create_task(_handle(site, handled), name="core")
        neighbour = await stack.enter_async_context(site.dial(agent("b")))
        channel = await stack.enter_async_context(
            secure_channel(site.address, site.pki.files(agent("a")), CONTROLLER)
        )
        dial: Any = channel.stream_stream(METHOD, None, None)
        for number in range(1, ROUNDS + 1):
            incarnation = random_.randbytes(16)
            sound = [hello_of("a", incarnation), *(honest(sequence) for sequence in range(1, 4))]
            messages = [message.SerializeToString() for message in sound]
            place = random_.randrange(len(messages))
            messages[place] = mutate(random_, messages[place])
            code, details = await _end(dial(), messages)
            assert code in ENDS or details == LATE_WRITE, (number, code, details)
            if number % 10 == 0:
                await neighbour.write(honest(number // 10))
                await acknowledged(neighbour, number // 10)
        assert not [entry for entry in logged if entry["event"] == "grpc_handler_failed"]
        assert B in site.intake.connected
        assert handled.links[LINK].track.end(B).measured_until is not None
        handling.cancel()
