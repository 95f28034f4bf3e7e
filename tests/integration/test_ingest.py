"""Telemetry over real sockets and mutual TLS: sequence, acknowledgement, credit, and who may speak."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from keyweave.common.grpc_errors import ErrorInterceptor
from keyweave.common.identity import Identity, Plane, Role
from keyweave.common.names import NodeName
from keyweave.common.pki import Authority
from keyweave.common.tls import SERVER_OPTIONS, TlsFiles, secure_channel, server_credentials
from keyweave.controller.ingest import TelemetryIntake
from keyweave.controller.stimuli import (
    AgentHello,
    AgentReported,
    Batch,
    LinkObserved,
    PoolsReported,
    SamplesDropped,
    SamplesRefused,
    StreamsReported,
    TelemetryLost,
)
from keyweave.v1 import agent_pb2, agent_pb2_grpc, types_pb2

CONTROLLER = Identity(Plane.CONTROL, Role.CONTROLLER, "controller")
INCARNATION = b"incarnation-0001"
WINDOW, QUEUE = 4, 64
Call = Any


def agent(name: str) -> Identity:
    return Identity(Plane.CONTROL, Role.AGENT, name)


class Pki:
    """One control plane, certificates on request."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authority = Authority.create(Plane.CONTROL)
        (folder / "ca.pem").write_bytes(self._authority.credential.certificate)

    def files(self, identity: Identity) -> TlsFiles:
        stem = self._folder / f"{identity.role}-{identity.name}"
        certificate, key = stem.with_suffix(".pem"), stem.with_suffix(".key")
        self._authority.issue(identity).write(certificate, key)
        return TlsFiles(certificate=certificate, private_key=key, trust_anchor=self._folder / "ca.pem")


class _Service(agent_pb2_grpc.AgentServiceServicer):
    def __init__(self, intake: TelemetryIntake) -> None:
        self._intake = intake

    async def Telemetry(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]  # noqa: N802
        await self._intake.telemetry(request_iterator, context)

    async def Policy(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]  # noqa: N802
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "telemetry only")

    async def Inspect(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]  # noqa: N802
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "telemetry only")


@dataclass
class Site:
    """A controller's intake behind a real port; the test plays the core and the agents."""

    pki: Pki
    queue: asyncio.Queue[Batch] = field(default_factory=lambda: asyncio.Queue(QUEUE))
    intake: TelemetryIntake = field(init=False)
    address: str = ""

    def __post_init__(self) -> None:
        known = {NodeName("a"), NodeName("b")}
        self.intake = TelemetryIntake(known_node=known.__contains__, submit=self.queue.put, window=WINDOW)

    async def taken(self) -> Batch:
        """The next batch that the core gets; not acknowledged yet."""
        return await self.queue.get()

    async def handle(self, count: int = 1) -> list[Batch]:
        """The core handles the next batches."""
        batches = [await self.taken() for _ in range(count)]
        for batch in batches:
            self.intake.processed(batch)
        return batches

    @asynccontextmanager
    async def dial(self, identity: Identity, *, incarnation: bytes = INCARNATION) -> AsyncIterator[Call]:
        """An agent's stream after its hello."""
        async with self.channel(identity) as call:
            await call.write(hello(identity.name, incarnation))
            yield call

    @asynccontextmanager
    async def channel(self, identity: Identity) -> AsyncIterator[Call]:
        async with secure_channel(self.address, self.pki.files(identity), CONTROLLER) as channel:
            call: Call = agent_pb2_grpc.AgentServiceStub(channel).Telemetry()  # type: ignore[call-arg]
            yield call
            call.cancel()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    pki = Pki(tmp_path)
    served = Site(pki)
    server = grpc.aio.server(interceptors=[ErrorInterceptor()], options=SERVER_OPTIONS)
    agent_pb2_grpc.add_AgentServiceServicer_to_server(_Service(served.intake), server)
    port = server.add_secure_port("127.0.0.1:0", server_credentials(pki.files(CONTROLLER)))
    served.address = f"127.0.0.1:{port}"
    await server.start()
    yield served
    await server.stop(0)


