"""What a controller that stands by answers: where the leader is, to those who may know.

It answers nothing itself and forwards nothing, so nobody's call is ever made under another one's name:
callers dial the leader with their own certificates, and know it by its.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from keyweave.common.errors import NotLeaderError
from keyweave.common.grpc_errors import Handler, Interceptor, remade
from keyweave.controller.security import admit


class RedirectInterceptor(Interceptor):
    """Refuses every call of these services, once its caller is admitted."""

    def __init__(self, services: frozenset[str], refusal: Callable[[], NotLeaderError]) -> None:
        self._services = services
        self._refusal = refusal

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Replace the handler of one call; None (no such method) stays None."""
        handler = await continuation(handler_call_details)
        service, _, rpc = handler_call_details.method.removeprefix("/").partition("/")
        if handler is None or service not in self._services:
            return handler

        async def refer(_request: Any, context: Any) -> None:
            admit(context, rpc)
            raise self._refusal()

        return remade(handler, refer)
