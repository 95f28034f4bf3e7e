"""Callers whose certificate is no longer good are refused, and their live calls end.

`grpc.aio.server(interceptors=[ErrorInterceptor(), StandingInterceptor(trust)])`. Handlers that are not
asyncio (a library's) are left alone.
"""

import asyncio
import inspect
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from hashlib import sha256
from time import time
from types import TracebackType
from typing import Any, Self

import grpc
from cryptography import x509

from keyweave.common.errors import NotAllowedError
from keyweave.common.grpc_errors import Handler, Interceptor, remade, shape
from keyweave.common.revocation import Standing, Trust

# Certificates of callers that are remembered, so that the calls of one connection cost one verification.
REMEMBERED = 4096
_NO_MORE = object()


class StandingInterceptor(Interceptor):
    """Asks `trust` before each call, and for as long as a call with a stream lasts."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._remembered: OrderedDict[bytes, Standing] = OrderedDict()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Wrap the handler of one call; None (no such method) stays None."""
        handler = await continuation(handler_call_details)
        return handler and self._asking(handler)

    def _asking(self, handler: Handler) -> Handler:
        behaviour = shape(handler)[1]
        wrapped: Callable[[Any, Any], Any]
        if inspect.isasyncgenfunction(behaviour):

            async def generate(request: Any, context: Any) -> AsyncIterator[Any]:
                async with (
                    WhileGood(self._trust, self._admit(context), everywhere=False) as good,
                    aclosing(behaviour(request, context)) as responses,
                ):
                    while True:
                        # Not while gRPC sends a response: it would end the call without a word, and the
                        # caller would wait for ever.
                        with good.here():
                            response = await anext(responses, _NO_MORE)
                        if response is _NO_MORE:
                            break
                        yield response

            wrapped = generate
        elif inspect.iscoroutinefunction(behaviour):

            async def answer(request: Any, context: Any) -> Any:
                async with WhileGood(self._trust, self._admit(context)):
                    return await behaviour(request, context)

            wrapped = answer
        else:
            return handler
        return remade(handler, wrapped)

    def _admit(self, context: Any) -> Standing:
        pem = peer_certificate(context.auth_context())
        name = sha256(pem).digest()
        standing = self._remembered.get(name)
        # What rests on an anchor is worked out anew once that anchor is gone.
        if standing is None or self._trust.refusal(standing, time()):
            standing = self._trust.standing(x509.load_pem_x509_certificate(pem))
            self._remembered[name] = standing
            if len(self._remembered) > REMEMBERED:
                self._remembered.popitem(last=False)
        reason = self._trust.refusal(standing, time())
        if reason:
            raise NotAllowedError(reason)
        return standing


class WhileGood:
    """Cancels what runs in it once a certificate is no longer good, and raises NotAllowedError instead.

    Unless `everywhere`, only what runs in `here` is cancelled, at the next time at the latest.
    """

    def __init__(self, trust: Trust, standing: Standing, *, everywhere: bool = True) -> None:
        self._here = everywhere
        self._trust = trust
        self._standing = standing
        self._reason = ""
        self._cancelling = 0
        self._cancelled = False
        self._watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to watch."""
        task = asyncio.current_task()
        assert task is not None
        self._cancelling = task.cancelling()
        self._watching = asyncio.create_task(self._watch(task), name="certificate-standing")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop watching; tell our own cancellation from others' as asyncio.timeout does."""
        task = asyncio.current_task()
        assert task is not None
        assert self._watching is not None
        self._watching.cancel()
        if not self._cancelled or kind is not asyncio.CancelledError:
            return
        if task.uncancel() <= self._cancelling:
            raise NotAllowedError(self._reason) from error

    @contextmanager
    def here(self) -> Iterator[None]:
        """What may be cancelled."""
        if self._reason:
            raise NotAllowedError(self._reason)
        self._here = True
        try:
            yield
        finally:
            self._here = False

    async def _watch(self, task: asyncio.Task[Any]) -> None:
        self._reason = await self._trust.until_refused(self._standing)
        if self._here:
            self._cancelled = True
            task.cancel()


def peer_certificate(auth_context: Mapping[str, Iterable[bytes]]) -> bytes:
    """The PEM certificate behind a connection; NotAllowedError without one."""
    pem = next(iter(auth_context.get("x509_pem_cert", ())), None)
    if pem is None:
        raise NotAllowedError("a client certificate is required")
    return pem
