"""Golden files: for every message the bytes it has on the wire, and for every digest what it is taken over.

After a deliberate change, `python -m tests.protocol` writes the files anew and the diff shows what moved.
"""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from keyweave.agent import crypto
from keyweave.agent.keyplane.sessions.handshake import session_statement
from keyweave.agent.keyplane.streams import combine, kem, wire
from keyweave.agent.keyplane.streams.combine import BatchContext
from keyweave.common.names import PathId, SaeId, StreamName
from keyweave.common.policy_digest import policy_digest, rule_digest
from keyweave.v1 import admin_pb2, agent_pb2, emulator_pb2, history_pb2, pairkeys_pb2, pairs_pb2, types_pb2
from keyweave.v1 import keyplane_pb2 as pb

DIRECTORY = Path(__file__).parent / "golden"
PACKAGE = "keyweave.v1"
FILES: tuple[FileDescriptor, ...] = tuple(
    module.DESCRIPTOR
    for module in (types_pb2, pairs_pb2, agent_pb2, pb, pairkeys_pb2, emulator_pb2, history_pb2, admin_pb2)
)
_NUMBERS = {
    FieldDescriptor.CPPTYPE_INT32: 3,
    FieldDescriptor.CPPTYPE_INT64: 1_287_000_000_000_000_001,
    FieldDescriptor.CPPTYPE_UINT32: 300,
    FieldDescriptor.CPPTYPE_UINT64: 2**40 + 1,
    FieldDescriptor.CPPTYPE_DOUBLE: 0.11,
    FieldDescriptor.CPPTYPE_FLOAT: 0.25,
    FieldDescriptor.CPPTYPE_BOOL: True,
}


def message_types() -> dict[str, Descriptor]:
    """Every message of the protocol by its full name."""
    return {
        descriptor.full_name: descriptor
        for file in FILES
        for descriptor in file.message_types_by_name.values()
    }


def variants(descriptor: Descriptor) -> Iterator[tuple[str, Message]]:
    """A message with every field set, once for every kind of its oneof."""
    choices = [
        field for oneof in descriptor.oneofs if not _is_optional(oneof.fields) for field in oneof.fields
    ]
    if not choices:
        yield "", _filled(descriptor, None)
    for choice in choices:
        yield choice.name, _filled(descriptor, choice)


def _filled(descriptor: Descriptor, choice: FieldDescriptor | None) -> Message:
    message: Message = GetMessageClass(descriptor)()
    for field in descriptor.fields:
        oneof = field.containing_oneof
        if oneof is None or _is_optional(oneof.fields) or field.name == (choice or oneof.fields[0]).name:
            _fill(message, field)
    return message


def _fill(message: Message, field: FieldDescriptor) -> None:
    if field.message_type is not None:
        # Any (in a google.rpc.Status) may hold any message there is: its own form is not our protocol.
        if field.message_type.full_name == "google.protobuf.Any":
            return
        target = getattr(message, field.name)
        if field.message_type.GetOptions().map_entry:
            key, value = field.message_type.fields
            target[_scalar(key)] = _scalar(value)
        elif field.is_repeated:
            target.add().CopyFrom(_filled(field.message_type, None))
        else:
            target.SetInParent()
            target.CopyFrom(_filled(field.message_type, None))
        return
    value = _scalar(field)
    if field.is_repeated:
        getattr(message, field.name).append(value)
    else:
        setattr(message, field.name, value)


def _scalar(field: FieldDescriptor) -> Any:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return bytes(range(16))
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return field.name.replace("_", "-")
    if field.enum_type is not None:
        return field.enum_type.values[1].number
    return _NUMBERS[field.cpp_type]


def _is_optional(fields: Sequence[FieldDescriptor]) -> bool:
    """Whether a oneof is only what proto3 makes of the word `optional`."""
    return len(fields) == 1


def as_json(message: Message) -> dict[str, Any]:
    """A message for people, with the field names of the .proto files."""
    as_dict: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return as_dict


def messages() -> list[dict[str, Any]]:
    """Every message of the protocol."""
    return [
        {
            "message": name,
            **({"kind": kind} if kind else {}),
            "fields": as_json(message),
            "hex": message.SerializeToString(deterministic=True).hex(),
        }
        for name, descriptor in sorted(message_types().items())
        for kind, message in variants(descriptor)
    ]


# ---- what is hashed, tagged or mixed in, beside protobuf ---------------------------------------

SEALED_SECRET = bytes(range(32))
ONE_TIME = bytes(range(100, 164))


def sealed_relay() -> pb.Relay:
    """A share on one hop, with the pool bytes 100, 101, ... 163: tag key, then pad."""
    relay = pb.Relay(
        stream="bank",
        path_id="bank:1",
        reverse=True,
        batch_id=b"batch-0123456789",
        share=1,
        shares=2,
        link="a-b",
        pool_id=b"pool-0123456789a",
        first_lane=True,
        offset=2**33 + 5,
    )
    wire.seal(relay, SEALED_SECRET, bytearray(ONE_TIME))
    return relay


