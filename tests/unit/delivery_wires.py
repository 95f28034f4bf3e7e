"""What lies between agents: wires in memory, and the devices of links, both as bad as a test has them."""

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from keyweave.agent.drivers.base import DeviceBlock, LinkEndInfo
from keyweave.common.names import LinkName, NodeName
from keyweave.v1 import keyplane_pb2 as pb
from tests.unit.delivery_policy import LINKS

BLOCK = 1024
# Of the handshake nothing gets lost while the connection stands: the wire below keeps its order.
HANDSHAKE = frozenset({"hello", "proof"})


class Around(Protocol):
    """What wires and devices need of the network."""

    more_blocks: asyncio.Event
    produced: dict[str, list[float]]

    def made(self, link: str, node: str) -> int:
        """The last block that a node's device has ready."""

    def carry(self, wire: "Wire", receiver: str, frame: pb.Frame) -> None:
        """Deliver a frame, or do to it what is in store for its kind."""


@dataclass(frozen=True)
class Fault:
    """What is to happen to the next frame of a kind."""

    kind: str
    what: str


class Devices:
    """The driver of one node: blocks of each link from its line, which both ends read."""

    def __init__(self, network: Around, node: str) -> None:
        self._network = network
        self._node = node

    async def link_ends(self) -> tuple[LinkEndInfo, ...]:
        """See Driver."""
        ends = []
        for link in LINKS:
            if self._node in link.split("-"):
                (peer,) = {*link.split("-")} - {self._node}
                ends.append(
                    LinkEndInfo(LinkName(link), NodeName(peer), "model", emulated=False, block_bytes=BLOCK)
                )
        return tuple(ends)

    async def watch(self, _link: LinkName) -> AsyncIterator[Any]:
        """See Driver; it measures nothing."""
        await asyncio.Event().wait()
        yield None

    async def take_blocks(self, link: LinkName, first_block: int) -> AsyncIterator[tuple[DeviceBlock, ...]]:
        """See Driver. It gives again what it is asked for again."""
        number = first_block
        while True:
            while number > self._network.made(link, self._node):
                await self._network.more_blocks.wait()
            upto = self._network.made(link, self._node)
            yield tuple(
                DeviceBlock(n, _material(link, n), int(self._network.produced[link][n - 1] * 1e9))
                for n in range(number, upto + 1)
            )
            number = upto + 1

    async def close(self) -> None:
        """See Driver."""


def _material(link: str, number: int) -> bytearray:
    return bytearray(hashlib.shake_256(f"{link} {number}".encode()).digest(BLOCK))


class Wire:
    """One connection between two processes."""

    def __init__(self, network: Around, caller: str, callee: str) -> None:
        self._network = network
        self.ends = (caller, callee)
        self.cut = False
        # By who is to receive it.
        self.arriving: dict[str, asyncio.Queue[pb.Frame | None]] = {e: asyncio.Queue() for e in self.ends}
        self.late: dict[str, deque[pb.Frame]] = {end: deque() for end in self.ends}

    async def write(self, receiver: str, frames: Sequence[pb.Frame]) -> None:
        """What one end sends."""
        for frame in frames:
            if self.cut:
                raise asyncio.InvalidStateError
            copy = pb.Frame.FromString(frame.SerializeToString())
            self._network.carry(self, receiver, copy)

    async def incoming(self, receiver: str) -> AsyncIterator[pb.Frame]:
        """What one end receives."""
        while (frame := await self.arriving[receiver].get()) is not None:
            yield frame

    def arrive(self, receiver: str, frame: pb.Frame) -> None:
        """A frame gets there."""
        if not self.cut:
            copy = pb.Frame.FromString(frame.SerializeToString())
            self.arriving[receiver].put_nowait(copy)

    def end(self, noticed_by: Iterable[str] | None = None) -> None:
        """It breaks, with all that is on its way; who does not notice at once will later."""
        self.cut = True
        for end in self.ends if noticed_by is None else noticed_by:
            self.arriving[end].put_nowait(None)

    def other(self, end: str) -> str:
        """Who is at the other end."""
        return self.ends[0] if end == self.ends[1] else self.ends[1]
