"""What comes before every answer: who is calling, and whether the request keeps the rules of the protocol."""

from typing import Any

from google.protobuf.message import Message

from keyweave.common.errors import InvalidInputError
from keyweave.common.identity import Identity
from keyweave.common.validation import check, violations
from keyweave.controller.admin.asked import Asked, Response
from keyweave.controller.security import admit

# A grpc.aio servicer context; the generated stubs know only one that is synchronous as well.
Context = Any


def enter(rpc: str, request: Message, context: Context) -> Identity:
    """Who is calling comes first: a stranger learns nothing about what would be valid."""
    caller = admit(context, rpc)
    check(request)
    return caller


def ask(rpc: str, request: Message, context: Context, response: type[Response]) -> Asked[Response]:
    """A write that may be asked for."""
    return Asked.of(rpc, request, enter(rpc, request, context), response)


def ask_update(
    rpc: str, field: str, request: Any, context: Context, response: type[Response]
) -> Asked[Response]:
    """The same for an update, where only what the mask names counts; the rest need not even be filled in."""
    caller = admit(context, rpc)
    counts = {f"{field}.{name}" for name in ("name", "etag", *request.update_mask.paths)}
    found = [
        violation
        for violation in violations(request)
        if not violation.field.startswith(f"{field}.") or violation.field.partition("[")[0] in counts
    ]
    if found:
        raise InvalidInputError(found)
    return Asked.of(rpc, request, caller, response)
