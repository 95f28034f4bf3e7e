"""A transit node sends a share on at once where it has key for it, and passes back what becomes of it."""

import asyncio
from typing import Any
from unittest import mock

import pytest

from keyweave.agent.keyplane.failure import KeyPlaneError
from keyweave.agent.keyplane.links.pool import Range
from keyweave.agent.keyplane.sessions.pending import Then
from keyweave.agent.keyplane.streams import wire
from keyweave.agent.keyplane.streams.relay import MAX_LINKS, Relays
from keyweave.agent.keyplane.streams.route import Side
from keyweave.common.names import LinkName, NodeName
from keyweave.v1 import keyplane_pb2 as pb
from tests.unit.stream_ends import HERE, share

SECRET = b"s" * 32
NEXT, ONWARD = NodeName("next"), LinkName("here-next")


class Hop:
    """The hop onward of a transit node, with key for so many shares."""

    def __init__(self, shares: int) -> None:
        self.sent: list[pb.Frame] = []
        self.then: list[Then] = []
        self.connected = True
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._shares = shares
        info = mock.Mock(emulated=True, vendor_domain="metro")
        link_end = mock.Mock(peer_node=NEXT, pools=self, info=info)
        link_end.name = ONWARD
        self.relays = Relays(HERE, {ONWARD: link_end}, {NEXT: self}, mock.Mock(), mock.Mock())  # type: ignore[dict-item]

    # ---- as the pools of its link

    def take(self, size: int) -> Range | None:
        if not self._shares:
            return None
        self._shares -= 1
        return Range(b"p" * 16, True, 0, bytearray(size))

    async def acquire(self, size: int) -> Range:
        await self.granted
        return Range(b"p" * 16, True, 0, bytearray(size))

    # ---- as the peer at its far end

    def ask(self, frame: pb.Frame, _timeout_seconds: float, then: Then) -> int:
        self.sent.append(frame)
        self.then.append(then)
        return len(self.sent)

    async def request(self, frame: pb.Frame, _timeout_seconds: float) -> pb.Frame:
        self.sent.append(frame)
        return pb.Frame(relay_accepted=pb.RelayAccepted(links=["beyond"]))

    def forward(self, secret: bytearray) -> Any:
        return self.relays.forward(share(b"b" * 16), secret, Side(ONWARD, NEXT))


def told(frame: pb.Frame) -> tuple[list[str], bool, list[str]]:
    accepted = frame.relay_accepted
    return list(accepted.links), accepted.emulated, list(accepted.vendor_domains)


async def test_where_there_is_key_the_share_leaves_before_anything_else_happens() -> None:
    hop, secret = Hop(shares=1), bytearray(SECRET)
    answer = hop.forward(secret)
    (frame,) = hop.sent
    opened = wire.open_sealed(frame.relay, bytearray(len(SECRET) + wire.overhead()))
    assert opened == bytearray(SECRET)
    assert not any(secret)
    assert not answer.done()
    hop.then[0](pb.Frame(relay_accepted=pb.RelayAccepted(links=["beyond"], vendor_domains=["abc"])))
    assert told(await answer) == ([ONWARD, "beyond"], True, ["abc", "metro"])


async def test_where_there_is_none_it_waits_and_leaves_then() -> None:
    hop, secret = Hop(shares=0), bytearray(SECRET)
    answer = asyncio.ensure_future(hop.forward(secret))
    assert not any(secret)
    await asyncio.sleep(0)
    assert not hop.sent
    hop.granted.set_result(None)
    assert told(await answer) == ([ONWARD, "beyond"], True, ["metro"])
    assert len(hop.sent) == 1


async def test_a_failure_beyond_is_passed_back() -> None:
    hop = Hop(shares=1)
    answer = hop.forward(bytearray(SECRET))
    failure = pb.Failure(code=pb.FAILURE_CODE_POOL_EXHAUSTED, reason="dry", node="n", link="l")
    hop.then[0](pb.Frame(failure=failure))
    assert (await answer).failure == failure


async def test_word_of_too_many_vendors_is_a_failure_and_not_cut_short() -> None:
    hop = Hop(shares=1)
    answer = hop.forward(bytearray(SECRET))
    many = [f"a{number:03}" for number in range(MAX_LINKS)]
    hop.then[0](pb.Frame(relay_accepted=pb.RelayAccepted(vendor_domains=many)))
    assert (await answer).failure.code == pb.FAILURE_CODE_MALFORMED


async def test_a_hop_that_is_gone_refuses_and_leaves_no_secret_behind() -> None:
    hop, secret = Hop(shares=1), bytearray(SECRET)
    hop.connected = False
    with pytest.raises(KeyPlaneError, match="no session"):
        hop.forward(secret)
    assert not any(secret)
    assert not hop.sent
