"""Bytes that controllers, peers, devices and applications send to an agent."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from typing import Any, cast

import numpy as np

from keyweave.agent.drivers import etsi014_kme, etsi014_notes
from keyweave.agent.drivers.base import DriverUnavailableError
from keyweave.agent.drivers.emulator_memories import event_of
from keyweave.agent.drivers.mapping import Refusals
from keyweave.agent.drivers.mqtt_rows import Arrived, KeyBlocks, LinkRows
from keyweave.agent.drivers.mqtt_settings import KeySettings
from keyweave.agent.drivers.mqtt_settings import LinkSettings as MqttLink
from keyweave.agent.drivers.snmp_rows import UPTIME, Answer, Counted, Polled, PolledRows
from keyweave.agent.drivers.snmp_settings import LinkSettings as SnmpLink
from keyweave.agent.pairs import face as pairs_face
from keyweave.agent.pairs.keys.follower import Follower
from keyweave.agent.pairs.keys.leader import Leader
from keyweave.agent.policy import Policy, PolicyRefusedError, next_policy
from keyweave.common import validation
from keyweave.common.errors import InvalidInputError
from keyweave.common.names import LinkName, NodeName
from keyweave.common.policy_digest import policy_digest
from keyweave.controller.samples import decode
from keyweave.v1 import agent_pb2, emulator_pb2, pairkeys_pb2, pairs_pb2
from keyweave.v1 import keyplane_pb2 as pb
from tests.fuzz import faces, key_plane, uplink
from tests.fuzz.guided.entry import Entry, golden, parsed, parts, sequence
from tests.unit.test_mqtt_rows import DEVICE as MQTT_DEVICE
from tests.unit.test_mqtt_rows import STATE
from tests.unit.test_pair_keys import TERMS, Between
from tests.unit.test_pair_races import AB, BC, A, B, C, Node
from tests.unit.test_snmp_rows import BITS, QBER
from tests.unit.test_snmp_rows import DEVICE as SNMP_DEVICE

HERE = NodeName("m")
LINK = LinkName("a-b")
NOW = 1_700_000_000.0


# ---- policy --------------------------------------------------------------------------------------


@cache
def _in_force() -> Policy:
    rules = {rule.rule_id: rule for rule in uplink._RULES}
    return Policy(uplink.EPOCH, 1, policy_digest(rules.values()), rules)


def _policy(data: bytes) -> None:
    """As it came, and with the digest that its rules have: a controller that means ill can count too."""
    before = _in_force()
    for honest in (False, True):
        push = parsed(agent_pb2.PolicyResponse, data)
        if push is None:
            return
        if honest:
            push.version.epoch, push.version.version = uplink.EPOCH, 9
            push.delta.base_digest = before.digest if push.HasField("delta") else b""
            rules = dict(before.rules)
            if push.WhichOneof("kind") == "snapshot":
                rules = {rule.rule_id: rule for rule in push.snapshot.rules}
            elif push.WhichOneof("kind") == "delta":
                gone = set(push.delta.removed_rule_ids)
                rules = {name: rule for name, rule in rules.items() if name not in gone}
                rules |= {rule.rule_id: rule for rule in push.delta.upserts}
            push.version.digest = policy_digest(rules.values())
        try:
            taken = next_policy(HERE, before, uplink.EPOCH, push, uplink._guard())
        except PolicyRefusedError as error:
            assert error.rules, "refused without a reason"
            assert str(error)
        else:
            assert taken.epoch >= uplink.EPOCH
            assert not [v for rule in taken.rules.values() for v in validation.violations(rule)]


def _policy_seeds() -> Iterable[bytes]:
    yield uplink._SNAPSHOT.SerializeToString()
    yield uplink._DELTA.SerializeToString()
    yield from golden(agent_pb2.PolicyResponse)


# ---- peers ---------------------------------------------------------------------------------------


def _key_plane(data: bytes) -> None:
    """One message of a peer whose certificate is good: its replies answer what this end asks."""
    message = parsed(pb.SessionRequest, data)
    if message is None:
        return
    said = [frame for frame in message.frames if not frame.is_reply]
    answers = [frame for frame in message.frames if frame.is_reply]
    asyncio.run(key_plane._frames_of_a_peer(key_plane.Talk(said[:8], answers[:4])))


def _key_plane_seeds() -> Iterable[bytes]:
    frames = [*key_plane._frames(), *key_plane._answers()]
    for answer in key_plane._answers():
        answer.is_reply = True
    yield pb.SessionRequest(frames=key_plane._frames()[2:6:2]).SerializeToString()
    for frame in frames:
        yield pb.SessionRequest(frames=[frame]).SerializeToString()
    for each in golden(pb.Frame):
        yield pb.SessionRequest(frames=[pb.Frame.FromString(each)]).SerializeToString()


def _greetings(data: bytes) -> None:
    frames = [frame for each in parts(data) if (frame := parsed(pb.Frame, each)) is not None]
    asyncio.run(key_plane._greetings(frames[:4]))


def _greeting_seeds() -> Iterable[bytes]:
    hello = pb.Frame(hello=key_plane._HELLO).SerializeToString()
    proof = pb.Frame(proof=pb.SessionProof(signature=bytes(3309))).SerializeToString()
    return [sequence([hello]), sequence([hello, proof]), sequence([proof, hello])]


# ---- pairs ---------------------------------------------------------------------------------------


def _pairs(data: bytes) -> None:
    """A neighbour tells of pairs that are here: each half is begun and ended once whatever it says."""
    told = parsed(pairs_pb2.PairMessages, data)
    if told is None or len(told.messages) > 32:
        return
    node = Node(B, kind="ck")
    ids = [node.herald(link) for link in (AB, BC) for _ in range(2) if node.can_herald(link)]
    ids += list(node.engine.stock.pairs)
    told.stream, told.path_id = node.path.stream, node.path.path_id
    for number, message in enumerate(told.messages):
        _name_pairs(message, ids)
        one = pairs_pb2.PairMessages(stream=told.stream, path_id=told.path_id, messages=[message])
        node.engine.peer_told(A if number % 2 else C, one, node.moment)
        node.gather()
        node.passes(0.01)
    node.passes(10.0)
    register = node.engine.stock.register
    assert register is not None
    taken = [pair.memory for pair in node.engine.stock.pairs.values()]
    assert len(taken) == len(set(taken)), "a memory is in two pairs"
    for _, said in node.said:
        assert not validation.violations(said), "an answer that a peer would refuse"


def _name_pairs(message: Any, ids: list[bytes]) -> None:
    """One byte is a pair's number here: IDs are digests that no fuzzer guesses but a peer knows."""
    for _, body in message.ListFields():
        for field in body.DESCRIPTOR.fields:
            value = getattr(body, field.name)
            if field.name.endswith("pair_id") and len(value) == 1 and ids:
                setattr(body, field.name, ids[value[0] % len(ids)])


