"""How pair streams are served, as the store keeps it: what stands after a start until links have told."""

import math
from collections.abc import Mapping

import sqlalchemy as sa
from google.protobuf import json_format
from sqlalchemy.ext.asyncio import AsyncConnection

from keyweave.common.entanglement.bell import werner
from keyweave.common.names import LinkName, NodeName, StreamName
from keyweave.controller.pairs.streams import PairRecord, PairWay
from keyweave.controller.routing.entanglement.repeaters import Lane, PairPath
from keyweave.controller.store_schema import metadata
from keyweave.v1 import admin_pb2

_records = sa.Table(
    "pair_records",
    metadata,
    sa.Column("stream", sa.String(63), primary_key=True),
    sa.Column("content", sa.Text, nullable=False),
)


async def save(connection: AsyncConnection, records: Mapping[StreamName, PairRecord | None]) -> None:
    """Replace these."""
    for stream, record in records.items():
        await connection.execute(sa.delete(_records).where(_records.c.stream == stream))
        if record is not None:
            content = json_format.MessageToJson(record_message(record), indent=None)
            await connection.execute(sa.insert(_records).values(stream=stream, content=content))


async def load(connection: AsyncConnection) -> dict[StreamName, PairRecord]:
    """All of them."""
    rows = await connection.execute(sa.select(_records.c.stream, _records.c.content))
    return {
        StreamName(stream): _record(json_format.Parse(content, admin_pb2.PairStreamStatus()))
        for stream, content in rows
    }


def record_message(record: PairRecord) -> admin_pb2.PairStreamStatus:
    """As it is written."""
    state = admin_pb2.PAIR_STREAM_STATE_MET if record.met else admin_pb2.PAIR_STREAM_STATE_PARTLY_MET
    return admin_pb2.PairStreamStatus(
        state=admin_pb2.PAIR_STREAM_STATE_ENDED if record.ended else state,
        reason=record.ended,
        paths=map(way_message, record.ways),
        delivered_total=record.delivered_total,
    )


def _record(message: admin_pb2.PairStreamStatus) -> PairRecord:
    return PairRecord(
        ways=tuple(map(_way, message.paths)),
        met=message.state == admin_pb2.PAIR_STREAM_STATE_MET,
        ended=message.reason,
        delivered_total=message.delivered_total,
    )


def way_message(way: PairWay) -> admin_pb2.PairPathStatus:
    """A path in force, as the API has it."""
    path, lane = way.path, way.path.lane
    return admin_pb2.PairPathStatus(
        path_id=way.path_id,
        nodes=lane.nodes,
        links=lane.links,
        memories=path.width,
        rounds=lane.rounds,
        cutoff_seconds=[0.0 if math.isinf(each) else each for each in lane.cutoff_seconds],
        swap_order=[admin_pb2.SwapLevel(nodes=level) for level in lane.swap_order],
        end_rounds=lane.end_rounds,
        predicted_rate_hz=path.predicted_rate_hz,
        predicted_fidelity=path.predicted_fidelity,
        lanes=path.lanes,
        channels=lane.channels,
        rate_hz=way.rate_hz,
        keep_seconds=0.0 if math.isinf(way.keep_seconds) else way.keep_seconds,
    )


def _way(message: admin_pb2.PairPathStatus) -> PairWay:
    lane = Lane(
        nodes=tuple(map(NodeName, message.nodes)),
        links=tuple(map(LinkName, message.links)),
        rounds=tuple(message.rounds),
        cutoff_seconds=tuple(each or math.inf for each in message.cutoff_seconds),
        channels=tuple(message.channels),
        swap_order=tuple(tuple(map(NodeName, level.nodes)) for level in message.swap_order),
        end_rounds=message.end_rounds,
    )
    # Until it is planned anew only its fidelity counts.
    path = PairPath(lane, message.lanes, message.predicted_rate_hz, werner(message.predicted_fidelity))
    return PairWay(message.path_id, path, message.rate_hz, message.keep_seconds or math.inf)
