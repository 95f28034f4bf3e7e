"""Sessions of emulated memories: bounded, one a node, and over when the devices are."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from keyweave.common import settings
from keyweave.common.errors import ConflictError, InvalidInputError, PreconditionError, UnavailableError
from keyweave.common.names import LinkName, NodeName
from keyweave.emulator.faults import Fault
from keyweave.emulator.memories.desk import EVENTS_WAITING, MemoryDesk
from keyweave.emulator.plane import OpticalPlane
from keyweave.emulator.scenario import Scenario
from keyweave.v1 import emulator_pb2 as pb
from keyweave.v1 import types_pb2

A, B, D = NodeName("a"), NodeName("b"), NodeName("d")
AB = LinkName("ab")
MEMORIES = 4096
SCENARIO = f"""
name: desk
nodes:
  - {{name: a, memories: {{count: {MEMORIES}}}}}
  - {{name: b, memories: {{count: 2}}}}
  - {{name: d}}
pair_links:
  - {{name: ab, a: a, b: b, length_km: 10, heralding: {{kind: single-click, bright_state_ratio: 0.1}}}}
"""
Answers = AsyncGenerator[pb.OperateMemoriesResponse, None]


class Asking:
    """The requests of one node, one after the other, and how many of them were taken."""

    def __init__(self, *requests: pb.OperateMemoriesRequest, for_ever: bool = False) -> None:
        self.requests, self.for_ever = requests, for_ever
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[pb.OperateMemoriesRequest]:
        while True:
            for request in self.requests:
                self.taken += 1
                yield request
            if not self.for_ever:
                await asyncio.Event().wait()


def at_desk() -> tuple[OpticalPlane, MemoryDesk]:
    scenario = settings.parse(SCENARIO, Scenario, source="s.yaml")
    plane = OpticalPlane(scenario, warm_blocks_seconds=0.0)
    return plane, MemoryDesk(scenario, plane)


def request(*commands: pb.MemoryCommand) -> pb.OperateMemoriesRequest:
    return pb.OperateMemoriesRequest(commands=commands)


def released(memory: int) -> pb.MemoryCommand:
    return pb.MemoryCommand(release=pb.MemoryRelease(memory=memory))


async def turns(count: int) -> None:
    """Let everybody run who can."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_no_more_commands_are_taken_while_answers_wait_to_be_read() -> None:
    _, desk = at_desk()
    # Each of them is refused, so each is answered.
    asking = Asking(request(*(released(9999) for _ in range(4096))), for_ever=True)
    answers: Answers = desk.operate(A, aiter(asking))
    await anext(answers)
    await turns(200)
    assert asking.taken == 2
    read = 0
    async for answer in answers:
        read += sum(event.HasField("refused") for event in answer.events)
        await turns(3)
        if asking.taken > 4:
            break
    assert read > 8000
    await answers.aclose()


async def test_who_reads_nothing_at_all_loses_the_session() -> None:
    plane, desk = at_desk()
    answers: Answers = desk.operate(A, aiter(Asking()))
    await anext(answers)
    all_fail = Fault(pb.FAULT_KIND_MEMORY_FAILURE, float(MEMORIES), 0.0)
    for _ in range(EVENTS_WAITING // MEMORIES + 1):
        plane.nodes[A].inject(all_fail, 1)
        desk.look()
        plane.nodes[A].end_all()
        desk.look()
    with pytest.raises(UnavailableError, match="nobody reads them"):
        await anext(answers)


async def test_a_session_begins_with_what_does_not_work_and_what_each_link_counts() -> None:
    plane, desk = at_desk()
    plane.nodes[B].inject(Fault(pb.FAULT_KIND_MEMORY_FAILURE, 1.0, 0.0), 1)
    plane.pair_links[AB].inject(Fault(pb.FAULT_KIND_CUT, 1.0, 0.0), 1)
    desk.look()
    answers: Answers = desk.operate(B, aiter(Asking()))
    told = (await anext(answers)).events
    (counts,) = (event.link for event in told if event.HasField("link"))
    assert (counts.link, counts.attempts_total, counts.status) == ("ab", 0, types_pb2.LINK_STATUS_OFF)
    (works,) = (event.works for event in told if event.HasField("works"))
    assert (works.memory, works.works) == (0, False)
    await answers.aclose()


async def test_heralds_come_by_themselves_and_to_both_ends() -> None:
    _, desk = at_desk()
    running = asyncio.create_task(desk.run())
    attempt = request(pb.MemoryCommand(attempt=pb.MemoryAttempt(memory=1, link="ab", tag="t")))

    async def number(node: NodeName) -> int:
        answers: Answers = desk.operate(node, aiter(Asking(attempt)))
        async for answer in answers:
            for event in answer.events:
                if event.HasField("heralded"):
                    await answers.aclose()
                    return event.heralded.number
        raise AssertionError

    async with asyncio.timeout(60):
        first, second = await asyncio.gather(number(A), number(B))
    assert first == second
    running.cancel()


@pytest.mark.parametrize("end", ["power", "shutdown", "another", "bad request"])
async def test_a_session_that_is_over_says_why_and_leaves_the_memories_free(end: str) -> None:
    plane, desk = at_desk()
    attempt = request(pb.MemoryCommand(attempt=pb.MemoryAttempt(memory=1, link="ab", tag="t")))
    bad = request(pb.MemoryCommand())
    answers: Answers = desk.operate(
        B, aiter(Asking(attempt, bad) if end == "bad request" else Asking(attempt))
    )
    await anext(answers)
    await turns(10)
    error: type[Exception] = UnavailableError
    newer: Answers | None = None
    if end == "power":
        plane.nodes[B].inject(Fault(pb.FAULT_KIND_NODE_LOSS, 1.0, 0.0), 1)
        desk.look()
    elif end == "shutdown":
        desk.close()
    elif end == "another":
        newer, error = desk.operate(B, aiter(Asking())), ConflictError
        await anext(newer)
    else:
        error = InvalidInputError
    with pytest.raises(error):
        await anext(answers)
    assert desk._memories.banks[B].slots == [None, None]
    if newer is not None:
        await newer.aclose()


async def test_a_node_without_memories_or_power_has_no_session() -> None:
    plane, desk = at_desk()
    with pytest.raises(PreconditionError, match="'d' has no quantum memories"):
        await anext(desk.operate(D, aiter(Asking())))
    assert desk.describe(D) == pb.DescribeMemoriesResponse()
    plane.nodes[A].inject(Fault(pb.FAULT_KIND_NODE_LOSS, 1.0, 0.0), 1)
    with pytest.raises(UnavailableError, match="without power"):
        await anext(desk.operate(A, aiter(Asking())))
    with pytest.raises(UnavailableError, match="without power"):
        desk.describe(A)
