"""The emulator's gRPC face: agents read their own link ends, operators bring faults about."""

import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import Message

from keyweave.common import log
from keyweave.common.errors import InvalidInputError, NotAllowedError, NotFoundError, PreconditionError
from keyweave.common.identity import Plane, Role, peer_identity
from keyweave.common.names import LinkName, NodeName
from keyweave.common.near import instead_of
from keyweave.common.validation import check
from keyweave.emulator.fault_book import Begun, FaultBook
from keyweave.emulator.faults import KINDS, OF_NODES, Fault, unfit_for_pairs
from keyweave.emulator.links import EmulatedLink, check_powered
from keyweave.emulator.memories.desk import MemoryDesk
from keyweave.emulator.plane import OpticalPlane
from keyweave.emulator.timeline import CONTROLLER
from keyweave.v1 import emulator_pb2 as pb
from keyweave.v1 import emulator_pb2_grpc

if TYPE_CHECKING:  # generic in grpc's stubs only
    _Context = grpc.aio.ServicerContext[Any, Any]
else:
    _Context = grpc.aio.ServicerContext


class EmulatorService(emulator_pb2_grpc.EmulatorServiceServicer):
    """See emulator.proto. Errors are answered by `grpc_errors.ErrorInterceptor`."""

    def __init__(self, plane: OpticalPlane, desk: MemoryDesk, *, has_network: bool = False) -> None:
        self._has_network = has_network
        self._desk = desk
        self._plane = plane
        self._links = plane.links

    async def ListLinkEnds(  # noqa: N802  # gRPC's name
        self, request: pb.ListLinkEndsRequest, context: _Context
    ) -> pb.ListLinkEndsResponse:
        """The link ends at the caller's node."""
        node = _agent_node(request, context)
        book = self._plane.nodes.get(node)
        if book is not None:
            check_powered(book, node)
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

    async def CalibrateLinkEnd(  # noqa: N802
        self, request: pb.CalibrateLinkEndRequest, context: _Context
    ) -> pb.CalibrateLinkEndResponse:
        """Have a link calibrate."""
        node = _agent_node(request, context)
        link, _ = self._own_end(node, request.link)
        link.calibrate()
        log.get().info("calibration_asked", link=link.name, node=node)
        return pb.CalibrateLinkEndResponse()

    async def DescribeMemories(  # noqa: N802
        self, request: pb.DescribeMemoriesRequest, context: _Context
    ) -> pb.DescribeMemoriesResponse:
        """The memories of the caller's node."""
        return self._desk.describe(_agent_node(request, context))

    async def OperateMemories(  # noqa: N802
        self, request_iterator: AsyncIterator[pb.OperateMemoriesRequest], context: _Context
    ) -> AsyncIterator[pb.OperateMemoriesResponse]:
        """Work the memories of the caller's node."""
        node = _agent_node(pb.DescribeMemoriesRequest(), context)
        async with aclosing(self._desk.operate(node, request_iterator)) as responses:
            async for response in responses:
                yield response

    async def InjectFault(  # noqa: N802
        self, request: pb.InjectFaultRequest, context: _Context
    ) -> pb.InjectFaultResponse:
        """Bring a fault about."""
        operator = _operator(request, context)
        target = self._target(request.fault)
        fault = _asked_for(request.fault, target.book)
        now = time.time_ns()
        target.book.inject(fault, now)
        if target.node and fault.kind == pb.FAULT_KIND_NODE_LOSS:
            self._plane.lose_power(target.node)
        for link in target.links:
            link.alarm(now)
        self._desk.look()
        answer = target.message(Begun(fault, now))
        log.get().info(
            "fault_injected",
            **target.names,
            kind=KINDS[fault.kind].word,
            magnitude=fault.magnitude,
            operator=operator,
        )
        return pb.InjectFaultResponse(fault=answer)

    async def RestoreLink(  # noqa: N802
        self, request: pb.RestoreLinkRequest, context: _Context
    ) -> pb.RestoreLinkResponse:
        """End all faults of a link."""
        operator = _operator(request, context)
        ended = self._restore(self._target_link(request.link), operator)
        return pb.RestoreLinkResponse(ended=ended, time_unix_nanos=time.time_ns())

    async def RestoreNode(  # noqa: N802
        self, request: pb.RestoreNodeRequest, context: _Context
    ) -> pb.RestoreNodeResponse:
        """End all faults of a node."""
        operator = _operator(request, context)
        ended = self._restore(self._node(request.node), operator)
        return pb.RestoreNodeResponse(ended=ended, time_unix_nanos=time.time_ns())

    async def ListFaults(  # noqa: N802
        self, request: pb.ListFaultsRequest, context: _Context
    ) -> pb.ListFaultsResponse:
        """The faults in force."""
        _operator(request, context)
        targets = [
            *map(_of_link, self._links.values()),
            *(_Target(book, link=name) for name, book in self._plane.pair_links.items()),
            *(_Target(book, node=name) for name, book in self._plane.nodes.items()),
        ]
        return pb.ListFaultsResponse(
            faults=[target.message(begun) for target in targets for begun in target.book.in_force()]
        )

    def _target(self, fault: pb.Fault) -> "_Target":
        """What a fault is asked for; InvalidInputError where its kind is not of that."""
        if bool(fault.link) == bool(fault.node):
            raise InvalidInputError.of("fault.link", "name either a link or a node")
        if fault.node:
            if fault.kind not in OF_NODES:
                word = KINDS[fault.kind].word
                raise InvalidInputError.of("fault.node", f"{word} is a fault of a link; name that instead")
            target = self._node(fault.node)
            self._check_network(fault)
            if KINDS[fault.kind].needs_memories and not self._desk.has_memories(NodeName(fault.node)):
                raise PreconditionError(f"node '{fault.node}' has no quantum memories in this scenario")
            return target
        target = self._target_link(fault.link)
        why = target.unfit(fault.kind)
        if why:
            raise PreconditionError(f"link '{fault.link}' cannot have it: {why}")
        return target

    def _check_network(self, fault: pb.Fault) -> None:
        """See that a fault of the classical network can be, and has a peer that there is."""
        known = KINDS[fault.kind]
        if not known.is_of_network:
            if fault.peer:
                raise InvalidInputError.of("fault.peer", f"{known.word} has no peer; leave it out")
            return
        if not self._has_network:
            raise PreconditionError(
                "agents do not dial through this emulator, so it cannot disturb the classical network; "
                "start with `keyweave up --network-faults`, or plan such a fault in the timeline"
            )
        if fault.peer == fault.node:
            raise InvalidInputError.of("fault.peer", "is the node itself; name another, or none for all")
        if fault.peer not in ("", CONTROLLER):
            self._node(fault.peer)

    def _node(self, name: str) -> "_Target":
        node = NodeName(name)
        book = self._plane.nodes.get(node)
        if book is None:
            raise NotFoundError(f"there is no node '{name}'; {instead_of(name, self._plane.nodes)}")
        links = tuple(link for link in self._links.values() if link.end_of(node) is not None)
        return _Target(book, node=node, links=links)

    def _restore(self, target: "_Target", operator: str) -> list[pb.Fault]:
        ended = [target.message(begun) for begun in target.book.end_all()]
        self._desk.look()
        log.get().info("faults_restored", **target.names, faults_ended=len(ended), operator=operator)
        return ended

    def _target_link(self, name: str) -> "_Target":
        """A link, or a pair link."""
        link = self._links.get(LinkName(name))
        if link is not None:
            return _of_link(link)
        book = self._plane.pair_links.get(LinkName(name))
        if book is None:
            known = (*self._links, *self._plane.pair_links)
            raise NotFoundError(f"there is no link '{name}'; {instead_of(name, known)}")
        return _Target(book, link=LinkName(name), unfit=unfit_for_pairs)

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


