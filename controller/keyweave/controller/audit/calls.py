"""Operators' calls, for the audit log: who asked for what, and how it ended, refusals included.

`grpc.aio.server(interceptors=[ErrorInterceptor(), AuditInterceptor(...), StandingInterceptor(trust)])`: what
a certificate that is no longer good asks for is refused behind this one, and so is in the log.
"""

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc import code_pb2

from keyweave.common.errors import KeyweaveError
from keyweave.common.grpc_errors import Handler, Interceptor, remade, shape
from keyweave.common.identity import SCHEME, Role
from keyweave.controller.audit.chain import Entry, EntryKind, digest_of
from keyweave.controller.audit.log import AuditLog, Call, current_call
from keyweave.controller.security import ROLES

_SERVICE = "/keyweave.v1.AdminService/"
_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")
_NAME = re.compile(r"[A-Z][a-z]+([A-Z]\w*)")
# Longest reason that an entry repeats.
REASON_CHARACTERS = 500


def is_audited(rpc: str) -> bool:
    """Whether a call changes something, or shows what a viewer may not see."""
    return Role.VIEWER not in ROLES.get(rpc, frozenset())


class AuditInterceptor(Interceptor):
    """Has an entry for every audited call of the admin API, whatever becomes of it.

    A call that has succeeded is answered only once its entry is on disk.
    """

    def __init__(self, audit: AuditLog, now: Callable[[], float]) -> None:
        self._audit = audit
        self._now = now

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Wrap the handler of an audited call."""
        handler = await continuation(handler_call_details)
        method: str = handler_call_details.method
        rpc = method.removeprefix(_SERVICE)
        if handler is None or not method.startswith(_SERVICE) or not is_audited(rpc):
            return handler
        behaviour = shape(handler)[1]
        # What is audited answers once, or writes; a generator would end without our seeing why.
        assert inspect.iscoroutinefunction(behaviour), method

        async def answer(request: Any, context: Any) -> Any:
            call = Call(_entry(rpc, request, context, self._now()))
            with self._refusals(call), _current(call):
                answered = await behaviour(request, context)
                if not call.is_chained and not getattr(request, "validate_only", False):
                    await self._audit.flush()
                return answered

        return remade(handler, answer)

    @contextmanager
    def _refusals(self, call: Call) -> Iterator[None]:
        """Note a call that ends with an error, unless what it asked for was done all the same."""
        try:
            yield
        except KeyweaveError as error:
            self._refused(call, code_pb2.Code.Name(error.code).lower(), str(error))
            raise
        except asyncio.CancelledError:
            # What has begun is done all the same, and then has an entry of its own.
            self._refused(call, "cancelled", "the caller hung up before the answer")
            raise
        except Exception as error:
            self._refused(call, "internal", type(error).__name__)
            raise

    def _refused(self, call: Call, outcome: str, reason: str) -> None:
        if call.is_chained:
            return
        entry = call.entry
        details = {**entry.details, "reason": reason[:REASON_CHARACTERS]}
        # Nothing was changed, whatever the transaction had begun to say.
        details.pop("changed", None)
        self._audit.note_refusal(
            Entry(
                entry.kind, entry.time_unix_seconds, entry.actor, entry.action, entry.subject, outcome,
                details=details,
            )
        )  # fmt: skip


@contextmanager
def _current(call: Call) -> Iterator[None]:
    token = current_call.set(call)
    try:
        yield
    finally:
        current_call.reset(token)


def _entry(rpc: str, request: Message, context: Any, now: float) -> Entry:
    details = {"from": _host(context.peer()), "request_digest": _request_digest(request)}
    if getattr(request, "validate_only", False):
        details["validate_only"] = "true"
    actor = _actor(context.auth_context().get("peer_uri", ()))
    return Entry(EntryKind.ADMIN, now, actor, rpc, _subject(rpc, request), "ok", details=details)


def _actor(uris: Iterable[bytes]) -> str:
    ours = [uri.decode(errors="replace") for uri in uris if uri.startswith(SCHEME.encode())]
    return " ".join(ours)[:REASON_CHARACTERS] or "unknown"


def _host(peer: str) -> str:
    """`ipv4:10.0.0.1:4711` without the port, which changes with every connection."""
    return peer.rpartition(":")[0].partition(":")[2]


def _request_digest(request: Message) -> str:
    # A message that cannot be written as JSON is refused, and its bytes tell nobody anything.
    with suppress(json_format.Error, ValueError):
        return digest_of(json_format.MessageToDict(request, preserving_proto_field_name=True))
    return ""


def _subject(rpc: str, request: Message) -> str:
    """What the call is about: `stream/s`; empty where it names nothing."""
    named = _NAME.fullmatch(rpc)
    noun = _CAPITAL.sub("_", named[1] if named is not None else rpc).lower()
    name = getattr(request, "name", "")
    for field, value in request.ListFields():
        if not name and field.name == noun:
            name = value if isinstance(value, str) else getattr(value, "name", "")
    if not name:
        name = getattr(request, "stream", "") if isinstance(getattr(request, "stream", ""), str) else ""
        noun = "stream" if name else noun
    return f"{noun}/{str(name)[:128]}" if name else ""
