"""What the two ends of an `etsi014` link tell each other: numbers and key IDs, never key.

The end whose node's name sorts first draws keys, the other one fetches them:

    ask      →                 are you there, and from which block on?
             ←  ready          from this block on, keys of this size
    offer    →                 these keys of the vendor's are the blocks from this number on
             ←  fetched        these of them I have, as blocks from this number on

An offer is repeated until it is answered, and answered alike however often it comes. Keys that could not be
fetched get no number.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

MAX_KEYS = 128
BlockNumber = Annotated[int, Field(ge=1, lt=2**62)]
KeySize = Annotated[int, Field(ge=64, le=65536, multiple_of=16)]
BatchId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
KeyId = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")]


class _Note(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Ask(_Note):
    """The drawing end begins, or has heard nothing for long."""

    kind: Literal["ask"] = "ask"


class Ready(_Note):
    """The fetching end is there."""

    kind: Literal["ready"] = "ready"
    next_block: BlockNumber
    key_size_bits: KeySize


class Offer(_Note):
    """Keys that were drawn."""

    kind: Literal["offer"] = "offer"
    batch: BatchId
    first_block: BlockNumber
    key_size_bits: KeySize
    key_ids: Annotated[list[KeyId], Field(min_length=1, max_length=MAX_KEYS)]


class Fetched(_Note):
    """What became of an offer: the offered keys at these places are blocks, one after the other."""

    kind: Literal["fetched"] = "fetched"
    batch: BatchId
    first_block: BlockNumber
    got: Annotated[list[Annotated[int, Field(ge=0, lt=MAX_KEYS)]], Field(max_length=MAX_KEYS)]


Note = Ask | Ready | Offer | Fetched
_NOTE: TypeAdapter[Note] = TypeAdapter(Annotated[Note, Field(discriminator="kind")])


def encoded(note: Note) -> bytes:
    """A note for the wire."""
    return note.model_dump_json().encode()


def decoded(message: bytes) -> Note | None:
    """A note from the wire; None where it is none."""
    try:
        return _NOTE.validate_json(message)
    except ValidationError:
        return None
