"""The emulator's calls, the requests of applications, and files that people write."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

from keyweave.agent.config import AgentConfig
from keyweave.agent.etsi014 import messages as etsi014
from keyweave.agent.etsi014.supply import SupplyStatus
from keyweave.agent.guard.model import Guard
from keyweave.common import settings
from keyweave.common.errors import InvalidInputError, KeyweaveError
from keyweave.common.identity import Role
from keyweave.common.names import SaeId
from keyweave.controller.config import ControllerConfig
from keyweave.emulator.memories.desk import MemoryDesk
from keyweave.emulator.plane import OpticalPlane
from keyweave.emulator.scenario import Scenario
from keyweave.emulator.service import EmulatorService
from keyweave.v1 import emulator_pb2
from tests.fuzz.controller import Context
from tests.fuzz.target import Target
from tests.fuzz.wire import Words, messages
from tests.unit.test_scenario import GOOD

# ---- the emulator ------------------------------------------------------------------------------

METHODS = emulator_pb2.DESCRIPTOR.services_by_name["EmulatorService"].methods_by_name
_FAULTS = [
    emulator_pb2.Fault(link="north-south", kind=kind.name, magnitude=0.5)
    for kind in emulator_pb2.FaultKind.DESCRIPTOR.values
]
_COMMANDS = [
    emulator_pb2.MemoryCommand(attempt=emulator_pb2.MemoryAttempt(memory=0, link="pairs", tag="t")),
    emulator_pb2.MemoryCommand(attempt=emulator_pb2.MemoryAttempt(memory=1, link="pairs", tag="t")),
    emulator_pb2.MemoryCommand(swap=emulator_pb2.MemorySwap(first=0, second=1)),
    emulator_pb2.MemoryCommand(purify=emulator_pb2.MemoryPurify(kept=0, measured=1)),
    emulator_pb2.MemoryCommand(measure=emulator_pb2.MemoryMeasure(memory=1, angle_radians=1)),
    emulator_pb2.MemoryCommand(correct=emulator_pb2.MemoryCorrect(memory=0, x=True)),
    emulator_pb2.MemoryCommand(release=emulator_pb2.MemoryRelease(memory=0)),
]
_WORDS = Words.of(
    texts=("north-south", "north", "pairs", "t"),
    numbers=(1, 2),
    samples=(
        *_FAULTS,
        *(emulator_pb2.InjectFaultRequest(fault=fault) for fault in _FAULTS),
        emulator_pb2.RestoreLinkRequest(link="north-south"),
        emulator_pb2.RestoreNodeRequest(node="north"),
        emulator_pb2.WatchLinkEndRequest(link="north-south"),
        emulator_pb2.TakeBlocksRequest(link="north-south", first_block=1),
        *_COMMANDS,
        emulator_pb2.OperateMemoriesRequest(commands=_COMMANDS),
    ),
)


@st.composite
def _calls(draw: st.DrawFn) -> tuple[str, Message]:
    method = METHODS[draw(st.sampled_from(sorted(METHODS)))]
    return method.name, draw(messages(GetMessageClass(method.input_type), _WORDS))


async def _only(request: Message) -> AsyncIterator[Message]:
    yield request


async def _emulate(calls: list[tuple[str, Message]]) -> None:
    scenario = settings.parse(GOOD, Scenario, source="good")
    plane = OpticalPlane(scenario, warm_blocks_seconds=1.0)
    desk = MemoryDesk(scenario, plane)
    service = EmulatorService(plane, desk)
    link = next(iter(plane.links.values()))
    now = 10**18
    for method, request in calls:
        agent = method in {
            "ListLinkEnds",
            "WatchLinkEnd",
            "TakeBlocks",
            "DescribeMemories",
            "OperateMemories",
        }
        context: Any = Context(Role.AGENT, "north") if agent else Context(Role.OPERATOR, "olga")
        sent = type(request).FromString(request.SerializeToString())
        asked = _only(sent) if METHODS[method].client_streaming else sent
        answer = getattr(service, method)(asked, context)
        with suppress(KeyweaveError, TimeoutError, StopAsyncIteration):
            if METHODS[method].server_streaming:
                async with asyncio.timeout(0.01):
                    (await anext(answer)).SerializeToString()
            else:
                (await answer).SerializeToString()
        if METHODS[method].server_streaming:
            await answer.aclose()
        now += 10**8
        link.advance(now)
    desk.close()
    plane.close()


# ---- ETSI GS QKD 014 ---------------------------------------------------------------------------

_STATUS = SupplyStatus(
    source_kme_id="m",
    target_kme_id="b",
    master_sae_id=SaeId("x"),
    slave_sae_id=SaeId("y"),
    key_size=256,
    stored_key_count=3,
    max_key_count=64,
    max_key_per_request=64,
    max_key_size=8192,
    min_key_size=64,
    max_sae_id_count=16,
)
_RIGHT: tuple[dict[str, Any], ...] = (
    {},
    {"number": 3, "size": 1024},
    {"additional_slave_SAE_IDs": ["z"], "number": 1},
    {"extension_mandatory": [{"keyweave_require": "qkd"}], "extension_optional": [{"keyweave_max_age": 5}]},
    {"key_IDs": [{"key_ID": "bc490419-7d60-487f-adc1-4ddcc177c139"}]},
    {"key_IDs": [{"key_ID": "0" * 36, "key_ID_extension": {}}], "key_IDs_extension": {}},
)
_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers() | st.sampled_from((0, -1, 8, 10**9, 10**400)),
    st.floats(),
    st.text(max_size=40) | st.sampled_from(("x", "qkd", "\ud800", "a" * 129, "0" * 36)),
)
_NAMES = st.sampled_from([*etsi014._KEY_REQUEST_FIELDS, *etsi014._KEY_IDS_FIELDS, *etsi014._KEY_ID_FIELDS])
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(_NAMES | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)


@st.composite
def _bodies(draw: st.DrawFn) -> bytes:
    value = draw(st.sampled_from(_RIGHT) | st.dictionaries(_NAMES, _VALUES, max_size=4) | _VALUES)
    if isinstance(value, dict) and draw(st.booleans()):
        value = {**value, draw(_NAMES): draw(_VALUES)}
    body = bytearray(json.dumps(value).encode())
    match draw(st.sampled_from(("", "", "bytes", "deep"))):
        case "bytes":
            at = draw(st.integers(0, len(body)))
            body[at:at] = draw(st.binary(max_size=6))
        case "deep":
            depth = draw(st.sampled_from((10, 500, 990, 3000, 60_000)))
            body = bytearray(b'{"number":' + b"[" * depth + b"]" * depth + b"}")
    return bytes(body)


def _ask(body: bytes) -> None:
    text = body.decode("latin-1")
    ways: tuple[Callable[[], Any], ...] = (
        lambda: etsi014.order_within(etsi014.key_request_from_body(body), _STATUS),
        lambda: etsi014.key_ids_from_body(body),
        lambda: etsi014.order_within(etsi014.key_request_from_query([("number", text)]), _STATUS),
        lambda: etsi014.key_ids_from_query([("key_ID", text)]),
        lambda: etsi014.no_query([(text, text)]),
    )
    for way in ways:
        try:
            way()
        except InvalidInputError as error:
            details = error.details if isinstance(error, etsi014.BadRequestError) else ()
            assert len(etsi014.error_body(str(error), details)) < 10_000, (
                "the refusal is longer than the request"
            )


# ---- files -------------------------------------------------------------------------------------

_TLS = "{certificate: c.pem, private_key: k.pem, trust_anchor: a.pem}"
_FILES: tuple[tuple[type[Any], str], ...] = (
    (Scenario, GOOD),
    (
        Guard,
        """\
