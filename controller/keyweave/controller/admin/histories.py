"""What the network did, for the admin API: rows of the store, then those that are not in it yet."""

import math
from collections.abc import AsyncGenerator
from contextlib import aclosing

from keyweave.common.errors import InvalidInputError
from keyweave.controller.history.archive import Archive
from keyweave.controller.history.recorder import Recorder
from keyweave.controller.history.rows import merged
from keyweave.controller.history.wire import row_message, row_of
from keyweave.v1 import history_pb2

_NANOS = 1_000_000_000


async def history(
    archive: Archive, recorder: Recorder, request: history_pb2.GetHistoryRequest
) -> AsyncGenerator[history_pb2.GetHistoryResponse, None]:
    """The rows that a request asks for, oldest first; each moment is in one of them."""
    first = request.from_unix_nanos / _NANOS
    end = request.to_unix_nanos / _NANOS if request.to_unix_nanos else math.inf
    if end <= first:
        raise InvalidInputError.of(
            "to_unix_nanos", "is not after from_unix_nanos; the range is [from, to), and to = 0 means now"
        )
    async with aclosing(archive.rows(first, end)) as stored:
        async with recorder.writing:
            # What the store has from here on, and what it does not have, at one moment.
            row = await anext(stored, None)
            waiting = {each.start_unix_seconds: each for each in recorder.open_rows()}
        while row is not None:
            rest = waiting.pop(row.start_unix_seconds, None)
            if rest is not None:  # a controller that was restarted goes on with the row of before
                parts = map(row_of, (row, rest))
                row = row_message(merged(row.start_unix_seconds, row.seconds, parts))
            yield history_pb2.GetHistoryResponse(row=_asked(row, request))
            row = await anext(stored, None)
    for start in sorted(waiting):
        if first <= start < end:
            yield history_pb2.GetHistoryResponse(row=_asked(waiting[start], request))


def _asked(row: history_pb2.HistoryRow, request: history_pb2.GetHistoryRequest) -> history_pb2.HistoryRow:
    """The row with only those objects that the request names; whole if it names none."""
    links, streams, nodes = set(request.links), set(request.streams), set(request.nodes)
    pair_links, pair_streams = set(request.pair_links), set(request.pair_streams)
    if not (links or streams or nodes or pair_links or pair_streams):
        return row
    return history_pb2.HistoryRow(
        start_unix_seconds=row.start_unix_seconds,
        seconds=row.seconds,
        watched_seconds=row.watched_seconds,
        links=[each for each in row.links if each.link in links],
        streams=[each for each in row.streams if each.stream in streams],
        nodes=[each for each in row.nodes if each.node in nodes],
        pair_links=[each for each in row.pair_links if each.pair_link in pair_links],
        pair_streams=[each for each in row.pair_streams if each.pair_stream in pair_streams],
        happenings=[
            each
            for each in row.happenings
            if each.node in nodes
            # Names of links and streams may be those of pairs, or of keys; kinds tell which.
            or each.link in (pair_links if each.kind.startswith("pair_") else links)
            or each.stream in (pair_streams if each.kind.startswith("pair_") else streams)
        ],
        lost_happenings=row.lost_happenings,
    )
