"""The controller's own history as the source of a report."""

from keyweave.cli.connection import CALL_TIMEOUT_SECONDS, Network
from keyweave.cli.fields import enum_word
from keyweave.cli.report.recorded import (
    LinkAbout,
    NodeAbout,
    PairLinkAbout,
    PairStreamAbout,
    Recorded,
    StreamAbout,
)
from keyweave.controller.history.wire import row_of
from keyweave.controller.intent import link_of
from keyweave.v1 import admin_pb2, history_pb2, types_pb2

_NANOS = 1_000_000_000
# A year is some thousand rows.
_READING_SECONDS = 300.0


async def recorded(network: Network, start_nanos: int, end_nanos: int) -> Recorded:
    """What the controller has recorded of a period."""
    async with network.admin() as admin:
        status = await admin.GetStatus(admin_pb2.GetStatusRequest(), timeout=CALL_TIMEOUT_SECONDS)
        making = await admin.ListPairLinks(admin_pb2.ListPairLinksRequest(), timeout=CALL_TIMEOUT_SECONDS)
        request = history_pb2.GetHistoryRequest(from_unix_nanos=start_nanos, to_unix_nanos=end_nanos)
        answers = admin.GetHistory(request, timeout=_READING_SECONDS)
        rows = tuple([row_of(answer.row) async for answer in answers])
    return Recorded(
        source="the controller's own history",
        start=start_nanos / _NANOS,
        end=end_nanos / _NANOS,
        rows=rows,
        links={state.link.name: _link(state) for state in status.links},
        streams={each.stream.name: _stream(each.stream) for each in status.streams},
        nodes={
            each.node.name: NodeAbout(owner=each.node.owner, location=each.node.location)
            for each in status.nodes
        },
        pair_links={
            link.name: PairLinkAbout(link.a_node, link.b_node, link.length_km) for link in making.pair_links
        },
        pair_streams={
            spec.name: PairStreamAbout(spec.source_node, spec.target_node, spec.rate_hz, spec.min_fidelity)
            for spec in (each.pair_stream for each in status.pair_streams)
        },
    )


def _link(state: admin_pb2.LinkState) -> LinkAbout:
    link = link_of(state.link)
    return LinkAbout(
        a_node=link.a,
        b_node=link.b,
        technology=enum_word(types_pb2.LinkTechnology.DESCRIPTOR, state.link.technology),
        length_km=link.length_km,
        degraded_qber_ratio=link.degraded_qber_ratio,
        abort_qber_ratio=link.abort_qber_ratio,
        emulated=state.emulated,
    )


def _stream(stream: types_pb2.Stream) -> StreamAbout:
    needed = [word for word, on in (("QKD", stream.require_qkd), ("ML-KEM", stream.require_pqc)) if on]
    return StreamAbout(
        source_node=stream.source_node,
        target_node=stream.target_node,
        requires="ML-KEM alone" if stream.pqc_only else " and ".join(needed) or "strongest available",
        min_rate_bps=float(stream.min_rate_bps),
        pqc_only=stream.pqc_only,
    )
