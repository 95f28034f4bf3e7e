# ruff: noqa: N802  # gRPC names its methods
"""Entangled pairs, as the admin API offers them."""

from functools import partial

from keyweave.common import log
from keyweave.common.errors import PreconditionError, UnavailableError
from keyweave.common.names import NodeName, StreamName
from keyweave.controller.admin.changes import Changes
from keyweave.controller.admin.entry import Context, ask, ask_update, enter
from keyweave.controller.admin.pair_messages import link_states, memories_states, pair_stream_status
from keyweave.controller.admin.tokens import page
from keyweave.controller.admin.view import ControllerView
from keyweave.controller.optimiser import in_thread
from keyweave.controller.pairs.chsh import chsh
from keyweave.controller.pairs.words import explain
from keyweave.v1 import admin_pb2, admin_pb2_grpc, agent_pb2, pairs_pb2

DEFAULT_BELL_PAIRS = 400


class PairRpcs(admin_pb2_grpc.AdminServiceServicer):
    """The part of the admin API that is about entangled pairs."""

    _changes: Changes
    _view: ControllerView

    async def CreatePairStream(
        self, request: admin_pb2.CreatePairStreamRequest, context: Context
    ) -> admin_pb2.CreatePairStreamResponse:
        """Take on a pair stream, or say what could be had."""
        asked = ask("CreatePairStream", request, context, admin_pb2.CreatePairStreamResponse)
        return await self._changes.create(
            request.pair_stream, asked, validate_only=request.validate_only, force=request.force
        )

    async def GetPairStream(
        self, request: admin_pb2.GetPairStreamRequest, context: Context
    ) -> admin_pb2.GetPairStreamResponse:
        """One pair stream."""
        enter("GetPairStream", request, context)
        spec = self._changes.intent.get(pairs_pb2.PairStream, request.name)
        return admin_pb2.GetPairStreamResponse(pair_stream=self._pair_stream(spec))

    async def ListPairStreams(
        self, request: admin_pb2.ListPairStreamsRequest, context: Context
    ) -> admin_pb2.ListPairStreamsResponse:
        """Pair streams by name."""
        enter("ListPairStreams", request, context)
        known = self._changes.intent.pair_streams
        specs, more = page(known, request.page_size, request.page_token, "ListPairStreams")
        streams = [self._pair_stream(spec) for spec in specs]
        return admin_pb2.ListPairStreamsResponse(pair_streams=streams, next_page_token=more)

    async def UpdatePairStream(
        self, request: admin_pb2.UpdatePairStreamRequest, context: Context
    ) -> admin_pb2.UpdatePairStreamResponse:
        """Change fields of a pair stream."""
        response = admin_pb2.UpdatePairStreamResponse
        asked = ask_update("UpdatePairStream", "pair_stream", request, context, response)
        return await self._changes.update(
            request.pair_stream,
            request.update_mask.paths,
            asked,
            validate_only=request.validate_only,
            force=request.force,
        )

    async def DeletePairStream(
        self, request: admin_pb2.DeletePairStreamRequest, context: Context
    ) -> admin_pb2.DeletePairStreamResponse:
        """Delete a pair stream, and the link that its keys feed."""
        asked = ask("DeletePairStream", request, context, admin_pb2.DeletePairStreamResponse)
        return await self._changes.delete(
            pairs_pb2.PairStream, request.name, request.etag, asked, validate_only=request.validate_only
        )

    async def ExplainPairStream(
        self, request: admin_pb2.ExplainPairStreamRequest, context: Context
    ) -> admin_pb2.ExplainPairStreamResponse:
        """Why a pair stream is served as it is."""
        enter("ExplainPairStream", request, context)
        spec = self._changes.intent.get(pairs_pb2.PairStream, request.name)
        pairs = self._view.pairs()
        view, network = pairs.view(StreamName(spec.name)), pairs.book.network()
        links = {link.name: link for link, _ in pairs.links()}
        lines = await in_thread(partial(explain, view, links, network), "explain-pairs")
        return admin_pb2.ExplainPairStreamResponse(pair_stream=self._pair_stream(spec), lines=lines)

    async def ListPairLinks(
        self, request: admin_pb2.ListPairLinksRequest, context: Context
    ) -> admin_pb2.ListPairLinksResponse:
        """Links that make pairs, and memories."""
        enter("ListPairLinks", request, context)
        pairs = self._view.pairs()
        return admin_pb2.ListPairLinksResponse(pair_links=link_states(pairs), memories=memories_states(pairs))

    async def RunBellTest(
        self, request: admin_pb2.RunBellTestRequest, context: Context
    ) -> admin_pb2.RunBellTestResponse:
        """Use pairs of a stream to test a Bell inequality."""
        caller = enter("RunBellTest", request, context)
        spec = self._changes.intent.get(pairs_pb2.PairStream, request.name)
        status = self._pair_stream(spec)
        if not status.paths:
            raise PreconditionError(f"pair stream '{spec.name}' gets no pairs to be tested: {status.reason}")
        count = request.pairs or DEFAULT_BELL_PAIRS
        log.get().info("bell_test_asked", operator=caller.name, stream=spec.name, pairs=count)
        query = agent_pb2.BellTestQuery(stream=spec.name, pairs=count)
        left = context.time_remaining()
        result = await self._view.inspection.bell_test(NodeName(spec.source_node), query, left)
        if result.problem:
            raise UnavailableError(f"'{spec.source_node}' cannot test: {result.problem}")
        found = chsh(result.pairs, result.equal)
        return admin_pb2.RunBellTestResponse(
            pairs=result.pairs, equal=result.equal, s=found.s, s_low=found.low, s_high=found.high
        )

    def _pair_stream(self, spec: pairs_pb2.PairStream) -> admin_pb2.PairStreamStatus:
        pairs = self._view.pairs()
        name = StreamName(spec.name)
        return pair_stream_status(spec, pairs.view(name) if name in pairs.streams else None)