def hello(node: str, incarnation: bytes = INCARNATION) -> agent_pb2.TelemetryRequest:
    return agent_pb2.TelemetryRequest(hello=agent_pb2.TelemetryHello(node=node, incarnation=incarnation))


def link(name: str = "a-b", qber: float = 0.03) -> agent_pb2.LinkSamples:
    return agent_pb2.LinkSamples(
        link=name,
        start_unix_nanos=1,
        interval_micros=100_000,
        rows=2,
        qber_ratio=np.full(2, qber, dtype="<f4").tobytes(),
        status=types_pb2.LINK_STATUS_ACTIVE,
    )


def batch(sequence: int, *links: agent_pb2.LinkSamples, **more: Any) -> agent_pb2.TelemetryRequest:
    return agent_pb2.TelemetryRequest(
        sequence=sequence, batch=agent_pb2.TelemetryBatch(links=links or (link(),), **more)
    )


async def acknowledged(call: Call, sequence: int) -> agent_pb2.TelemetryResponse:
    """Read until this much is acknowledged."""
    while (response := await call.read()).acked_sequence < sequence:
        pass
    return response  # type: ignore[no-any-return]


async def refusal(call: Call) -> tuple[grpc.StatusCode, str]:
    """How the controller ends the stream."""
    with suppress(grpc.aio.AioRpcError):
        # The status comes after the last message.
        while await call.read():
            pass
    return await call.code(), await call.details()


# ---- acknowledgement and credit --------------------------------------------------------------------


async def test_a_hello_is_answered_with_where_the_agent_stands(site: Site) -> None:
    async with site.dial(agent("a")) as call:
        first = await call.read()
        assert (first.acked_sequence, first.credit_sequence) == (0, WINDOW)
        (greeting,) = (await site.taken()).items
        assert isinstance(greeting, AgentHello)
        assert (greeting.node, greeting.hello.incarnation) == ("a", INCARNATION)
        assert site.intake.connected == ("a",)


async def test_a_message_is_acknowledged_once_the_core_has_handled_it_and_not_before(site: Site) -> None:
    async with site.dial(agent("a")) as call:
        for sequence in (1, 2, 3):
            await call.write(batch(sequence))
        await site.taken()
        batches = [await site.taken() for _ in range(3)]
        assert [b.sequence for b in batches] == [1, 2, 3]
        assert (await call.read()).acked_sequence == 0
        assert site.intake.in_flight == 3

        for handled in batches:
            site.intake.processed(handled)
        response = await call.read()
        assert response.acked_sequence == 3, "one cumulative acknowledgement for all three"
        assert response.credit_sequence == 3 + WINDOW
        assert site.intake.in_flight == 0


async def test_credit_follows_the_core_and_stops_an_agent_that_is_faster(site: Site) -> None:
    async with site.dial(agent("a")) as call:
        credit, sent = (await call.read()).credit_sequence, 0
        while sent < credit:
            sent += 1
            await call.write(batch(sent))
        await site.taken()
        waiting = [await site.taken() for _ in range(WINDOW)]
        assert sent == WINDOW
        assert site.intake.in_flight == WINDOW

        site.intake.processed(waiting[0])
        assert (await acknowledged(call, 1)).credit_sequence == WINDOW + 1


async def test_an_agent_that_disregards_its_credit_is_cut_off(site: Site) -> None:
    async with site.dial(agent("a")) as call:
        for sequence in range(1, WINDOW + 2):
            await call.write(batch(sequence))
        code, words = await refusal(call)
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert words == "sequence 5 is beyond the credit of 4; wait for more"