def _pair_seeds() -> Iterable[bytes]:
    for each in golden(pairs_pb2.PairMessages):
        yield each
        told = pairs_pb2.PairMessages.FromString(each)
        for message in told.messages:
            for _, body in message.ListFields():
                for field in body.DESCRIPTOR.fields:
                    if field.name.endswith("pair_id"):
                        setattr(body, field.name, b"\x01")
        yield told.SerializeToString()
    for kind in golden(pairs_pb2.PairMessage):
        message = pairs_pb2.PairMessage.FromString(kind)
        for _, body in message.ListFields():
            for field in body.DESCRIPTOR.fields:
                if field.name.endswith("pair_id"):
                    setattr(body, field.name, b"\x00")
        yield pairs_pb2.PairMessages(messages=[message, message]).SerializeToString()


@cache
def _discussion() -> tuple[bytes, ...]:
    """What both ends of a discussion that went well have said."""
    between = Between(0.97)
    between.measure(6000)
    return tuple(between.said)


def _pair_keys(data: bytes) -> None:
    """Both ends in the middle of a discussion hear something else; neither has a block that is not whole."""
    for number, end in enumerate((Leader(TERMS, 1), Follower(TERMS, 1))):
        random = np.random.default_rng(number)
        end.new_run("p")
        for pair in range(1, 200):
            end.measured("p", pair, cast("Any", random.integers(2)), int(random.integers(2)), pair * 0.005)
        first = end.poll(3.0)
        session = first.session if first is not None else bytes(16)
        for at, each in enumerate(parts(data)):
            message = parsed(pairkeys_pb2.PairKeyMessage, each)
            if message is None:
                return
            if message.session != b"another":
                message.session = session
            answer = end.receive(message, 3.0 + at * 0.1)
            if answer is not None:
                answer.SerializeToString()
            end.poll(3.05 + at * 0.1)
            if number == 0:
                session = end._session or session
        assert all(len(block) == TERMS.block_bytes for _, block in end.blocks())
        end.close()


