# ruff: noqa: N802  # gRPC names its methods
"""The admin API: what operators and their tools call."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from keyweave.common import log
from keyweave.common.names import LinkName, NodeName, StreamName
from keyweave.controller.admin.analyses import Analyses
from keyweave.controller.admin.changes import Changes
from keyweave.controller.admin.entry import Context, ask, ask_update, enter
from keyweave.controller.admin.histories import history
from keyweave.controller.admin.ledgers import ledger_query, merged
from keyweave.controller.admin.messages import (
    link_state,
    node_status,
    order_message,
    stream_status,
)
from keyweave.controller.admin.pair_messages import link_states
from keyweave.controller.admin.pairs import PairRpcs
from keyweave.controller.admin.planned import PlannedRpcs
from keyweave.controller.admin.plans import PlanRpcs
from keyweave.controller.admin.tokens import page
from keyweave.controller.admin.view import ControllerView
from keyweave.controller.admin.watch import watched
from keyweave.controller.intent import Intent
from keyweave.controller.orders import OrderKind
from keyweave.controller.routing.explain import explain
from keyweave.controller.store import Store
from keyweave.controller.topology import Path, StreamPlan
from keyweave.v1 import admin_pb2, admin_pb2_grpc, history_pb2, types_pb2

# Entries of the audit log in a page; together they must fit into a message.
AUDIT_PAGE_SIZE = 200


class AdminService(PairRpcs, PlannedRpcs, PlanRpcs, admin_pb2_grpc.AdminServiceServicer):
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
        asked = ask("CreateNode", request, context, admin_pb2.CreateNodeResponse)
        return await self._changes.create(request.node, asked, validate_only=request.validate_only)

    async def GetNode(self, request: admin_pb2.GetNodeRequest, context: Context) -> admin_pb2.GetNodeResponse:
        """One node."""
        enter("GetNode", request, context)
        return admin_pb2.GetNodeResponse(node=self._node(self._intent.get(types_pb2.Node, request.name)))

    async def ListNodes(
        self, request: admin_pb2.ListNodesRequest, context: Context
    ) -> admin_pb2.ListNodesResponse:
        """Nodes by name."""
        enter("ListNodes", request, context)
        specs, more = page(self._intent.nodes, request.page_size, request.page_token, "ListNodes")
        return admin_pb2.ListNodesResponse(nodes=[self._node(spec) for spec in specs], next_page_token=more)

    async def UpdateNode(
        self, request: admin_pb2.UpdateNodeRequest, context: Context
    ) -> admin_pb2.UpdateNodeResponse:
        """Change fields of a node."""
        asked = ask_update("UpdateNode", "node", request, context, admin_pb2.UpdateNodeResponse)
        mask = request.update_mask.paths
        return await self._changes.update(request.node, mask, asked, validate_only=request.validate_only)

    async def DeleteNode(
        self, request: admin_pb2.DeleteNodeRequest, context: Context
    ) -> admin_pb2.DeleteNodeResponse:
        """Delete a node that nothing uses."""
        asked = ask("DeleteNode", request, context, admin_pb2.DeleteNodeResponse)
        return await self._changes.delete(
            types_pb2.Node, request.name, request.etag, asked, validate_only=request.validate_only
        )

    # ---- links -------------------------------------------------------------------------------------

    async def CreateLink(
        self, request: admin_pb2.CreateLinkRequest, context: Context
    ) -> admin_pb2.CreateLinkResponse:
        """Create a link."""
        asked = ask("CreateLink", request, context, admin_pb2.CreateLinkResponse)
        return await self._changes.create(request.link, asked, validate_only=request.validate_only)

    async def GetLink(self, request: admin_pb2.GetLinkRequest, context: Context) -> admin_pb2.GetLinkResponse:
        """One link."""
        enter("GetLink", request, context)
        return admin_pb2.GetLinkResponse(link=self._link(self._intent.get(types_pb2.Link, request.name)))

    async def ListLinks(
        self, request: admin_pb2.ListLinksRequest, context: Context
    ) -> admin_pb2.ListLinksResponse:
        """Links by name."""
        enter("ListLinks", request, context)
        specs, more = page(self._intent.links, request.page_size, request.page_token, "ListLinks")
        return admin_pb2.ListLinksResponse(links=[self._link(spec) for spec in specs], next_page_token=more)

    async def UpdateLink(
        self, request: admin_pb2.UpdateLinkRequest, context: Context
    ) -> admin_pb2.UpdateLinkResponse:
        """Change fields of a link."""
        asked = ask_update("UpdateLink", "link", request, context, admin_pb2.UpdateLinkResponse)
        mask = request.update_mask.paths
        return await self._changes.update(request.link, mask, asked, validate_only=request.validate_only)

    async def DeleteLink(
        self, request: admin_pb2.DeleteLinkRequest, context: Context
    ) -> admin_pb2.DeleteLinkResponse:
        """Delete a link that is in maintenance or not planned for anything."""
        asked = ask("DeleteLink", request, context, admin_pb2.DeleteLinkResponse)
        return await self._changes.delete(
            types_pb2.Link, request.name, request.etag, asked, validate_only=request.validate_only
        )

    # ---- streams -----------------------------------------------------------------------------------

    async def CreateStream(
        self, request: admin_pb2.CreateStreamRequest, context: Context
    ) -> admin_pb2.CreateStreamResponse:
        """Create a stream. Once this has answered, the stream survives the controller's death."""
        asked = ask("CreateStream", request, context, admin_pb2.CreateStreamResponse)
        return await self._changes.create(request.stream, asked, validate_only=request.validate_only)

    async def GetStream(
        self, request: admin_pb2.GetStreamRequest, context: Context
    ) -> admin_pb2.GetStreamResponse:
        """One stream."""
        enter("GetStream", request, context)
        spec = self._intent.get(types_pb2.Stream, request.name)
        return admin_pb2.GetStreamResponse(stream=self._stream(spec))

    async def ListStreams(
        self, request: admin_pb2.ListStreamsRequest, context: Context
    ) -> admin_pb2.ListStreamsResponse:
        """Streams by name."""
        enter("ListStreams", request, context)
        specs, more = page(self._intent.streams, request.page_size, request.page_token, "ListStreams")
        streams = [self._stream(spec) for spec in specs]
        return admin_pb2.ListStreamsResponse(streams=streams, next_page_token=more)

    async def UpdateStream(
        self, request: admin_pb2.UpdateStreamRequest, context: Context
    ) -> admin_pb2.UpdateStreamResponse:
        """Change fields of a stream."""
        asked = ask_update("UpdateStream", "stream", request, context, admin_pb2.UpdateStreamResponse)
        mask = request.update_mask.paths
        return await self._changes.update(request.stream, mask, asked, validate_only=request.validate_only)

    async def DeleteStream(
        self, request: admin_pb2.DeleteStreamRequest, context: Context
    ) -> admin_pb2.DeleteStreamResponse:
        """Delete a stream."""
        asked = ask("DeleteStream", request, context, admin_pb2.DeleteStreamResponse)
        return await self._changes.delete(
            types_pb2.Stream, request.name, request.etag, asked, validate_only=request.validate_only
        )

    # ---- the network -------------------------------------------------------------------------------

    async def ExplainStream(
        self, request: admin_pb2.ExplainStreamRequest, context: Context
    ) -> admin_pb2.ExplainStreamResponse:
        """Why a stream is routed as it is, and who can see its keys."""
        enter("ExplainStream", request, context)
        spec = self._intent.get(types_pb2.Stream, request.name)
        name = StreamName(request.name)
        plan = self._view.plan()
        return admin_pb2.ExplainStreamResponse(
            status=self._stream(spec),
            trusted_nodes=sorted(_trusted_nodes(plan.streams.get(name))),
            lines=explain(self._view.snapshot(), plan, name, self._view.vendor_domains()),
        )

    async def AnalysePlan(
        self, request: admin_pb2.AnalysePlanRequest, context: Context
    ) -> admin_pb2.AnalysePlanResponse:
        """What failures or new links would do to the streams."""
        enter("AnalysePlan", request, context)
        network, plan = self._view.snapshot(), self._view.plan()
        return await self._analyses.answer(
            request, network, plan, self._intent.nodes.values(), context.time_remaining()
        )

    async def GetStatus(
        self, request: admin_pb2.GetStatusRequest, context: Context
    ) -> admin_pb2.GetStatusResponse:
        """The whole network at a glance."""
        enter("GetStatus", request, context)
        intent = self._intent
        return admin_pb2.GetStatusResponse(
            epoch=self._view.epoch,
            read_only=self._view.read_only,
            warming_up=self._view.warming_up,
            database_problem=self._view.database_problem,
            plan_version=self._view.plan().version,
            nodes=[self._node(intent.nodes[name]) for name in sorted(intent.nodes)],
            links=[self._link(intent.links[name]) for name in sorted(intent.links)],
            streams=[self._stream(intent.streams[name]) for name in sorted(intent.streams)],
            orders=[order_message(view.order, view.waiting_for) for view in self._view.orders()],
            pair_links=link_states(self._view.pairs()),
            pair_streams=[
                self._pair_stream(intent.pair_streams[name]) for name in sorted(intent.pair_streams)
            ],
        )

    async def WatchEvents(
        self, request: admin_pb2.WatchEventsRequest, context: Context
    ) -> AsyncIterator[admin_pb2.WatchEventsResponse]:
        """Past events, then live ones; none is missed or sent twice in between."""
        enter("WatchEvents", request, context)
        async with aclosing(watched(self._view, self._store, request)) as answers:
            async for answer in answers:
                yield answer

    async def GetHistory(
        self, request: history_pb2.GetHistoryRequest, context: Context
    ) -> AsyncIterator[history_pb2.GetHistoryResponse]:
        """What the network did, row by row."""
        enter("GetHistory", request, context)
        async with aclosing(history(self._store.history, self._view.history, request)) as rows:
            async for row in rows:
                yield row

    async def ListAuditEntries(
        self, request: admin_pb2.ListAuditEntriesRequest, context: Context
    ) -> admin_pb2.ListAuditEntriesResponse:
        """The audit log, a page at a time."""
        enter("ListAuditEntries", request, context)
        first, last = await self._store.audit.range()
        size = request.page_size or AUDIT_PAGE_SIZE
        entries = await self._store.audit.entries(request.after_sequence, size)
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
        asked = ask("ClearLink", request, context, admin_pb2.ClearLinkResponse)
        return await self._changes.order(OrderKind.LINK_CLEAR, request.name, asked)

    async def DestroyLink(
        self, request: admin_pb2.DestroyLinkRequest, context: Context
    ) -> admin_pb2.DestroyLinkResponse:
        """Have both ends destroy what the link gave them."""
        asked = ask("DestroyLink", request, context, admin_pb2.DestroyLinkResponse)
        return await self._changes.order(OrderKind.LINK_DESTROY, request.name, asked)

    async def CalibrateLink(
        self, request: admin_pb2.CalibrateLinkRequest, context: Context
    ) -> admin_pb2.CalibrateLinkResponse:
        """Have the devices at both ends calibrate."""
        asked = ask("CalibrateLink", request, context, admin_pb2.CalibrateLinkResponse)
        return await self._changes.order(OrderKind.LINK_CALIBRATE, request.name, asked)

    async def ZeroizeNode(
        self, request: admin_pb2.ZeroizeNodeRequest, context: Context
    ) -> admin_pb2.ZeroizeNodeResponse:
        """Have a node destroy all key material."""
        asked = ask("ZeroizeNode", request, context, admin_pb2.ZeroizeNodeResponse)
        return await self._changes.order(OrderKind.NODE_ZEROIZE, request.name, asked)

    async def ShowLedger(  # type: ignore[override]  # it writes, so that a caller who goes ends it at once
        self, request: admin_pb2.ShowLedgerRequest, context: Context
    ) -> None:
        """What became of a stream's keys, from both its ends."""
        caller = enter("ShowLedger", request, context)
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


def _trusted_nodes(plan: StreamPlan | None) -> set[NodeName]:
    paths: list[Path] = [
        path for group in (plan.path_sets if plan else ()) if group.rank == 0 for path in group.paths
    ]
    return {node for path in paths for node in path.trusted_nodes}
