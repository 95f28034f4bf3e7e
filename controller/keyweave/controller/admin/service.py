# ruff: noqa: N802  # gRPC names its methods
"""The admin API: what operators and their tools call."""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, Protocol

from google.protobuf.message import Message

from keyweave.common import log
from keyweave.common.errors import InvalidInputError
from keyweave.common.identity import Identity
from keyweave.common.names import LinkName, NodeName, StreamName
from keyweave.common.validation import check, violations
from keyweave.controller.admin.analyses import Analyses
from keyweave.controller.admin.asked import Asked, Response
from keyweave.controller.admin.changes import Changes, Planner
from keyweave.controller.admin.event_hub import EventHub
from keyweave.controller.admin.histories import history
from keyweave.controller.admin.ledgers import ledger_query, merged
from keyweave.controller.admin.messages import (
    link_state,
    node_status,
    order_message,
    plan_message,
    stream_status,
)
from keyweave.controller.admin.tokens import page
from keyweave.controller.admin.watch import watched
from keyweave.controller.history.recorder import Recorder
from keyweave.controller.inspection import Inspection
from keyweave.controller.intent import Intent
from keyweave.controller.orders import OrderKind
from keyweave.controller.routing.explain import explain
from keyweave.controller.security import admit
from keyweave.controller.store import Store
from keyweave.controller.topology import Path, StreamPlan
from keyweave.controller.views import LinkStateView, NodeView, StreamView
from keyweave.v1 import admin_pb2, admin_pb2_grpc, history_pb2, types_pb2

# Entries of the audit log in a page; together they must fit into a message.
AUDIT_PAGE_SIZE = 200
# A grpc.aio servicer context; the generated stubs know only one that is synchronous as well.
Context = Any


class ControllerView(Planner, Protocol):
    """What the admin API sees of the controller; implemented beside the core."""

    @property
    def epoch(self) -> int:
        """The epoch under which the controller leads."""

    @property
    def warming_up(self) -> bool:
        """The stored plan stands until links have reported."""

    @property
    def planned_at(self) -> float:
        """When the plan in force was made, unix seconds."""

    @property
    def events(self) -> EventHub:
        """Where events are published."""

    @property
    def history(self) -> Recorder:
        """What the network does, on its way to the store."""

    @property
    def inspection(self) -> Inspection:
        """Where agents are asked."""

    def node(self, name: NodeName) -> NodeView | None:
        """What is known of a node."""

    def link(self, name: LinkName) -> LinkStateView | None:
        """What is known of a link."""

    def vendor_domains(self) -> Mapping[LinkName, str]:
        """Links whose keys come through a vendor's domain, and which."""

    def stream(self, name: StreamName) -> StreamView | None:
        """What is known of a stream."""