def _pair_key_seeds() -> Iterable[bytes]:
    said = [each for each in _discussion() if len(each) < 1500]
    yield sequence(said[:12])
    yield sequence(said[1:14])
    for each in golden(pairkeys_pb2.PairKeyMessage):
        yield sequence([each])


# ---- devices -------------------------------------------------------------------------------------

_STATEFUL = {**MQTT_DEVICE, "status": STATE, "fault": {"pointer": "/fault"}}
_TIMED = {**MQTT_DEVICE, "time": {"pointer": "/time", "format": "iso8601"}}
_KEYS = {"topic": "keys", "number": "/n", "key": "/k", "block_bytes": 8}


def _mqtt(data: bytes) -> None:
    """A device's or a broker's messages: rows that a controller takes, and blocks in order."""
    for settings in (_STATEFUL, _TIMED):
        refusals = Refusals("mqtt", LINK)
        rows = LinkRows(LINK, MqttLink.model_validate(settings), refusals, lambda topic: topic)
        for number, payload in enumerate(parts(data)):
            for report in rows.take(Arrived(["qkd"], payload, bool(number % 5 == 4), NOW + number)):
                decode(report.samples, NodeName("a"))
    for encoding in ("base64", "hex"):
        blocks = KeyBlocks(
            KeySettings.model_validate({**_KEYS, "encoding": encoding}), 1, Refusals("mqtt", LINK)
        )
        last = 0
        for number, payload in enumerate(parts(data)):
            block = blocks.take(Arrived(["keys"], payload, False, NOW + number))
            assert block is None or (block.number > last and len(block.key) == 8)
            last = last if block is None else block.number


def _mqtt_seeds() -> Iterable[bytes]:
    row = json.dumps(
        {"qber": 2.5, "rate": 1000, "state": "running", "fault": "", "time": "2023-11-14T22:13:20Z"}
    )
    key = json.dumps({"n": 1, "k": "AAECAwQFBgc="})
    spelt = json.dumps({"n": 2, "k": "0001020304050607"})
    yield sequence([row.encode()] * 2)
    yield sequence([key.encode(), spelt.encode()])
    yield sequence([b'{"qber": 1e999, "rate": -1}', b'{"state": false}', b"[]", b"1e400"])


