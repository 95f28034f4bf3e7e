"""What became of a stream's keys: the ledgers of both its ends, asked for and merged by time.

Lines are handed on as they come: of a million, a few pages are here at any moment.
"""

from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import ExitStack

from keyweave.common.errors import InvalidInputError, UnavailableError
from keyweave.common.names import NodeName
from keyweave.controller.inspection import Answer, Inspection
from keyweave.v1 import admin_pb2, agent_pb2, types_pb2

DEFAULT_LIMIT = 10_000
# So that an answer stays far below the largest message that gRPC takes, with paths of many hops too.
LINES_PER_ANSWER = 200


def ledger_query(request: admin_pb2.ShowLedgerRequest) -> agent_pb2.LedgerQuery:
    """What to ask the ends."""
    if request.to_unix_nanos and request.from_unix_nanos >= request.to_unix_nanos:
        raise InvalidInputError.of(
            "to_unix_nanos", "is not after from_unix_nanos; the range is [from, to), and to = 0 means now"
        )
    return agent_pb2.LedgerQuery(
        stream=request.stream,
        from_unix_nanos=request.from_unix_nanos,
        to_unix_nanos=request.to_unix_nanos,
        limit=request.limit or DEFAULT_LIMIT,
    )


class _End:
    """One end's lines, oldest first, as they come."""

    def __init__(self, answer: Answer) -> None:
        self.node = answer.node
        self.lines: deque[types_pb2.LedgerEntry] = deque()
        self._pages = aiter(answer)

    async def fill(self) -> str:
        """Wait for lines, unless no more come; what is wrong at this end, if anything."""
        try:
            while not self.lines:
                page = await anext(self._pages, None)
                if page is None:
                    return ""
                self.lines.extend(page.entries)
                if page.problem:
                    return page.problem
        except UnavailableError as error:
            return str(error)
        return ""


async def merged(
    inspection: Inspection, nodes: Iterable[NodeName], query: agent_pb2.LedgerQuery
) -> AsyncGenerator[admin_pb2.ShowLedgerResponse, None]:
    """The lines of all these nodes by time, and for a node that cannot tell all of them, why.

    Each node's lines stay in the order of its ledger, whatever its clock did.
    """
    with ExitStack() as asked:
        ends: list[_End] = []
        for node in nodes:
            try:
                ends.append(_End(asked.enter_context(inspection.ledger(node, query))))
            except UnavailableError as error:
                yield admin_pb2.ShowLedgerResponse(node=node, problem=str(error))
        while ends:
            for end in ends:
                problem = await end.fill()
                if problem:
                    yield admin_pb2.ShowLedgerResponse(node=end.node, problem=problem)
            ends = [end for end in ends if end.lines]
            if ends:
                yield admin_pb2.ShowLedgerResponse(entries=_next_lines(ends))


def _next_lines(ends: Sequence[_End]) -> Iterator[types_pb2.LedgerEntry]:
    """The next lines by time: until an end has to be asked again, or the answer is full."""
    for _ in range(LINES_PER_ANSWER):
        if not all(end.lines for end in ends):
            return
        yield min(ends, key=lambda end: end.lines[0].time_unix_nanos).lines.popleft()
