"""A write as its caller asked for it: once, however often it is sent. Pure."""

import hashlib
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from keyweave.common.errors import InvalidInputError
from keyweave.common.identity import Identity
from keyweave.controller.answers import KeptAnswer

Response = TypeVar("Response", bound=Message)


@dataclass(frozen=True, slots=True)
class Asked(Generic[Response]):
    """Who asked for which change, and of which type the answer is."""

    caller: Identity
    rpc: str
    # A UUID in lower case; empty where the caller gave none.
    request_id: str
    # Of all that was asked, but for the request ID.
    digest: bytes
    response: type[Response]

    @classmethod
    def of(cls, rpc: str, request: Any, caller: Identity, response: type[Response]) -> "Asked[Response]":
        """What `caller` asks by `request`."""
        bare = type(request)()
        bare.CopyFrom(request)
        bare.ClearField("request_id")
        content = bare.SerializeToString(deterministic=True)
        digest = hashlib.sha256(rpc.encode() + b"\0" + content).digest()
        return cls(caller, rpc, request.request_id.lower(), digest, response)

    def answer(self, **content: Any) -> Response:
        """The answer, of those parts of `content` that it has room for."""
        room = self.response.DESCRIPTOR.fields_by_name
        return self.response(**{name: value for name, value in content.items() if name in room})

    def kept(self, answer: Message) -> KeptAnswer | None:
        """The answer as it is kept; None where the request has no ID."""
        if not self.request_id:
            return None
        return KeptAnswer(self.caller.uri, self.request_id, self.digest, answer.SerializeToString())

    def answered(self, kept: KeptAnswer) -> Response:
        """The same answer again, or InvalidInputError if something else was asked under that ID."""
        if kept.digest != self.digest:
            raise InvalidInputError.of(
                "request_id",
                f"{self.request_id} was used for another request within the last 24 hours; take a new UUID "
                "for each change, and the same one only to send the same change again",
            )
        return self.response.FromString(kept.answer)
