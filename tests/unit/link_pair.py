"""Both ends of a link without processes: frames wait in queues until a test delivers or loses them."""

import hashlib
from collections import deque
from pathlib import Path
from unittest import mock

from keyweave.agent.drivers.base import DeviceBlock, LinkEndInfo
from keyweave.agent.keyplane.failure import KeyPlaneError
from keyweave.agent.keyplane.links.journal import Journal
from keyweave.agent.keyplane.links.linkend import LinkEnd
from keyweave.agent.keyplane.links.linkwatch import Verdict
from keyweave.agent.keyplane.links.pool import Range
from keyweave.agent.keyplane.terms import LinkPolicy
from keyweave.agent.observer import Observer
from keyweave.common.names import LinkName, NodeName
from keyweave.v1 import agent_pb2
from keyweave.v1 import keyplane_pb2 as pb

BLOCK = 64
LINK = LinkName("a-b")


def device_block(number: int) -> bytearray:
    """What both devices give as this block."""
    return bytearray(hashlib.shake_256(b"block %d" % number).digest(BLOCK))


class Session:
    """What one end sends, in order; nothing gets in while it is down."""

    def __init__(self) -> None:
        self.connected = True
        self.queue: deque[pb.Frame] = deque()

    def post(self, frame: pb.Frame) -> bool:
        """As `Peer.post`."""
        if self.connected:
            self.queue.append(pb.Frame.FromString(frame.SerializeToString()))
        return self.connected


class End:
    """One end, and what it reported."""

    def __init__(self, node: str, peer: str, directory: Path) -> None:
        self.session = Session()
        self.verdicts: list[Verdict] = []
        self.events: list[agent_pb2.AgentEvent] = []
        self.taken = 0
        # Where each pool that this end sent with begins.
        self.first_blocks: dict[bytes, int] = {}
        info = LinkEndInfo(LINK, NodeName(peer), "model", emulated=True, block_bytes=BLOCK)
        self.link = LinkEnd(
            NodeName(node),
            info,
            mock.Mock(),
            Journal(directory / f"{node}.json"),
            Observer(),
            on_report=mock.Mock(),
            on_verdict=lambda _link, _before, after: self.verdicts.append(after),
            on_event=self.events.append,
            on_supply=lambda: None,
        )
        self.bind()

    def bind(self, suspect_since: float | None = None, *, maintenance: bool = False) -> None:
        """Policy, with or without the controller's suspicion, in maintenance or not."""
        peer_node = self.link.peer_node
        policy = LinkPolicy(peer_node, 0.11, maintenance=maintenance, suspect_since=suspect_since)
        self.link.bind(self.session, policy)  # type: ignore[arg-type]

    def take_block(self) -> None:
        """The device gives its next block, produced at as many seconds as its number."""
        self.taken += 1
        block = DeviceBlock(self.taken, device_block(self.taken), self.taken * 10**9)
        self.link._take_in(block)
        self.link.pools.announce_intake()

    def open(self) -> bool:
        """What `keep_open` does in one round; whether there was anything to ask for."""
        request = self.link._request()
        if request is not None:
            self.link._opening = request
            self.session.post(pb.Frame(pool_open=request))
        return request is not None

    def send(self, size: int) -> Range | None:
        """Take pad, from whatever pool is first, and tell the other end to do so too."""
        for pool in self.link.pools:
            taken = pool.allocate(size)
            if taken is not None:
                self.first_blocks[pool.pool_id] = pool.first_block
                relay = pb.Relay(link=LINK, pool_id=taken.pool_id, first_lane=taken.first_lane)
                relay.offset, relay.ciphertext = taken.offset, bytes(taken.data)
                self.session.post(pb.Frame(relay=relay))
                return taken
        return None


class Pair:
    """Two ends. A relay's "ciphertext" here is the pad itself, so that the other end can compare."""

    def __init__(self, directory: Path) -> None:
        self.ends = {"a": End("a", "b", directory), "b": End("b", "a", directory)}

    def deliver(self, node: str) -> bool:
        """The oldest frame that `node` has sent reaches the other end; False where there is none."""
        queue = self.ends[node].session.queue
        if not queue:
            return False
        frame = queue.popleft()
        there = self.ends[self.other(node)].link
        if frame.WhichOneof("body") == "relay":
            try:
                received = there.pools.receive(frame.relay, len(frame.relay.ciphertext))
            except KeyPlaneError:
                return True
            assert bytes(received) == frame.relay.ciphertext, "both ends took the same bytes"
        else:
            there.on_frame(frame)
        return True

    def settle(self) -> None:
        """Deliver and open until nothing more happens."""
        for _ in range(200):
            while self.deliver("a") or self.deliver("b"):
                pass
            pools = [pool.pool_id for pool in self.ends["a"].link.pools]
            held = len(self.ends["a"].link.hold)
            self.ends["a"].open()
            while self.deliver("a") or self.deliver("b"):
                pass
            again = [pool.pool_id for pool in self.ends["a"].link.pools]
            if (again, len(self.ends["a"].link.hold)) == (pools, held):
                return
        raise AssertionError("the ends do not come to rest")

    def reconnect(self) -> None:
        """The connection breaks, with all frames on their way, and comes back."""
        for end in self.ends.values():
            end.session.queue.clear()
        for end in self.ends.values():
            end.link.session_up(restarted=False)

    @staticmethod
    def other(node: str) -> str:
        """The node at the other end."""
        return "b" if node == "a" else "a"