class AdminService(admin_pb2_grpc.AdminServiceServicer):
    """Answers operators and viewers. Errors go through keyweave.common.grpc_errors.ErrorInterceptor."""

    def __init__(self, store: Store, intent: Intent, view: ControllerView) -> None:
        self._store = store
        self._view = view
        self._changes = Changes(store, intent, view)
        self._analyses = Analyses()

    @property
    def intent(self) -> Intent:
        """What operators want now."""
        return self._changes.intent

    async def close(self) -> None:
        """Finish what has begun. Call after the server has stopped taking calls."""
        await self._changes.close()

    # ---- nodes -------------------------------------------------------------------------------------

    async def CreateNode(
        self, request: admin_pb2.CreateNodeRequest, context: Context
    ) -> admin_pb2.CreateNodeResponse:
        """Create a node."""
        asked = _ask("CreateNode", request, context, admin_pb2.CreateNodeResponse)
        return await self._changes.create(request.node, asked, validate_only=request.validate_only)

    async def GetNode(self, request: admin_pb2.GetNodeRequest, context: Context) -> admin_pb2.GetNodeResponse:
        """One node."""
        _enter("GetNode", request, context)
        return admin_pb2.GetNodeResponse(node=self._node(self._intent.get(types_pb2.Node, request.name)))

    async def ListNodes(
        self, request: admin_pb2.ListNodesRequest, context: Context
    ) -> admin_pb2.ListNodesResponse:
        """Nodes by name."""
        _enter("ListNodes", request, context)
        specs, more = page(self._intent.nodes, request.page_size, request.page_token, "ListNodes")
        return admin_pb2.ListNodesResponse(nodes=[self._node(spec) for spec in specs], next_page_token=more)

    async def UpdateNode(
        self, request: admin_pb2.UpdateNodeRequest, context: Context
    ) -> admin_pb2.UpdateNodeResponse:
        """Change fields of a node."""
        asked = _ask_update("UpdateNode", "node", request, context, admin_pb2.UpdateNodeResponse)
        mask = request.update_mask.paths
        return await self._changes.update(request.node, mask, asked, validate_only=request.validate_only)

    async def DeleteNode(
        self, request: admin_pb2.DeleteNodeRequest, context: Context
    ) -> admin_pb2.DeleteNodeResponse:
        """Delete a node that nothing uses."""
        asked = _ask("DeleteNode", request, context, admin_pb2.DeleteNodeResponse)
        return await self._changes.delete(
            types_pb2.Node, request.name, request.etag, asked, validate_only=request.validate_only
        )

    # ---- links -------------------------------------------------------------------------------------

    async def CreateLink(
        self, request: admin_pb2.CreateLinkRequest, context: Context
    ) -> admin_pb2.CreateLinkResponse:
        """Create a link."""
        asked = _ask("CreateLink", request, context, admin_pb2.CreateLinkResponse)
        return await self._changes.create(request.link, asked, validate_only=request.validate_only)

    async def GetLink(self, request: admin_pb2.GetLinkRequest, context: Context) -> admin_pb2.GetLinkResponse:
        """One link."""
        _enter("GetLink", request, context)
        return admin_pb2.GetLinkResponse(link=self._link(self._intent.get(types_pb2.Link, request.name)))

    async def ListLinks(
        self, request: admin_pb2.ListLinksRequest, context: Context
    ) -> admin_pb2.ListLinksResponse:
        """Links by name."""
        _enter("ListLinks", request, context)
        specs, more = page(self._intent.links, request.page_size, request.page_token, "ListLinks")
        return admin_pb2.ListLinksResponse(links=[self._link(spec) for spec in specs], next_page_token=more)

    async def UpdateLink(
        self, request: admin_pb2.UpdateLinkRequest, context: Context
    ) -> admin_pb2.UpdateLinkResponse:
        """Change fields of a link."""
        asked = _ask_update("UpdateLink", "link", request, context, admin_pb2.UpdateLinkResponse)
        mask = request.update_mask.paths
        return await self._changes.update(request.link, mask, asked, validate_only=request.validate_only)

    async def DeleteLink(
        self, request: admin_pb2.DeleteLinkRequest, context: Context
    ) -> admin_pb2.DeleteLinkResponse:
        """Delete a link that is in maintenance or not planned for anything."""
        asked = _ask("DeleteLink", request, context, admin_pb2.DeleteLinkResponse)
        return await self._changes.delete(
            types_pb2.Link, request.name, request.etag, asked, validate_only=request.validate_only
        )

    # ---- streams -----------------------------------------------------------------------------------

    async def CreateStream(
        self, request: admin_pb2.CreateStreamRequest, context: Context
    ) -> admin_pb2.CreateStreamResponse:
        """Create a stream. Once this has answered, the stream survives the controller's death."""
        asked = _ask("CreateStream", request, context, admin_pb2.CreateStreamResponse)
        return await self._changes.create(request.stream, asked, validate_only=request.validate_only)

    async def GetStream(
        self, request: admin_pb2.GetStreamRequest, context: Context
    ) -> admin_pb2.GetStreamResponse:
        """One stream."""
        _enter("GetStream", request, context)
        spec = self._intent.get(types_pb2.Stream, request.name)
        return admin_pb2.GetStreamResponse(stream=self._stream(spec))

    async def ListStreams(
        self, request: admin_pb2.ListStreamsRequest, context: Context
    ) -> admin_pb2.ListStreamsResponse:
        """Streams by name."""
        _enter("ListStreams", request, context)
        specs, more = page(self._intent.streams, request.page_size, request.page_token, "ListStreams")
        streams = [self._stream(spec) for spec in specs]
        return admin_pb2.ListStreamsResponse(streams=streams, next_page_token=more)

    async def UpdateStream(
        self, request: admin_pb2.UpdateStreamRequest, context: Context
    ) -> admin_pb2.UpdateStreamResponse:
        """Change fields of a stream."""
        asked = _ask_update("UpdateStream", "stream", request, context, admin_pb2.UpdateStreamResponse)
        mask = request.update_mask.paths
        return await self._changes.update(request.stream, mask, asked, validate_only=request.validate_only)

    async def DeleteStream(
        self, request: admin_pb2.DeleteStreamRequest, context: Context
    ) -> admin_pb2.DeleteStreamResponse:
        """Delete a stream."""
        asked = _ask("DeleteStream", request, context, admin_pb2.DeleteStreamResponse)
        return await self._changes.delete(
            types_pb2.Stream, request.name, request.etag, asked, validate_only=request.validate_only
        )

    # ---- the network -------------------------------------------------------------------------------

    async def ExplainStream(
        self, request: admin_pb2.ExplainStreamRequest, context: Context
    ) -> admin_pb2.ExplainStreamResponse:
        """Why a stream is routed as it is, and who can see its keys."""
        _enter("ExplainStream", request, context)
        spec = self._intent.get(types_pb2.Stream, request.name)
        name = StreamName(request.name)
        plan = self._view.plan()
        return admin_pb2.ExplainStreamResponse(
            status=self._stream(spec),
            trusted_nodes=sorted(_trusted_nodes(plan.streams.get(name))),
            lines=explain(self._view.snapshot(), plan, name, self._view.vendor_domains()),
        )

    async def GetPlan(self, request: admin_pb2.GetPlanRequest, context: Context) -> admin_pb2.GetPlanResponse:
        """The plan in force."""
        _enter("GetPlan", request, context)
        return admin_pb2.GetPlanResponse(plan=plan_message(self._view.plan(), self._view.planned_at))

    async def AnalysePlan(
        self, request: admin_pb2.AnalysePlanRequest, context: Context
    ) -> admin_pb2.AnalysePlanResponse:
        """What failures or new links would do to the streams."""
        _enter("AnalysePlan", request, context)
        network, plan = self._view.snapshot(), self._view.plan()
        return await self._analyses.answer(request, network, plan, context.time_remaining())

    async def GetStatus(
        self, request: admin_pb2.GetStatusRequest, context: Context
    ) -> admin_pb2.GetStatusResponse:
        """The whole network at a glance."""
        _enter("GetStatus", request, context)
        intent = self._intent
        return admin_pb2.GetStatusResponse(
            epoch=self._view.epoch,
            read_only=self._view.read_only,
            warming_up=self._view.warming_up,
            plan_version=self._view.plan().version,
            nodes=[self._node(intent.nodes[name]) for name in sorted(intent.nodes)],
            links=[self._link(intent.links[name]) for name in sorted(intent.links)],
            streams=[self._stream(intent.streams[name]) for name in sorted(intent.streams)],
            orders=[order_message(view.order, view.waiting_for) for view in self._view.orders()],
        )

    async def WatchEvents(
        self, request: admin_pb2.WatchEventsRequest, context: Context
    ) -> AsyncIterator[admin_pb2.WatchEventsResponse]:
        """Past events, then live ones; none is missed or sent twice in between."""
        _enter("WatchEvents", request, context)
        async with aclosing(watched(self._view, self._store, request)) as answers:
            async for answer in answers:
                yield answer

    async def GetHistory(
        self, request: history_pb2.GetHistoryRequest, context: Context
    ) -> AsyncIterator[history_pb2.GetHistoryResponse]:
        """What the network did, row by row."""
        _enter("GetHistory", request, context)
        async with aclosing(history(self._store.history, self._view.history, request)) as rows:
            async for row in rows:
                yield row

    async def ListAuditEntries(
        self, request: admin_pb2.ListAuditEntriesRequest, context: Context
    ) -> admin_pb2.ListAuditEntriesResponse:
        """The audit log, a page at a time."""
        _enter("ListAuditEntries", request, context)
        first, last = await self._store.audit_range()
        size = request.page_size or AUDIT_PAGE_SIZE
        entries = await self._store.audit_entries(request.after_sequence, size)
        newest = entries[-1].sequence if entries else last
        return admin_pb2.ListAuditEntriesResponse(
            lines=[entry.line for entry in entries],
            first_sequence=first,
            last_sequence=last,
            next_after_sequence=newest if newest < last else 0,
        )

    # ---- orders and lookups ------------------------------------------------------------------------

    async def ClearLink(
        self, request: admin_pb2.ClearLinkRequest, context: Context
    ) -> admin_pb2.ClearLinkResponse:
        """Let both ends use what they hold in quarantine."""
        asked = _ask("ClearLink", request, context, admin_pb2.ClearLinkResponse)
        return await self._changes.order(OrderKind.LINK_CLEAR, request.name, asked)

    async def DestroyLink(
        self, request: admin_pb2.DestroyLinkRequest, context: Context
    ) -> admin_pb2.DestroyLinkResponse:
        """Have both ends destroy what the link gave them."""
        asked = _ask("DestroyLink", request, context, admin_pb2.DestroyLinkResponse)
        return await self._changes.order(OrderKind.LINK_DESTROY, request.name, asked)

    async def CalibrateLink(
        self, request: admin_pb2.CalibrateLinkRequest, context: Context
    ) -> admin_pb2.CalibrateLinkResponse:
        """Have the devices at both ends calibrate."""
        asked = _ask("CalibrateLink", request, context, admin_pb2.CalibrateLinkResponse)
        return await self._changes.order(OrderKind.LINK_CALIBRATE, request.name, asked)

    async def ZeroizeNode(
        self, request: admin_pb2.ZeroizeNodeRequest, context: Context
    ) -> admin_pb2.ZeroizeNodeResponse:
        """Have a node destroy all key material."""
        asked = _ask("ZeroizeNode", request, context, admin_pb2.ZeroizeNodeResponse)
        return await self._changes.order(OrderKind.NODE_ZEROIZE, request.name, asked)

    async def ShowLedger(  # type: ignore[override]  # it writes, so that a caller who goes ends it at once
        self, request: admin_pb2.ShowLedgerRequest, context: Context
    ) -> None:
        """What became of a stream's keys, from both its ends."""
        caller = _enter("ShowLedger", request, context)
        stream = self._intent.get(types_pb2.Stream, request.stream)
        query = ledger_query(request)
        log.get().info("ledger_shown", operator=caller.name, stream=stream.name)
        ends = (NodeName(stream.source_node), NodeName(stream.target_node))
        async with aclosing(merged(self._view.inspection, ends, query)) as answers:
            async for answer in answers:
                await context.write(answer)

    @property
    def _intent(self) -> Intent:
        return self._changes.intent

    def _node(self, spec: types_pb2.Node) -> admin_pb2.NodeStatus:
        return node_status(spec, self._view.node(NodeName(spec.name)))

    def _link(self, spec: types_pb2.Link) -> admin_pb2.LinkState:
        return link_state(spec, self._view.link(LinkName(spec.name)))

    def _stream(self, spec: types_pb2.Stream) -> admin_pb2.StreamStatus:
        return stream_status(spec, self._view.stream(StreamName(spec.name)))


def _enter(rpc: str, request: Message, context: Context) -> Identity:
    """Who is calling comes first: a stranger learns nothing about what would be valid."""
    caller = admit(context, rpc)
    check(request)
    return caller


def _ask(rpc: str, request: Message, context: Context, response: type[Response]) -> Asked[Response]:
    """A write that may be asked for."""
    return Asked.of(rpc, request, _enter(rpc, request, context), response)


def _ask_update(
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


def _trusted_nodes(plan: StreamPlan | None) -> set[NodeName]:
    paths: list[Path] = [
        path for group in (plan.path_sets if plan else ()) if group.rank == 0 for path in group.paths
    ]
    return {node for path in paths for node in path.trusted_nodes}