node: m
peers: [b, c]
qber_ceiling_ratio: 0.08
links: {b-m: {qber_ceiling_ratio: 0.05}}
trust_domains: {city: [m, b]}
saes:
  x: [{peer_sae: y, peer_node: b, require_qkd: true, require_pqc: false, allowed_trust_domains: [city]}]
transit: {for_nodes: [b, c], max_bps: 1000, max_bps_from: {b: 10}}
""",
    ),
    (
        AgentConfig,
        f"""\
node: m
state_dir: state
controller: {{address: "localhost:7000"}}
control_tls: {_TLS}
key_plane: {{listen: "[::1]:7001", tls: {_TLS}, signing: {_TLS}}}
kme: {{listen: "127.0.0.1:0", tls: {_TLS}}}
guard: guard.yaml
drivers: [{{driver: emulator, settings: {{address: "localhost:1"}}}}]
""",
    ),
    (ControllerConfig, f"state_dir: state\ntls: {_TLS}\nlinks: {{stale_after_seconds: 3}}\n"),
)
_SCRAPS = (
    b"\xff",
    b"\x00",
    b"? {a: b} : c\n",
    b"[" * 1000,
    b"2026-13-45",
    b"2026-02-30T00:00:00Z",
    b"!!python/object:os.system",
    b"!!int x",
    b"!!binary x",
    b"!!timestamp x",
    b"!!float x",
    b"&a [*a]",
    b"*a",
    b"<<: 3\n",
    b"0x_",
    b"0b2",
    b"1:99999999:3",
    b".nan",
    b"-.inf",
    b"{? [1]: 2}",
    b"\n- - -\n",
    b"1" * 5000,
    b"1e999",
    b"\xef\xbb\xbf",
    b"---\n---\n",
    b"\t",
)


@st.composite
def _files(draw: st.DrawFn) -> tuple[int, bytes]:
    which = draw(st.integers(0, len(_FILES) - 1))
    text = bytearray(_FILES[which][1].encode())
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        if draw(st.booleans()):
            # In the place of a value, where it counts.
            at = text.find(b": ", at) + 2
            end = min(
                (i for i in (text.find(mark, at) for mark in (b"\n", b",", b"}")) if i >= 0), default=at
            )
            text[at:end] = draw(st.sampled_from(_SCRAPS) | st.binary(max_size=4))
        else:
            text[at : at + draw(st.integers(0, 4))] = draw(st.sampled_from(_SCRAPS) | st.binary(max_size=4))
    return which, bytes(text)


def _read(file: tuple[int, bytes]) -> None:
    which, content = file
    model = _FILES[which][0]
    try:
        made = settings.from_bytes(content, model, source="file")
    except InvalidInputError as error:
        assert all("file" in violation.field for violation in error.violations)
        assert str(error)
    else:
        if isinstance(made, Guard):
            assert len(made.digest) == 32
            assert list(made.notes()) == list(made.notes())


TARGETS = (
    Target(
        "emulator calls",
        st.lists(_calls(), min_size=1, max_size=8),
        lambda calls: asyncio.run(_emulate(calls)),
        examples=60,
    ),
    Target("requests of applications", _bodies(), _ask, examples=300),
    Target("files", _files(), _read, examples=150),
)
