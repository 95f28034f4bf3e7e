"""What agents and operators can send a controller, the real core behind it."""

import asyncio
import math
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

from keyweave.common.errors import InvalidInputError, KeyweaveError
from keyweave.common.identity import PQ_TLS_GROUP, Identity, Plane, Role
from keyweave.common.names import NodeName, StreamName
from keyweave.common.tls import TlsFiles
from keyweave.controller.admin.service import AdminService
from keyweave.controller.config import ControllerConfig
from keyweave.controller.controller import Controller
from keyweave.controller.ingest import TelemetryIntake
from keyweave.controller.inspection import Inspection
from keyweave.controller.instructions import Confirm, Push
from keyweave.controller.push import PolicyPusher
from keyweave.controller.rollout import Rollout
from keyweave.controller.stimuli import Batch, PolicyStimulus
from keyweave.controller.store import Store
from keyweave.v1 import admin_pb2, agent_pb2, types_pb2
from tests.fuzz.target import Target
from tests.fuzz.wire import Words, messages
from tests.unit.core_run import LINKS, START, Run

NODE = NodeName("a")
INCARNATION = bytes(16)


@dataclass
class Context:
    """A call by somebody with a certificate, as grpc.aio would show it."""

    role: Role = Role.AGENT
    name: str = NODE
    written: list[Message] = field(default_factory=list)

    def auth_context(self) -> dict[str, list[bytes]]:
        """Who calls."""
        return {
            "peer_uri": [Identity(Plane.CONTROL, self.role, self.name).uri.encode()],
            "ssl_tls_version": [b"TLSv1.3"],
            "ssl_negotiated_key_exchange_group": [PQ_TLS_GROUP.encode()],
        }

    def time_remaining(self) -> float:
        """Seconds until the caller gives up."""
        return 10.0

    async def write(self, message: Message) -> None:
        """What is answered."""
        message.SerializeToString()
        self.written.append(message)


async def _stream(sent: Sequence[Message]) -> AsyncIterator[Any]:
    for message in sent:
        yield type(message).FromString(message.SerializeToString())
        for _ in range(3):
            await asyncio.sleep(0)


def _holds(run: Run) -> None:
    """What must be so of a core whatever agents said."""
    for name, plan in run.core.plan.streams.items():
        assert math.isfinite(plan.rate_bps), f"stream {name} is planned at {plan.rate_bps}"
        assert plan.rate_bps >= 0, f"stream {name} is planned at {plan.rate_bps}"
    for link, view in run.core.snapshot().links.items():
        rates = (view.usable_rate_bps, view.skr_bps, view.qber_ratio, view.pool_bits)
        assert all(rate is None or math.isfinite(rate) for rate in rates), f"link {link} has {rates}"
        assert view.usable_rate_bps >= 0, f"link {link} has {view.usable_rate_bps}"


def _still_serves(run: Run) -> None:
    """Links that others report on bring the stream to where it can have a path."""
    run.measure(8.0, {}, without=("a-p", "a-q"))
    _holds(run)
    assert StreamName("s") in run.core.plan.streams


# ---- telemetry ---------------------------------------------------------------------------------


def _column(*values: float) -> bytes:
    return np.array(values, dtype="<f4").tobytes()


_DETECTOR = agent_pb2.DetectorSamples(
    detector="d1", count_rate_hz=_column(5e4, 5e4), dark_count_rate_hz=_column(400, 400)
)
_SAMPLES = agent_pb2.LinkSamples(
    link="a-p",
    start_unix_nanos=int(START * 1e9),
    interval_micros=100_000,
    rows=2,
    qber_ratio=_column(0.02, 0.02),
    skr_bps=_column(1000, 1000),
    sifted_rate_bps=_column(1e4, 1e4),
    loss_db=_column(14, 14),
    detectors=[_DETECTOR],
    status=types_pb2.LINK_STATUS_ACTIVE,
)
_BATCH = agent_pb2.TelemetryBatch(
    links=[_SAMPLES],
    pools=[agent_pb2.PoolLevel(link="a-p", pool_id=bytes(16), send_bits=8, receive_bits=8)],
    streams=[agent_pb2.StreamState(stream="s", is_source=True, protection=types_pb2.PROTECTION_QKD)],
)
_EVENTS = tuple(
    agent_pb2.AgentEvent(kind=kind.name, link="a-p", stream="s", peer_node="b", reason="so")
    for kind in agent_pb2.AgentEventKind.DESCRIPTOR.values
    if kind.number
)
_AGENT_HELLO = agent_pb2.TelemetryHello(node="a", incarnation=INCARNATION, software_version="0")
_LEVELS = (*_BATCH.pools, *_BATCH.streams, _DETECTOR, _SAMPLES, _BATCH)
_TELEMETRY_WORDS = Words.of(
    texts=("a", "b", "p", "a-p", "a-q", "b-p", "s", "d1"),
    blobs=(INCARNATION, _column(0.02, 0.02), _column(math.nan, math.inf), _column(-1, 3e38)),
    numbers=(1, 2, 3, 100_000, int(START * 1e9)),
    samples=(
        *_LEVELS,
        *_EVENTS,
        agent_pb2.TelemetryRequest(sequence=1, batch=_BATCH),
        *(agent_pb2.TelemetryRequest(sequence=1, event=event) for event in _EVENTS),
    ),
)