def _snmp(data: bytes) -> None:
    """What a device or somebody in its place answers to polls."""
    rows = PolledRows(LINK, SnmpLink.model_validate(SNMP_DEVICE), Refusals("snmp", LINK))
    for number, each in enumerate(parts(data)):
        kind, content = (each[0], each[1:]) if each else (0, b"")
        whole = int.from_bytes(content[:9], "big", signed=True)
        of: tuple[Polled, ...] = (
            content,
            whole,
            Counted(abs(whole) % 2**64, 64),
            Counted(abs(whole) % 2**32, 32),
        )
        polled = of[kind % 4] if kind < 200 else None
        answer = Answer(
            {UPTIME: number * 100, QBER: polled, BITS: of[kind // 4 % 4]}, NOW + number, 50.0 + number
        )
        report = rows.take(answer)
        if report is not None:
            decode(report.samples, NodeName("a"))


def _snmp_seeds() -> Iterable[bytes]:
    yield sequence([b"\x00250", b"\x01\x00\xfa", b"\x08\x10\x00", b"\x0c\xff"])
    yield sequence([b"\x001e999", b"\x00nan", b"\xf0"])


def _memory_events(data: bytes) -> None:
    told = parsed(emulator_pb2.OperateMemoriesResponse, data)
    for message in told.events if told else ():
        event_of(message)


_KME = cast("Any", type("Kme", (), {"kme": "https://kme.example"}))


def _vendor_kme(data: bytes) -> None:
    """Another vendor's KME answers: keys of the size that was asked for, or none."""
    with suppress(ValueError, RecursionError):
        answer = json.loads(data)
        etsi014_kme._refusal(_KME, 400, answer)
        with suppress(DriverUnavailableError):
            keys = etsi014_kme._keys_of(_KME, answer, 64)
            assert all(len(key.key) == 8 for key in keys)
        with suppress(ValueError):
            etsi014_kme.KmeStatus.model_validate(answer)
    note = etsi014_notes.decoded(data)
    assert note is None or etsi014_notes.decoded(etsi014_notes.encoded(note)) == note


def _vendor_seeds() -> Iterable[bytes]:
    key_id = "bc490419-7d60-487f-adc1-4ddcc177c139"
    status = {"key_size": 256, "stored_key_count": 1, "max_key_per_request": 8, "max_key_size": 512}
    said: tuple[Mapping[str, Any], ...] = (
        {"keys": [{"key_ID": key_id, "key": "AAECAwQFBgc="}]},
        {"message": "none", "details": [{"x": 1}]},
        {**status, "min_key_size": 64},
        {"kind": "ask"},
        {"kind": "ready", "next_block": 1, "key_size_bits": 256},
        {"kind": "offer", "batch": "0" * 32, "first_block": 1, "key_size_bits": 256, "key_ids": [key_id]},
        {"kind": "fetched", "batch": "0" * 32, "first_block": 1, "got": [0, 1]},
    )
    return [json.dumps(each).encode() for each in said]


# ---- applications --------------------------------------------------------------------------------


def _applications(data: bytes) -> None:
    """ETSI GS QKD 014 bodies and queries, and the bodies of the pairs' face."""
    faces._ask(data)
    with suppress(InvalidInputError):
        pair_id, _ = pairs_face._what_to_measure(data)
        assert len(pair_id) == 16


def _application_seeds() -> Iterable[bytes]:
    yield from (json.dumps(each).encode() for each in faces._RIGHT)
    yield json.dumps({"pair_ID": "00" * 16, "basis": "Z"}).encode()
    yield b"3"
    yield b"bc490419-7d60-487f-adc1-4ddcc177c139"


ENTRIES = (
    Entry("policy-pushes", _policy, _policy_seeds),
    Entry("key-plane-frames", _key_plane, _key_plane_seeds, quick=25),
    Entry("key-plane-greetings", _greetings, _greeting_seeds, quick=15, max_bytes=16384),
    Entry("pair-messages", _pairs, _pair_seeds),
    Entry("pair-keys", _pair_keys, _pair_key_seeds, quick=60),
    Entry("mqtt-messages", _mqtt, _mqtt_seeds),
    Entry("snmp-answers", _snmp, _snmp_seeds),
    Entry("memory-events", _memory_events, lambda: golden(emulator_pb2.OperateMemoriesResponse)),
    Entry("vendor-kme", _vendor_kme, _vendor_seeds),
    Entry("applications", _applications, _application_seeds),
)
