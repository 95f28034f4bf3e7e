"""Bytes on the wire, and bytes under a hash, are those of the golden files."""

from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from keyweave.agent.keyplane.streams import wire
from tests.protocol import golden

STORED = golden.stored_messages()
ANEW = "if that is meant, run `python -m tests.protocol` and say so in the changelog"


def _name(entry: dict[str, Any]) -> str:
    name: str = entry["message"].removeprefix(f"{golden.PACKAGE}.")
    return f"{name}.{entry['kind']}" if "kind" in entry else name


def _empty(entry: dict[str, Any]) -> Message:
    message: Message = GetMessageClass(golden.message_types()[entry["message"]])()
    return message


@pytest.mark.parametrize("entry", STORED, ids=_name)
def test_a_message_is_encoded_to_its_golden_bytes(entry: dict[str, Any]) -> None:
    message = ParseDict(entry["fields"], _empty(entry))
    assert message.SerializeToString(deterministic=True).hex() == entry["hex"], ANEW


@pytest.mark.parametrize("entry", STORED, ids=_name)
def test_golden_bytes_are_decoded_to_the_message(entry: dict[str, Any]) -> None:
    message = _empty(entry)
    message.ParseFromString(bytes.fromhex(entry["hex"]))
    assert golden.as_json(message) == entry["fields"], ANEW
    assert message.SerializeToString(deterministic=True).hex() == entry["hex"], "no unknown field is left"


def test_every_message_and_every_kind_and_field_of_it_has_golden_bytes() -> None:
    stored = {_name(entry): entry["fields"] for entry in STORED}
    assert stored == {_name(entry): entry["fields"] for entry in golden.messages()}, ANEW


def test_every_frame_of_the_key_plane_is_among_them() -> None:
    kinds = {entry["kind"] for entry in STORED if entry["message"] == "keyweave.v1.Frame"}
    bodies = golden.message_types()["keyweave.v1.Frame"].oneofs_by_name["body"].fields
    assert kinds == {field.name for field in bodies}


@pytest.mark.parametrize("name", golden.DERIVATIONS)
def test_what_both_ends_hash_tag_or_mix_in_is_golden(name: str) -> None:
    assert golden.DERIVATIONS[name]() == golden.stored_derivation(name), ANEW


def test_a_golden_relay_opens_with_its_pool_bytes() -> None:
    stored = golden.stored_derivation("relay_header")
    relay = golden.sealed_relay()
    relay.ciphertext, relay.tag = bytes.fromhex(stored["ciphertext"]), bytes.fromhex(stored["tag"])
    opened = wire.open_sealed(relay, bytearray(golden.ONE_TIME))
    assert opened is not None
    assert bytes(opened) == golden.SEALED_SECRET
