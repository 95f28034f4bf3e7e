"""Has questions about plans answered beside the controller, one at a time."""

import asyncio
import pickle
import sys
from collections.abc import Iterable
from dataclasses import replace

from keyweave.common import log
from keyweave.common.errors import UnavailableError
from keyweave.common.names import NodeName
from keyweave.controller.analysis import Question, changes_of
from keyweave.controller.routing.what_if import with_changes
from keyweave.controller.topology import Plan, Snapshot
from keyweave.v1 import admin_pb2, types_pb2

MAX_SECONDS = 600.0
MAX_WAITING = 4
# Of the caller's time, what starting the process and carrying the answer back may take.
_AROUND_SECONDS = 2.0
# A single plan of a large network may take so long beyond the question's time.
_OVERTIME_SECONDS = 60.0


class Analyses:
    """One analyst at work, a few callers waiting."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def answer(
        self,
        request: admin_pb2.AnalysePlanRequest,
        snapshot: Snapshot,
        plan: Plan,
        nodes: Iterable[types_pb2.Node],
        seconds: float | None,
    ) -> admin_pb2.AnalysePlanResponse:
        """The answer to `request`, whose caller waits for `seconds`. One who goes ends the work."""
        if request.HasField("what_if"):
            # Told before anything is started.
            with_changes(snapshot, changes_of(request.what_if))
        if self._waiting >= MAX_WAITING:
            raise UnavailableError(f"{MAX_WAITING} analyses are waiting already; try again later")
        loop = asyncio.get_running_loop()
        asked = loop.time()
        self._waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self._waiting -= 1
        try:
            left = MAX_SECONDS if seconds is None else seconds - (loop.time() - asked) - _AROUND_SECONDS
            left = min(MAX_SECONDS, max(0.0, left))
            question = Question(
                request.SerializeToString(), replace(snapshot, orders={}), plan, _places(nodes), left
            )
            return admin_pb2.AnalysePlanResponse.FromString(await _ask(question))
        finally:
            self._turn.release()


def _places(nodes: Iterable[types_pb2.Node]) -> dict[NodeName, tuple[float, float]]:
    """Where nodes are, as far as it is told: zeros are what nobody has set."""
    located = ((node.name, node.latitude_degrees, node.longitude_degrees) for node in nodes)
    return {NodeName(name): (north, east) for name, north, east in located if north or east}


async def _ask(question: Question) -> bytes:
    analyst = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "keyweave.controller.analyst"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(question.seconds + _OVERTIME_SECONDS):
            answer, said = await analyst.communicate(pickle.dumps(question))
    except TimeoutError:
        raise UnavailableError("the analysis took too long; ask for less, or of a smaller network") from None
    finally:
        if analyst.returncode is None:
            analyst.kill()
            await analyst.wait()
    if analyst.returncode:
        log.get().error("analysis_failed", exit_code=analyst.returncode, said=said.decode(errors="replace"))
        raise UnavailableError("the analysis failed; the controller's log has the reason")
    return answer