async def test_what_was_heard_before_a_reconnect_is_not_counted_twice(site: Site) -> None:
    async with site.dial(agent("a")) as call:
        await call.write(batch(1))
        await call.write(batch(2))
        await site.taken()
        first, second = await site.taken(), await site.taken()
        site.intake.processed(first)
        await acknowledged(call, 1)
    (lost,) = (await site.taken()).items
    assert isinstance(lost, TelemetryLost)

    async with site.dial(agent("a")) as call:
        assert (await call.read()).acked_sequence == 1
        await call.write(batch(2))  # taken before, not handled yet: the agent cannot know
        await call.write(batch(3))
        site.intake.processed(second)
        assert [b.sequence for b in await site.handle(2)] == [0, 3]
        assert (await acknowledged(call, 3)).acked_sequence == 3
        assert site.intake.counters.duplicate_messages_total == 1


async def test_a_restarted_agent_counts_from_one_again(site: Site) -> None:
    async with site.dial(agent("a")) as call:
        await call.write(batch(1))
        await site.handle(2)
        await acknowledged(call, 1)
    await site.handle()
    async with site.dial(agent("a"), incarnation=b"incarnation-0002") as call:
        await call.write(batch(1))
        assert [b.sequence for b in await site.handle(2)] == [0, 1]
        await acknowledged(call, 1)


async def test_after_a_restart_of_the_controller_an_agent_goes_on_where_it_was(site: Site) -> None:
    async with site.dial(agent("a")) as call:
        await call.write(batch(5001))
        assert [b.sequence for b in await site.handle(2)] == [0, 5001]
        assert (await acknowledged(call, 5001)).credit_sequence == 5001 + WINDOW


async def test_a_full_queue_holds_back_the_agent_and_loses_nothing(site: Site) -> None:
    site.queue = asyncio.Queue(1)
    site.intake._submit = site.queue.put
    async with site.dial(agent("a")) as call:
        for sequence in (1, 2, 3):
            await call.write(batch(sequence))
        assert (await call.read()).acked_sequence == 0
        assert [b.sequence for b in await site.handle(4)] == [0, 1, 2, 3]
        await acknowledged(call, 3)


# ---- what is in a message --------------------------------------------------------------------------


async def test_one_bad_link_does_not_poison_its_batch(site: Site) -> None:
    async with site.dial(agent("a")) as call:
        await call.write(batch(1, link("good-1"), link("bad", qber=0.7), link("good-2")))
        _, received = await site.handle(2)
        good_1, bad, good_2 = received.items
        assert isinstance(good_1, LinkObserved)
        assert isinstance(good_2, LinkObserved)
        assert (good_1.samples.link, good_2.samples.link, good_1.samples.node) == ("good-1", "good-2", "a")
        assert isinstance(bad, SamplesRefused)
        assert (bad.node, bad.link) == ("a", "bad")
        assert bad.reason.startswith("links[1].qber_ratio: 0.7 at row 0 is outside 0..0.5")
        await acknowledged(call, 1)
        assert site.intake.counters.refused_items_total == 1
        assert site.intake.counters.sample_rows_total == 4


async def test_pools_streams_events_and_drops_reach_the_core(site: Site) -> None:
    pool = agent_pb2.PoolLevel(link="a-b", pool_id=bytes(16), send_bits=5, receive_bits=6)
    state = agent_pb2.StreamState(stream="s", protection=types_pb2.PROTECTION_HYBRID)
    event = agent_pb2.AgentEvent(kind=agent_pb2.AGENT_EVENT_KIND_LINK_LOSS_OF_SIGNAL, link="a-b")
    async with site.dial(agent("a")) as call:
        await call.write(batch(1, pools=[pool], streams=[state], dropped_samples_total=7))
        await call.write(agent_pb2.TelemetryRequest(sequence=2, event=event))
        _, first, second = await site.handle(3)
    assert first.items[1:] == (
        PoolsReported(NodeName("a"), (pool,)),
        StreamsReported(NodeName("a"), (state,)),
        SamplesDropped(NodeName("a"), 7),
    )
    assert second.items == (AgentReported(NodeName("a"), event),)


