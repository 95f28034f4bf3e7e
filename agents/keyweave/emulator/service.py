"""The emulator's gRPC face: agents read their own link ends, operators bring faults about."""

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import Message

from keyweave.common import log
from keyweave.common.errors import NotAllowedError, NotFoundError
from keyweave.common.identity import Plane, Role, peer_identity
from keyweave.common.names import LinkName, NodeName
from keyweave.common.validation import check
from keyweave.emulator.links import EmulatedLink, OpticalPlane
from keyweave.v1 import emulator_pb2 as pb
from keyweave.v1 import emulator_pb2_grpc

if TYPE_CHECKING:  # generic in grpc's stubs only
    _Context = grpc.aio.ServicerContext[Any, Any]
else:
    _Context = grpc.aio.ServicerContext


class EmulatorService(emulator_pb2_grpc.EmulatorServiceServicer):
    """See emulator.proto. Errors are answered by `grpc_errors.ErrorInterceptor`."""

    def __init__(self, plane: OpticalPlane) -> None:
        self._links = plane.links

    async def ListLinkEnds(  # noqa: N802  # gRPC's name
        self, request: pb.ListLinkEndsRequest, context: _Context
    ) -> pb.ListLinkEndsResponse:
        """The link ends at the caller's node."""
        node = _agent_node(request, context)
        return pb.ListLinkEndsResponse(
            link_ends=[
                pb.EmulatedLinkEnd(
                    link=link.name,
                    peer_node=link.spec.ends[1 - end],
                    model=link.spec.model,
                    block_bytes=link.spec.block_bytes,
                )
                for link in self._links.values()
                if (end := link.end_of(node)) is not None
            ]
        )

    async def WatchLinkEnd(  # noqa: N802
        self, request: pb.WatchLinkEndRequest, context: _Context
    ) -> AsyncIterator[pb.WatchLinkEndResponse]:
        """Measurements of one link end."""
        link, end = self._own_end(_agent_node(request, context), request.link)
        async with aclosing(link.watch(end)) as responses:
            async for response in responses:
                yield response

    async def TakeBlocks(  # noqa: N802
        self, request: pb.TakeBlocksRequest, context: _Context
    ) -> AsyncIterator[pb.TakeBlocksResponse]:
        """Key blocks of one link end."""
        link, end = self._own_end(_agent_node(request, context), request.link)
        async with aclosing(link.take_blocks(end, request.first_block)) as responses:
            async for response in responses:
                yield response

    async def InjectFault(  # noqa: N802
        self, request: pb.InjectFaultRequest, context: _Context
    ) -> pb.InjectFaultResponse:
        """Bring a fault about."""
        operator = _operator(request, context)
        link = self._link(request.fault.link)
        now = time.time_ns()
        fault = link.faults.inject(request.fault.kind, request.fault.magnitude, now)
        link.alarm(now)
        log.get().info(
            "fault_injected",
            link=link.name,
            kind=pb.FaultKind.Name(fault.kind),
            magnitude=fault.magnitude,
            operator=operator,
        )
        return pb.InjectFaultResponse(fault=fault)

    async def RestoreLink(  # noqa: N802
        self, request: pb.RestoreLinkRequest, context: _Context
    ) -> pb.RestoreLinkResponse:
        """End all faults of a link."""
        operator = _operator(request, context)
        link = self._link(request.link)
        ended = link.faults.end_all()
        log.get().info("link_restored", link=link.name, faults_ended=len(ended), operator=operator)
        return pb.RestoreLinkResponse(ended=ended, time_unix_nanos=time.time_ns())

    async def ListFaults(  # noqa: N802
        self, request: pb.ListFaultsRequest, context: _Context
    ) -> pb.ListFaultsResponse:
        """The faults in force."""
        _operator(request, context)
        return pb.ListFaultsResponse(
            faults=[fault for link in self._links.values() for fault in link.faults.in_force()]
        )

    def _link(self, name: str) -> EmulatedLink:
        link = self._links.get(LinkName(name))
        if link is None:
            raise NotFoundError(f"there is no link '{name}'; links are {_listed(self._links)}")
        return link

    def _own_end(self, node: NodeName, name: str) -> tuple[EmulatedLink, int]:
        """The link and which end of it is the caller's. An agent learns of no link but its own."""
        link = self._links.get(LinkName(name))
        if link is None:
            own = [other.name for other in self._links.values() if other.end_of(node) is not None]
            raise NotFoundError(f"there is no link '{name}'; links at '{node}' are {_listed(own)}")
        end = link.end_of(node)
        if end is None:
            raise NotAllowedError(f"link '{name}' does not end at '{node}', the node of this certificate")
        return link, end


def _agent_node(request: Message, context: _Context) -> NodeName:
    """The node that the calling agent's certificate names, once its request is in order."""
    identity = peer_identity(context.auth_context(), Plane.CONTROL, frozenset({Role.AGENT}))
    check(request)
    return NodeName(identity.name)


def _operator(request: Message, context: _Context) -> str:
    """The calling operator's name, once its request is in order."""
    identity = peer_identity(context.auth_context(), Plane.CONTROL, frozenset({Role.OPERATOR}))
    check(request)
    return identity.name


def _listed(names: Iterable[LinkName]) -> str:
    return ", ".join(sorted(names)) or "none"
