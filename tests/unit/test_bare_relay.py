"""The bare relay sends what the product sends for a batch, the same way; here without gRPC and processes."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

from tests.bench import bare_relay
from tests.bench.bare_relay import ACCEPTED, CONFIRMED, ENDS, OFFER, ROW, SHARE, Node
from tests.waiting import eventually


class Row:
    """The four nodes in one process; which frames went from whom to whom."""

    def __init__(self) -> None:
        self.nodes = {name: Node(name, bare_relay.frame_bytes()) for name in ROW}
        self.sent: Counter[tuple[int, int, str, str]] = Counter()
        self._waiting: dict[tuple[str, str], asyncio.Queue[bytes]] = {}
        self.tasks: list[asyncio.Task[None]] = []

    def connect(self) -> None:
        for name, dialled in bare_relay.DIALS.items():
            for peer in dialled:
                for here, there in ((name, peer), (peer, name)):
                    talk = self.nodes[here].talk(there, self._incoming(there, here), self._write(here, there))
                    self.tasks.append(asyncio.create_task(talk, name=f"{here}-{there}"))

    def _queue(self, here: str, there: str) -> asyncio.Queue[bytes]:
        return self._waiting.setdefault((here, there), asyncio.Queue())

    async def _incoming(self, here: str, there: str) -> AsyncIterator[bytes]:
        while True:
            yield await self._queue(here, there).get()

    def _write(self, here: str, there: str) -> bare_relay.Write:
        async def write(message: bytes) -> None:
            self.sent.update((kind, number, here, there) for kind, _, number in bare_relay.unpacked(message))
            self._queue(here, there).put_nowait(message)

        return write


async def test_a_batch_goes_hop_by_hop_and_back_and_is_offered_straight_to_the_other_end() -> None:
    row = Row()
    row.connect()
    near = row.nodes[ENDS[0]]
    await asyncio.wait_for(near.connected.wait(), 30.0)
    making = asyncio.create_task(near.make_batches(), name="batches")

    async def first_is_done() -> bool:
        return near.batches > 1

    await eventually(first_is_done, 30.0, "the first batch is confirmed")
    making.cancel()
    for task in row.tasks:
        task.cancel()
    await asyncio.gather(making, *row.tasks, return_exceptions=True)
    hops = [("a", "b"), ("b", "c"), ("c", "d")]
    first = Counter({key: count for key, count in row.sent.items() if key[1] == 1})
    assert first == Counter(
        [
            *((SHARE, 1, *hop) for hop in hops),
            *((ACCEPTED, 1, there, here) for here, there in hops),
            (OFFER, 1, "a", "d"),
            (CONFIRMED, 1, "d", "a"),
        ]
    )


def test_frames_that_share_a_message_are_told_apart() -> None:
    frames = [(SHARE, 0, 7, 1142), (ACCEPTED, 1, 8, 13), (CONFIRMED, 0, 9, 0)]
    message = b"".join(bare_relay.packed(*frame) for frame in frames)
    assert list(bare_relay.unpacked(message)) == [frame[:3] for frame in frames]
