"""What all streams of an agent have in common: whose they are, the hello, and a common end of their tasks."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from keyweave.common.errors import InvalidInputError, NotAllowedError, PreconditionError
from keyweave.common.identity import Plane, Role, peer_identity
from keyweave.common.names import NodeName
from keyweave.common.validation import check
from keyweave.v1 import agent_pb2

Request = TypeVar("Request", agent_pb2.TelemetryRequest, agent_pb2.PolicyRequest, agent_pb2.InspectRequest)


def node_of(context: Any) -> NodeName:
    """The node whose agent's certificate opened this grpc.aio servicer context."""
    return NodeName(peer_identity(context.auth_context(), Plane.CONTROL, frozenset({Role.AGENT})).name)


async def hello_of(
    requests: AsyncIterator[Request], stream: str, node: NodeName, known_node: Callable[[NodeName], bool]
) -> Request:
    """The first message of a stream: a hello, of the certificate's own node, which is one that exists."""
    first = await anext(requests, None)
    if first is None or first.WhichOneof("kind") != "hello":
        raise InvalidInputError.of("kind", f"the first message of {stream} stream must be a hello")
    check(first)
    if first.hello.node != node:
        raise NotAllowedError(
            f"the certificate is that of node '{node}'; it cannot speak for '{first.hello.node}'"
        )
    if not known_node(node):
        raise PreconditionError(
            f"node '{node}' does not exist here: create it with `keyweave node create {node}`"
        )
    return first


@asynccontextmanager
async def ending(*tasks: asyncio.Task[Any]) -> AsyncIterator[tuple[asyncio.Task[Any], ...]]:
    """Cancel the tasks at the end, wait until they are gone, and raise what one of them failed with."""
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result