@dataclass
class Reports:
    """What an agent reports; numbered rightly as far as `in_order` goes."""

    requests: list[agent_pb2.TelemetryRequest]
    in_order: int
    hello: agent_pb2.TelemetryRequest


async def _telemetry(reports: Reports) -> None:
    run = Run()
    run.connect()
    run.measure(2.0, {})

    async def submit(batch: Batch) -> None:
        run.handle(batch)
        run.advance(0.05)
        intake.processed(batch)

    intake = TelemetryIntake(known_node=run.network.nodes.__contains__, submit=submit)
    sent = [reports.hello, *reports.requests]
    for number, request in enumerate(reports.requests[: reports.in_order], 1):
        request.sequence = number
    with suppress(KeyweaveError):
        await intake.telemetry(_stream(sent), Context())  # type: ignore[arg-type]
    assert not intake.connected, "a stream that has ended is still counted"
    run.advance(2.0)
    _holds(run)
    other = agent_pb2.TelemetryRequest(hello=agent_pb2.TelemetryHello(node="b", incarnation=INCARNATION))
    await intake.telemetry(_stream([other]), Context(name="b"))  # type: ignore[arg-type]
    _still_serves(run)


# ---- policy ------------------------------------------------------------------------------------

_VERSION = agent_pb2.PolicyVersion(epoch=1, version=1, digest=bytes(32))
_POLICY_HELLO = agent_pb2.PolicyHello(node="a", incarnation=INCARNATION, have=_VERSION, highest_epoch=1)
_NACK = agent_pb2.PolicyNack(nonce=1, version=_VERSION, rules=[agent_pb2.RuleStatus(rule_id="stream/s")])
_POLICY_WORDS = Words.of(
    texts=("a", "stream/s", "peer/b", "order/x"),
    blobs=(INCARNATION,),
    numbers=(1, 2, 3),
    samples=(
        _VERSION,
        _POLICY_HELLO,
        _NACK,
        agent_pb2.PolicyRequest(hello=_POLICY_HELLO),
        agent_pb2.PolicyRequest(ack=agent_pb2.PolicyAck(nonce=1, version=_VERSION)),
        agent_pb2.PolicyRequest(ack=agent_pb2.PolicyAck(nonce=2, version=_VERSION)),
        agent_pb2.PolicyRequest(nack=_NACK),
    ),
)


async def _answers(requests: list[agent_pb2.PolicyRequest]) -> None:
    run = Run(answering=False)
    run.measure(2.0, {})

    async def submit(stimulus: PolicyStimulus) -> None:
        for instruction in run.handle(stimulus):
            if isinstance(instruction, Push | Confirm):
                pusher.execute(instruction)

    pusher = PolicyPusher(epoch=1, lease_seconds=5, known_node=run.network.nodes.__contains__, submit=submit)
    context: Any = Context()
    with suppress(KeyweaveError):
        await pusher.policy(_stream(requests), context)
    run.advance(2.0)
    _holds(run)
    if not run.core.read_only:
        again: Any = Context(name="b")
        hello = agent_pb2.PolicyHello(node="b", incarnation=INCARNATION)
        await pusher.policy(_stream([agent_pb2.PolicyRequest(hello=hello)]), again)
    _still_serves(run)


# ---- pages of ledgers --------------------------------------------------------------------------