@dataclass(frozen=True, slots=True)
class _Target:
    """What faults are of: a link, or a node and the links there."""

    book: FaultBook
    link: LinkName | None = None
    node: NodeName | None = None
    links: tuple[EmulatedLink, ...] = ()
    # Why it cannot have a kind of fault; empty where it can.
    unfit: Callable[[pb.FaultKind], str] = lambda _kind: ""

    @property
    def names(self) -> dict[str, str]:
        """What it is, for the log and for messages."""
        return {"link": self.link} if self.link else {"node": self.node or ""}

    def message(self, begun: Begun) -> pb.Fault:
        """A fault in force, as operators are told."""
        fault = begun.fault
        return pb.Fault(
            **self.names,
            kind=fault.kind,
            magnitude=fault.magnitude,
            since_unix_nanos=begun.since_unix_nanos,
            ramp_seconds=fault.ramp_seconds,
            duration_seconds=fault.duration_seconds or 0.0,
            present_magnitude=fault.magnitude_at(self.book.elapsed_seconds),
            planned=fault.planned,
            peer=fault.peer,
        )


def _of_link(link: EmulatedLink) -> _Target:
    return _Target(link.faults, link=link.name, links=(link,), unfit=link.spec.unfit)


def _asked_for(asked: pb.Fault, book: FaultBook) -> Fault:
    """The fault that an operator asks for; it begins now."""
    known = KINDS[asked.kind]
    objection = known.objection(asked.magnitude) if asked.magnitude else ""
    if objection:
        raise InvalidInputError.of("fault.magnitude", objection)
    if asked.ramp_seconds and known.is_switch:
        raise InvalidInputError.of(
            "fault.ramp_seconds", f"{known.word} is there or it is not: it has no ramp"
        )
    return Fault(
        kind=asked.kind,
        magnitude=asked.magnitude or known.default,
        begins_seconds=book.elapsed_seconds,
        ramp_seconds=asked.ramp_seconds,
        duration_seconds=asked.duration_seconds or None,
        peer=asked.peer,
    )


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


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