async def test_items_that_cannot_be_true_are_refused_alone_and_the_message_is_acknowledged(
    site: Site,
) -> None:
    good = agent_pb2.PoolLevel(link="a-b")
    bad = [agent_pb2.PoolLevel(link="a-b", pool_id=b"short"), agent_pb2.PoolLevel(link="")]
    async with site.dial(agent("a")) as call:
        await call.write(batch(1, pools=[good, *bad], streams=[agent_pb2.StreamState(stream="Not A Name")]))
        await call.write(agent_pb2.TelemetryRequest(sequence=2, event=agent_pb2.AgentEvent()))
        _, first, second = await site.handle(3)
        await acknowledged(call, 2)
    assert first.items[1:] == (PoolsReported(NodeName("a"), (good,)),)
    assert second.items == ()
    assert site.intake.counters.refused_items_total == 4


# ---- who may speak, and in which order -------------------------------------------------------------


@pytest.mark.parametrize(
    ("identity", "says", "code", "words"),
    [
        (agent("a"), "b", grpc.StatusCode.PERMISSION_DENIED, "it cannot speak for 'b'"),
        (
            Identity(Plane.CONTROL, Role.OPERATOR, "a"),
            "a",
            grpc.StatusCode.PERMISSION_DENIED,
            "is no agent of the control plane",
        ),
        (agent("c"), "c", grpc.StatusCode.FAILED_PRECONDITION, "create it with `keyweave node create c`"),
    ],
)
async def test_nobody_speaks_for_a_node_but_its_own_agent(
    site: Site, identity: Identity, says: str, code: grpc.StatusCode, words: str
) -> None:
    async with site.channel(identity) as call:
        with suppress(grpc.aio.AioRpcError):  # the refusal may come first
            await call.write(hello(says))
        refused, details = await refusal(call)
    assert refused is code
    assert words in details
    assert site.queue.empty()


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([batch(1)], "kind: the first message of a telemetry stream must be a hello"),
        ([hello("a", b"short")], "hello.incarnation"),
        ([hello("a"), hello("a")], "kind: after the hello, a message holds a batch or an event"),
        ([hello("a"), batch(1), batch(3)], "sequence: 3 came where 2 was expected; send from there"),
        ([hello("a"), batch(0)], "sequence: 0 is for the hello; messages count from 1"),
    ],
)
async def test_what_breaks_the_protocol_ends_the_stream_and_says_how_to_go_on(
    site: Site, messages: list[agent_pb2.TelemetryRequest], words: str
) -> None:
    async with site.channel(agent("a")) as call:
        with suppress(grpc.aio.AioRpcError):  # the refusal of one may come before the next is sent
            for message in messages:
                await call.write(message)
        code, details = await refusal(call)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details.startswith(words)


async def test_a_newer_connection_replaces_the_older(site: Site) -> None:
    async with site.dial(agent("a")) as older:
        await older.write(batch(1))
        await site.handle(2)
        await acknowledged(older, 1)
        async with site.dial(agent("a")) as newer:
            assert (await newer.read()).acked_sequence == 1
            code, words = await refusal(older)
            assert code is grpc.StatusCode.ABORTED
            assert "newer telemetry stream" in words
            await newer.write(batch(2))
            _, received = await site.handle(2)
            assert received.sequence == 2, "no loss was reported in between: the node never went away"
            assert site.intake.connected == ("a",)


async def test_a_controller_that_shuts_down_takes_nothing_in_and_says_so(site: Site) -> None:
    async with site.dial(agent("a")) as call:
        await call.read()
        site.intake.stop()
        code, words = await refusal(call)
        assert (code, words) == (
            grpc.StatusCode.UNAVAILABLE,
            "this controller is shutting down; dial again",
        )
    async with site.dial(agent("b")) as call:
        assert (await refusal(call))[0] is grpc.StatusCode.UNAVAILABLE