_ENTRY = types_pb2.LedgerEntry(node="a", stream="s", time_unix_nanos=1)
_PAGE = agent_pb2.LedgerPage(query_id=1, entries=[_ENTRY])
_LAST = agent_pb2.LedgerPage(query_id=1, entries=[_ENTRY], last=True)
_INSPECT_HELLO = agent_pb2.InspectRequest(hello=agent_pb2.InspectHello(node="a", incarnation=INCARNATION))
_PAGE_WORDS = Words.of(
    texts=("a", "s"),
    blobs=(INCARNATION,),
    numbers=(1, 2),
    samples=(
        _ENTRY,
        _PAGE,
        _LAST,
        _INSPECT_HELLO,
        agent_pb2.InspectRequest(ledger=_PAGE),
        agent_pb2.InspectRequest(ledger=_LAST),
    ),
)


async def _pages(requests: list[agent_pb2.InspectRequest]) -> None:
    inspection = Inspection(known_node=lambda node: node == NODE)
    ready, got = asyncio.Event(), []

    async def sent() -> AsyncIterator[agent_pb2.InspectRequest]:
        yield _INSPECT_HELLO
        ready.set()
        async for request in _stream(requests):
            yield request

    async def ask() -> None:
        await ready.wait()
        query = agent_pb2.LedgerQuery(stream="s", limit=10)
        with inspection.ledger(NODE, query) as answer:
            async for page in answer:
                got.append(page)  # noqa: PERF401

    context: Any = Context()
    asking = asyncio.create_task(ask())
    with suppress(KeyweaveError):
        await inspection.inspect(sent(), context)
    with suppress(KeyweaveError):
        await asking
    assert all(e.node == "a" and e.stream == "s" for page in got for e in page.entries), "lines of others"


# ---- the admin API -----------------------------------------------------------------------------

METHODS = admin_pb2.DESCRIPTOR.services_by_name["AdminService"].methods_by_name
_SPECS: tuple[Message, ...] = (
    *(types_pb2.Node(name=name, key_plane_address=f"{name}:7000") for name in ("a", "b", "p", "q", "new")),
    *(
        types_pb2.Link(
            name=name,
            a_node=one,
            b_node=other,
            technology=types_pb2.LINK_TECHNOLOGY_DV_QKD,
            length_km=10,
        )
        for name, one, other, _ in (*LINKS, ("new", "p", "q", 1.0))
    ),
    *(
        types_pb2.Stream(
            name=name,
            source_node="a",
            target_node="b",
            source_sae=f"{name}-x",
            target_sae=f"{name}-y",
            require_qkd=True,
            max_rate_bps=1000,
            k=1,
        )
        for name in ("s", "new")
    ),
    *(
        types_pb2.Maintenance(
            name=name, links=["a-p"], start_unix_nanos=19 * 10**17, end_unix_nanos=19 * 10**17 + end
        )
        for name, end in (("s", 10**16), ("new", 2 * 10**16))
    ),
    *(
        types_pb2.Schedule(name=name, tenant=name, refresh_seconds=9, times=["22:00-06:00"])
        for name in ("s", "new")
    ),
)
_FIELDS = sorted({each.name for spec in _SPECS for each in spec.DESCRIPTOR.fields})


def _requests() -> list[Message]:
    made: list[Message] = []
    for method in METHODS.values():
        for spec in _SPECS:
            request: Any = GetMessageClass(method.input_type)()
            of_spec = spec.DESCRIPTOR.name.lower()
            if of_spec in method.input_type.fields_by_name and method.name.startswith(("Create", "Update")):
                getattr(request, of_spec).CopyFrom(spec)
            elif "name" in method.input_type.fields_by_name:
                request.name = spec.name  # type: ignore[attr-defined]
            if "update_mask" in method.input_type.fields_by_name:
                request.update_mask.paths.extend(_FIELDS[:3])
            made.append(request)
    return made


_ADMIN_WORDS = Words.of(
    texts=("a", "b", "p", "q", "new", "s", "a-p", "b-p", "a-q", "a:7000", "06:00-22:00", *_FIELDS),
    numbers=(1, 2, 256, 1000, 8192),
    samples=(*_SPECS, *_requests()),
)


@st.composite
def _calls(draw: st.DrawFn) -> tuple[str, Message]:
    method = METHODS[draw(st.sampled_from(sorted(METHODS)))]
    return method.name, draw(messages(GetMessageClass(method.input_type), _ADMIN_WORDS))