def offer_context() -> BatchContext:
    """What a batch of two keys is bound to."""
    return BatchContext(
        stream=StreamName("bank"),
        batch_id=b"batch-0123456789",
        key_ids=(uuid.UUID(int=1).bytes, uuid.UUID(int=2).bytes),
        key_size_bits=320,
        master_sae=SaeId("sae-a"),
        slave_sae=SaeId("sae-ä"),
        path_ids=(PathId("bank:1"), PathId("bank:2")),
        trusted_nodes=("b", "d"),
        vendor_domains=("acme-metro",),
        emulated=True,
        kem_id=b"kem--0123456789a",
        kem_step=3,
        kem_transcript=crypto.digest(b"transcript"),
    )


def policy_rules() -> list[agent_pb2.Rule]:
    """A policy of one rule of every kind."""
    rules = []
    for kind, message in variants(message_types()["keyweave.v1.Rule"]):
        assert isinstance(message, agent_pb2.Rule)
        message.rule_id = f"{kind}/golden"
        rules.append(message)
    return rules


def _relay_header() -> dict[str, str]:
    relay = sealed_relay()
    return {
        "header": wire.header(relay, len(SEALED_SECRET)).hex(),
        "ciphertext": relay.ciphertext.hex(),
        "tag": relay.tag.hex(),
    }


def _offer_context() -> dict[str, str]:
    context = offer_context()
    keys = combine.derive_keys(context, crypto.digest(b"kem"), bytes(range(80)))
    tags = combine.tags(context, keys)
    return {
        "context": context.encoded.hex(),
        "key_1": keys[0].hex(),
        "key_2": keys[1].hex(),
        "near_tag": tags.near.hex(),
        "far_tag": tags.far.hex(),
    }


def _ratchet() -> dict[str, str]:
    offer = pb.KemOffer(
        stream="bank", kem_id=b"kem--0123456789a", parameter_set=768, encapsulation_key=b"encapsulation key"
    )
    offer.signature = b"signature on the offer"
    nodes = (b"tokyo", b"incarnation-here", b"osaka", b"incarnation-afar")
    statement = kem.answer_statement(offer, b"ciphertext", nodes)
    transcript = kem.transcript_of(statement, pb.KemAnswer(signature=b"signature on the answer"))
    ratchet = kem.Ratchet(offer.kem_id, crypto.digest(b"shared secret"), transcript, now=0.0)
    return {
        "answer_statement": statement.hex(),
        "transcript": transcript.hex(),
        **{f"batch_secret_{step}": ratchet.advance().secret.hex() for step in (1, 2, 3)},
    }


def _session() -> dict[str, str]:
    dialler, dialled = (
        pb.SessionHello(
            node=node,
            incarnation=node.encode().ljust(16, b"-"),
            signing_certificate=f"certificate of {node}".encode(),
            challenge=crypto.digest(node.encode()),
        )
        for node in ("osaka", "tokyo")
    )
    return {"statement": session_statement(crypto.digest(b"certificate"), dialler, dialled).hex()}


def _policy_digest() -> dict[str, str]:
    rules = policy_rules()
    return {
        "policy": policy_digest(rules).hex(),
        "no_rules": policy_digest([]).hex(),
        **{rule.rule_id: rule_digest(rule).hex() for rule in rules},
    }


DERIVATIONS: Mapping[str, Callable[[], dict[str, str]]] = {
    "relay_header": _relay_header,
    "offer_context": _offer_context,
    "ml_kem_ratchet": _ratchet,
    "session_proof": _session,
    "policy_digest": _policy_digest,
}


def stored_messages() -> list[dict[str, Any]]:
    """The golden messages on disk."""
    return [entry for file in FILES for entry in json.loads(_messages_file(file).read_text("utf-8"))]


def stored_derivation(name: str) -> dict[str, str]:
    """One golden derivation on disk."""
    stored: dict[str, str] = json.loads((DIRECTORY / f"{name}.json").read_text("utf-8"))
    return stored


def write() -> None:
    """Write all golden files anew."""
    DIRECTORY.mkdir(exist_ok=True)
    by_name = messages()
    for file in FILES:
        names = {descriptor.full_name for descriptor in file.message_types_by_name.values()}
        _write(_messages_file(file), [entry for entry in by_name if entry["message"] in names])
    for name, derive in DERIVATIONS.items():
        _write(DIRECTORY / f"{name}.json", derive())


def _messages_file(file: FileDescriptor) -> Path:
    return DIRECTORY / f"{Path(file.name).stem}.json"


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
