"""How much one caller may ask of a gRPC server: calls a second, and calls at once.

`grpc.aio.server(interceptors=[ErrorInterceptor(), LimitInterceptor(limit)])`: whoever asks too often is told
RESOURCE_EXHAUSTED, and when to come back; others are served meanwhile.
"""

import inspect
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

import grpc

from keyweave.common.errors import TooManyError
from keyweave.common.grpc_errors import Handler, Interceptor, remade, shape
from keyweave.common.rate_limit import RateLimit

# Calls of one caller at once. An agent has three with its controller, and one or two for each of its links
# with an emulator; an operator's tools a stream each.
CALLS_OF_ONE = 1024


class LimitInterceptor(Interceptor):
    """Counts calls by the identity that a certificate states, whatever connection they come over."""

    def __init__(
        self, limit: RateLimit, calls_of_one: int = CALLS_OF_ONE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._calls_of_one = calls_of_one
        self._clock = clock
        self._in_hand: Counter[str] = Counter()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Wrap the handler of one call; None (no such method) stays None."""
        handler = await continuation(handler_call_details)
        return handler and self._limited(handler)

    def _limited(self, handler: Handler) -> Handler:
        behaviour = shape(handler)[1]
        wrapped: Callable[[Any, Any], Any]
        if inspect.isasyncgenfunction(behaviour):

            async def generate(request: Any, context: Any) -> AsyncIterator[Any]:
                with self._place(context):
                    async with aclosing(behaviour(request, context)) as responses:
                        async for response in responses:
                            yield response

            wrapped = generate
        elif inspect.iscoroutinefunction(behaviour):

            async def answer(request: Any, context: Any) -> Any:
                with self._place(context):
                    return await behaviour(request, context)

            wrapped = answer
        else:  # a synchronous handler of a library's (it runs in a thread)
            return handler
        return remade(handler, wrapped)

    @contextmanager
    def _place(self, context: Any) -> Iterator[None]:
        caller = _caller(context)
        wait = self._limit.wait(caller, self._clock())
        if wait:
            raise TooManyError(f"'{caller}' calls too often; come back in {wait:.3f} s", wait)
        if self._in_hand[caller] >= self._calls_of_one:
            self._limit.refused_total += 1
            raise TooManyError(f"'{caller}' has {self._calls_of_one} calls at once; end some first", 1.0)
        self._in_hand[caller] += 1
        try:
            yield
        finally:
            self._in_hand[caller] -= 1
            if not self._in_hand[caller]:
                del self._in_hand[caller]


def _caller(context: Any) -> str:
    """The URI of the certificate; the address where there is none."""
    uri = next(iter(context.auth_context().get("peer_uri", ())), None)
    # Of an address without its port: a flood may come over many connections.
    return uri.decode(errors="replace") if uri is not None else str(context.peer()).rpartition(":")[0]