@cache
def _prepared() -> Path:
    """A database that holds a small network."""
    directory = Path(tempfile.mkdtemp(prefix="keyweave-fuzz-"))

    async def fill() -> None:
        store = await Store.open(f"sqlite+aiosqlite:///{directory}/controller.db")
        await store.claim_epoch("test")
        for spec in _SPECS:
            if spec.name != "new":  # type: ignore[attr-defined]
                await store.put(spec)  # type: ignore[type-var]
        await store.close()

    asyncio.run(fill())
    return directory / "controller.db"


@asynccontextmanager
async def _administered(database: Path) -> AsyncIterator[tuple[AdminService, Controller, asyncio.Task[None]]]:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        shutil.copy(database, directory / "controller.db")
        nowhere = TlsFiles(certificate=directory, private_key=directory, trust_anchor=directory)
        config = ControllerConfig(state_dir=directory, tls=nowhere, warmup_seconds=0)
        store = await Store.open(config.store_url)
        await store.claim_epoch("fuzz")
        intent = await store.load_intent()
        controller = Controller(config, store, Rollout(), 0)
        await controller.start(intent, await store.load_orders())
        service = AdminService(store, intent, controller)
        core = asyncio.create_task(controller.run())
        optimiser = asyncio.create_task(controller.optimiser.run())
        try:
            yield service, controller, core
        finally:
            controller.events.close()
            controller.inspection.stop()
            await service.close()
            optimiser.cancel()
            await asyncio.gather(optimiser, return_exceptions=True)
            await controller.finish()
            await core
            await store.close()


async def _operate(calls: list[tuple[str, Message]], database: Path) -> None:
    async with _administered(database) as (service, controller, core):
        for method, request in calls:
            sent = type(request).FromString(request.SerializeToString())
            before = service._intent
            try:
                await _call(service, method, sent)
            except InvalidInputError as error:
                assert error.violations, "refused without saying why"
                assert service._intent is before or service._intent == before, "refused, yet it changed"
            except KeyweaveError:
                pass
            assert not core.done(), "the core has ended"
        stored = await service._store.load_intent()
        assert stored == service._intent, "what is acknowledged is not what is stored"
        assert {*controller.snapshot().streams} == {*stored.streams}, "the core plans for other streams"
        await service.GetStatus(admin_pb2.GetStatusRequest(), Context(Role.OPERATOR, "olga"))


async def _call(service: AdminService, method: str, request: Message) -> None:
    context = Context(Role.OPERATOR, "olga")
    handler = getattr(service, method)(request, context)
    if not METHODS[method].server_streaming or method == "ShowLedger":
        with suppress(TimeoutError):
            async with asyncio.timeout(10 if method != "ShowLedger" else 0.2):
                response = await handler
        if method != "ShowLedger":
            response.SerializeToString()
        return
    try:
        with suppress(TimeoutError, StopAsyncIteration):
            async with asyncio.timeout(0.02):
                while True:
                    (await anext(handler)).SerializeToString()
    finally:
        await handler.aclose()


_HELLO = agent_pb2.TelemetryRequest(hello=_AGENT_HELLO)

TARGETS = (
    Target(
        "telemetry",
        st.builds(
            Reports,
            st.lists(messages(agent_pb2.TelemetryRequest, _TELEMETRY_WORDS), max_size=6),
            st.integers(0, 6),
            st.just(_HELLO) | messages(agent_pb2.TelemetryRequest, _TELEMETRY_WORDS),
        ),
        lambda reports: asyncio.run(_telemetry(reports)),
        examples=100,
    ),
    Target(
        "policy answers",
        st.lists(messages(agent_pb2.PolicyRequest, _POLICY_WORDS), max_size=5),
        lambda requests: asyncio.run(_answers(requests)),
        examples=60,
    ),
    Target(
        "ledger pages",
        st.lists(messages(agent_pb2.InspectRequest, _PAGE_WORDS), max_size=5),
        lambda requests: asyncio.run(_pages(requests)),
        examples=60,
    ),
    Target(
        "admin calls",
        st.lists(_calls(), min_size=1, max_size=12),
        lambda calls: asyncio.run(_operate(calls, _prepared())),
        examples=40,
    ),
)
